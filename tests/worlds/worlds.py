"""Databases that worlds are installed in, and what an application does in them meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import psycopg
import sqlalchemy
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext

from ledgerviews.config import Settings
from ledgerviews.schema.execute import SETTINGS
from ledgerviews.schema.replace import script
from tests.servers import clean_environment
from tests.worlds.additions import EARLY, OTHER
from tests.worlds.declared import APPLICATION, DECLARED_ROLES, MIGRATOR, OWNERS, Table, World
from tests.worlds.drawing import OTHER_SCHEMA, SCHEMAS
from tests.worlds.foreign import READER, SETUP, TEAM, TEAM_ROLE
from tests.worlds.names import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests import servers as pg

LATE = "worlds_late"
OWN_SCHEMAS = (*(name for name in SCHEMAS if name != "public"), OTHER_SCHEMA)


def execute(connection: psycopg.Connection, *statements: str) -> None:
    """Run statements as they are written."""
    for statement in statements:
        try:
            connection.execute(statement.encode())
        except psycopg.Error as exc:
            exc.add_note(statement)
            raise


def template(server: pg.PgServer, *, migrator: bool) -> str:
    """The name of a database with the engine in it, installed by the role that will migrate."""

    def build(url: str) -> None:
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            execute(
                connection,
                f"CREATE SCHEMA {APPLICATION}",
                *(f"CREATE SCHEMA {quoted(s)}" for s in OWN_SCHEMAS),
            )
            execute(connection, SETUP)
            execute(
                connection, f"CREATE SCHEMA ledgerviews{f' AUTHORIZATION {MIGRATOR}' if migrator else ''}"
            )
            database = quoted(connection.info.dbname)
            roles = ", ".join(map(quoted, (*OWNERS, TEAM_ROLE)))
            schemas = ", ".join(map(quoted, (*OWN_SCHEMAS, "public", TEAM)))
            execute(connection, f"GRANT USAGE, CREATE ON SCHEMA {schemas} TO {roles}")
            execute(connection, f"GRANT USAGE ON SCHEMA {schemas}, {APPLICATION}, ledgerviews TO PUBLIC")
            if migrator:
                execute(connection, f"GRANT CREATE, TEMPORARY ON DATABASE {database} TO {MIGRATOR}")
                for schema in (APPLICATION, *OWN_SCHEMAS, TEAM, "public"):
                    execute(connection, f"ALTER SCHEMA {quoted(schema)} OWNER TO {MIGRATOR}")
                execute(connection, f"ALTER TABLE {quoted(TEAM)}.log OWNER TO {MIGRATOR}")
        run(url, lambda op: op.ledgerviews_engine(version=3, previous=0), migrator=migrator)

    # Advisory locks are each database's own, so workers meet in one that is everybody's.
    with closing(psycopg.connect(server.url("postgres"), autocommit=True)) as connection:
        _make_roles(connection)
    return server.template(f"worlds_{'migrator' if migrator else 'super'}", build)


def _make_roles(connection: psycopg.Connection) -> None:
    """Roles are the whole server's, and another worker may be making them."""
    with connection.transaction():
        execute(connection, "SELECT pg_advisory_xact_lock(77)")
        names = [*OWNERS, *(role for role in DECLARED_ROLES if role != "PUBLIC")]
        for role in (*names, READER, OTHER, EARLY, LATE, TEAM_ROLE, MIGRATOR):
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchall():
                execute(connection, f"CREATE ROLE {quoted(role)} LOGIN")
        readers = ", ".join(map(quoted, (*OWNERS, TEAM_ROLE)))
        execute(connection, f"GRANT pg_read_all_data TO {readers}")
        members = ", ".join(map(quoted, (*OWNERS, TEAM_ROLE, READER, OTHER)))
        execute(connection, f"GRANT {members} TO {MIGRATOR}")


def settings_of(world: World, *, keep: bool = False) -> Settings:
    """How a world is installed."""
    return Settings(
        schema=world.schema,
        tracking=world.tracking,
        populate=world.populate,
        keep_replaced=keep,
        migrations=None,
    )


def run(
    url: str,
    operate: Callable[[Any], None],
    *,
    migrator: bool = False,
    settings: Settings | None = None,
    began: Callable[[int], None] | None = None,
) -> None:
    """Run operations as a revision does: in one transaction of Alembic's, by the role that migrates."""

    def connect() -> psycopg.Connection:
        connection = psycopg.connect(url)
        if migrator:
            connection.execute(f"SET SESSION AUTHORIZATION {MIGRATOR}".encode())
            connection.commit()
        return connection

    config = Config()
    config.attributes[SETTINGS] = settings or Settings(migrations=None)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        if began is not None:
            began(raw.info.backend_pid)
        environment = EnvironmentContext(config, cast("Any", None))
        options = {"transaction_per_migration": True}
        context = MigrationContext.configure(connection, environment_context=environment, opts=options)
        with context.begin_transaction(_per_migration=True):
            operate(Operations(context))


def replace(
    url: str,
    world: World,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    keep: bool = False,
    psql: str | None = None,
    began: Callable[[int], None] | None = None,
) -> None:
    """The operation under test; or the script that ``--sql`` prints for it, in ``psql``."""
    if psql is not None:
        text = script(before, after, settings=settings_of(world, keep=keep))
        role = f"SET SESSION AUTHORIZATION {MIGRATOR};\n" if world.migrator else ""
        done = subprocess.run(
            [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-d", url, "-o", os.devnull],
            check=False,
            input=role + text,
            encoding="utf-8",
            env=clean_environment(),
            stderr=subprocess.PIPE,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return
    run(
        url,
        lambda op: op.ledgerviews_replace(before, after),
        migrator=world.migrator,
        settings=settings_of(world, keep=keep),
        began=began,
    )


def build_only(url: str, world: World, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The locks that a replacement holds, before it exchanges, on what stood before; then it is undone."""
    built, _, _ = script(before, after, settings=settings_of(world)).partition("SELECT ledgerviews.swap(")
    with closing(psycopg.connect(url)) as connection:
        row = connection.execute("SELECT max(oid)::int8 FROM pg_class").fetchone()
        assert row is not None
        connection.commit()
        if world.migrator:
            execute(connection, f"SET SESSION AUTHORIZATION {MIGRATOR}")
        execute(connection, built)
        rows = connection.execute(
            "SELECT format('%%s on %%s', l.mode, l.relation::regclass) FROM pg_locks AS l"
            " WHERE l.pid = pg_backend_pid() AND l.mode = 'AccessExclusiveLock' AND l.relation <= %s"
            " AND l.relation >= 16384 ORDER BY 1",
            row,
        ).fetchall()
        connection.rollback()
    return [line for (line,) in rows]


def prepare(connection: psycopg.Connection, world: World) -> None:
    """The application's tables, empty, and default privileges."""
    role = f"FOR ROLE {MIGRATOR} " if world.migrator else ""
    if world.migrator:
        database = quoted(connection.info.dbname)
        execute(connection, f"GRANT CREATE, TEMPORARY ON DATABASE {database} TO {MIGRATOR}")
    execute(
        connection,
        f"ALTER DEFAULT PRIVILEGES {role}IN SCHEMA {quoted(world.schema)} GRANT SELECT ON TABLES TO {EARLY}",
        f"ALTER DEFAULT PRIVILEGES {role}GRANT EXECUTE ON FUNCTIONS TO {EARLY}",
    )
    for table in world.tables:
        types = {
            "id": "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "at": "timestamptz",
            "word": "text",
            "amount": "numeric(10, 2)",
            "count": "integer",
            "flag": "boolean",
        }
        columns = ", ".join(f"{quoted(column.name)} {types[column.template]}" for column in table.columns)
        name = quoted(*table.place)
        execute(connection, f"CREATE TABLE {name} ({columns})")
        if world.migrator:
            execute(connection, f"ALTER TABLE {name} OWNER TO {MIGRATOR}")


def write(connection: psycopg.Connection, rng: random.Random, table: Table, rows: int) -> None:
    """What an application does: it inserts, and now and then changes and deletes."""
    name = quoted(*table.place)
    columns = {column.template: quoted(column.name) for column in table.columns}
    listed = ", ".join(columns[role] for role in ("at", "word", "amount", "count", "flag"))
    execute(
        connection,
        f"INSERT INTO {name} ({listed}) SELECT"
        f" CASE WHEN random() > 0.05 THEN now() - random() * interval '{rng.choice((1, 20))} days' END,"
        " (ARRAY['a', 'B', 'it''s', '', NULL])[1 + floor(random() * 5)::int],"
        " (random() * 100)::numeric(10, 2),"
        " floor(random() * 9)::int, (ARRAY[true, false, NULL])[1 + floor(random() * 3)::int]"
        f" FROM generate_series(1, {rows})",
    )
    draw = rng.random()
    some = f"{columns['id']} % 17 = {rng.randrange(17)}"
    if draw < 0.3:
        execute(
            connection, f"UPDATE {name} SET {columns['amount']} = 3, {columns['word']} = 'new' WHERE {some}"
        )
    elif draw < 0.5:
        execute(
            connection,
            f"UPDATE {name} SET {columns['at']} = {columns['at']} - interval '3 days' WHERE {some}",
        )
    elif draw < 0.7:
        execute(connection, f"DELETE FROM {name} WHERE {some}")


class Writers:
    """The application at work, beside what is tested; an error of its own is one of ours."""

    def __init__(self, url: str, world: World, seed: int, reads: list[str]) -> None:
        """Write into all tables, and read ``reads``, until closed."""
        self._url, self._world, self._rng, self._reads = url, world, random.Random(seed), reads
        self._stop = threading.Event()
        self.transactions = 0
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._write), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End them, and raise what went wrong."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _write(self) -> None:
        try:
            with closing(psycopg.connect(self._url, autocommit=True)) as connection:
                while not self._stop.is_set():
                    with connection.transaction():
                        write(connection, self._rng, self._rng.choice(self._world.tables), 2)
                    self.transactions += 1
                    self._stop.wait(0.01)
        except BaseException as exc:  # noqa: BLE001 (raised again where it is waited for)
            self.errors.append(exc)

    def _read(self) -> None:
        try:
            with closing(psycopg.connect(self._url, autocommit=True)) as connection:
                while self._reads and not self._stop.is_set():
                    execute(connection, f"SELECT count(*) FROM {random.choice(self._reads)}")
                    self._stop.wait(0.005)
        except BaseException as exc:  # noqa: BLE001
            self.errors.append(exc)
