"""The PostgreSQL servers that the tests run on, and databases on them that are cloned from templates."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import psycopg
from psycopg import sql
from pytest_postgresql.janitor import DatabaseJanitor

from ledgerviews.dev import Server
from ledgerviews.dev.binaries import Binaries
from ledgerviews.errors import LedgerviewsError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parent.parent
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
SERVERS, RUN = "LEDGERVIEWS_TEST_SERVERS", "LEDGERVIEWS_TEST_RUN"

# Autovacuum would only compete with the tests; the fuzz prepares transactions; all else is as users have it.
SETTINGS = {"autovacuum": "off", "max_prepared_transactions": "16"}


class RunCli(Protocol):
    """Run ``ledgerviews ...`` as a user would, in a clean environment."""

    def __call__(
        self,
        *args: str,
        url: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Wait for the end of the command; ``env`` adds to the environment."""


@dataclass(frozen=True, kw_only=True)
class PgServer:
    """A server to test on: where it is, and programs that can talk to it."""

    version: int
    full_version: str
    host: str
    port: int
    user: str
    password: str | None
    bin_dir: Path | None

    @property
    def name(self) -> str:
        """The name in a test's id."""
        return f"pg{self.version}"

    def url(self, dbname: str) -> str:
        """A URL of one of its databases."""
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        return f"postgresql://{login}@/{quote(dbname, safe='')}?host={quote(self.host)}&port={self.port}"

    @contextmanager
    def database(self, dbname: str, *, template: str | None = None) -> Iterator[str]:
        """The URL of a new database that is dropped at the end, whoever is still connected."""
        clone = self.janitor(dbname, template=template)
        clone.init()
        try:
            yield self.url(dbname)
        finally:
            self.drop(dbname)

    def drop(self, dbname: str) -> None:
        """Drop a database, whoever is still connected."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(dbname))
            )

    def template(self, name: str, build: Callable[[str], None]) -> str:
        """The name of a database that ``build`` filled, once for all workers of this run."""
        dbname = f"lv_{os.environ[RUN]}_{name}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [dbname])
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [dbname]).fetchone():
                unfinished = f"{dbname}_unfinished"
                self.drop(unfinished)
                self.janitor(unfinished).init()
                build(self.url(unfinished))
                rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                connection.execute(rename.format(sql.Identifier(unfinished), sql.Identifier(dbname)))
        return dbname

    def janitor(self, dbname: str, *, template: str | None = None) -> DatabaseJanitor:
        """pytest-postgresql's maker of databases."""
        named: dict[str, Any] = {
            "user": self.user,
            "host": self.host,
            "port": self.port,
            "dbname": dbname,
            "template_dbname": template,
            "password": self.password,
        }
        if inspect.signature(DatabaseJanitor).parameters["version"].default is inspect.Parameter.empty:
            named["version"] = self.version  # older releases of pytest-postgresql need it; newer ones warn
        return DatabaseJanitor(**named)


def to_text(servers: list[PgServer]) -> str:
    """The servers as one environment variable carries them to xdist's workers."""
    return json.dumps([dataclasses.asdict(server) for server in servers], default=str)


def from_text(text: str) -> list[PgServer]:
    """The servers of ``to_text``."""
    rows = json.loads(text)
    return [PgServer(**{**row, "bin_dir": Path(row["bin_dir"]) if row["bin_dir"] else None}) for row in rows]


def external() -> PgServer | None:
    """The server that TEST_PGHOST, TEST_PGPORT, TEST_PGUSER and TEST_PGPASSWORD name, if they do."""
    host, port = os.environ.get("TEST_PGHOST"), os.environ.get("TEST_PGPORT")
    if not host and not port:
        return None
    server = PgServer(
        version=0,
        full_version="",
        host=host or "localhost",
        port=int(port or "5432"),
        user=os.environ.get("TEST_PGUSER") or "postgres",
        password=os.environ.get("TEST_PGPASSWORD") or None,
        bin_dir=_client_programs(),
    )
    with psycopg.connect(server.url("postgres"), connect_timeout=10) as connection:
        info = connection.info
        return dataclasses.replace(
            server,
            version=info.server_version // 10000,
            full_version=info.parameter_status("server_version") or "",
        )


def plan() -> dict[str, Path | None]:
    """The servers that a run starts itself: name and folder of programs."""
    return {"pg18": None, **({"pg15": DEBIAN_15} if DEBIAN_15.is_dir() else {})}


def start_all(stop_later: Callable[[Callable[[], None]], None]) -> list[PgServer]:
    """Start the planned throw-away servers at once; each is handed to ``stop_later`` as soon as it runs."""

    def start(bin_dir: Path | None) -> PgServer:
        # Not pytest's tmp_path: root's is closed to the account that PostgreSQL runs as.
        folder = Path(tempfile.gettempdir()) / f"ledgerviews-test-{secrets.token_hex(6)}"
        server = Server.start(folder, bin_dir=bin_dir, throwaway=True, settings=SETTINGS)
        stop_later(server.stop)
        return PgServer(
            version=server.major,
            full_version=server.version,
            host=server.host,
            port=server.port,
            user=server.user,
            password=None,
            bin_dir=server.bin_dir,
        )

    with ThreadPoolExecutor() as pool:
        return list(pool.map(start, plan().values()))


def drop_run(server: PgServer, run: str) -> None:
    """Drop every database of a run from a server that outlives it."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [f"lv_{run}_"]
        )
        for (dbname,) in rows.fetchall():
            server.drop(dbname)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead to another database or change a session.

    Python keeps no bytecode: it would take a file that a test writes twice within a second for unchanged.
    """
    ours = ("PG", "LEDGERVIEWS_", "DATABASE_URL", "ALEMBIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def _client_programs() -> Path | None:
    try:
        return Binaries.find().bin_dir
    except LedgerviewsError:
        psql = shutil.which("psql")
        return Path(psql).parent if psql else None
