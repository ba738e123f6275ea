"""The servers and databases that the questions are asked of."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from ledgerviews.config import Settings
from ledgerviews.dev import Server
from ledgerviews.schema import commands

from . import rows
from .results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator

# A server of moderate size; max_wal_size keeps checkpoints from falling into one measurement and not another.
SETTINGS = {
    "shared_buffers": "1GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
}
DATABASE = "bench"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for.

    Attributes:
        events: rows in the events table.
        days: days that they spread over.
        ends: days between today and the last day with rows.
        growing: whether days follow the week and grow threefold, as the demo's do, or are equal.
        rounds: how often each thing is measured, in turn with what it is compared with.
        bin_dir: another PostgreSQL's programs.
        durable: whether commits wait for the disk.
        dbt: the dbt command, where there is one.
    """

    events: int
    days: int
    ends: int
    growing: bool
    rounds: int
    bin_dir: Path | None
    durable: bool
    dbt: Path | None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A running server with filled databases, and where the figures go."""

    server: Server
    options: Options
    results: Results

    @property
    def last_day(self) -> str:
        """The last day with rows."""
        return str(datetime.now(UTC).date() - timedelta(days=self.options.ends))

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """Open a session in which every statement is a transaction of its own."""
        return psycopg.connect(self.server.url(database), autocommit=True)

    def fill(self, database: str = DATABASE, *, events: int = 0, days: int = 0) -> None:
        """Make a database with the rows, the index that the engine wants, and the refreshed marts."""
        self.server.create_database(database)
        events, days = events or self.options.events, days or self.options.days
        with self.connect(database) as connection:
            until = datetime.now(UTC).date() - timedelta(days=self.options.ends)
            rows.fill(connection, events=events, days=days, until=until, growing=self.options.growing)
        commands.upgrade(Settings(database_url=self.server.url(database)))
        with self.connect(database) as connection:
            for _ in range(2):
                connection.execute("CALL ledgerviews.refresh(scrub => false)")
            connection.execute("VACUUM (ANALYZE)")
            size = rows.size(connection)
        self.results.say(f"{database}: {size}")


@contextmanager
def opened(options: Options, *, durable: bool = False) -> Iterator[Stage]:
    """Start a server for the time of the measurements, and print what was started."""
    results = Results()
    with tempfile.TemporaryDirectory(prefix="ledgerviews-bench-") as parent:
        path = Path(parent)
        path.chmod(0o755)  # the account that PostgreSQL runs as has to get in
        with Server.start(
            path / "server", bin_dir=options.bin_dir, throwaway=not durable, settings=SETTINGS
        ) as server:
            if durable:
                server.guard()  # a throw-away one is guarded already: it ends with this process
            results.say(
                f"PostgreSQL {server.version}, {'durable' if durable else 'throw-away (fsync off)'}, "
                + ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
            )
            yield Stage(server=server, options=options, results=results)
