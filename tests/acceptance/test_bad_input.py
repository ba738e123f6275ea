"""Whatever a user or an environment hands over: a line with an exit code, no traceback, no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

SECRET = "S3cr3t"


def run(arguments: list[str | bytes], **env: str | bytes) -> subprocess.CompletedProcess[bytes]:
    """Run ``ledgerviews`` with arguments and variables that may be no text."""
    environment = {name.encode(): value.encode() for name, value in pg.clean_environment().items()}
    environment[b"PYTHONPATH"] = str(pg.ROOT).encode()
    for name, value in env.items():
        environment[name.encode()] = value if isinstance(value, bytes) else value.encode()
    return subprocess.run(
        [sys.executable, "-m", "ledgerviews", *arguments],
        check=False,
        capture_output=True,
        env=environment,
        cwd=pg.ROOT,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["refresh", b"\xff"], 2),
        (["refresh", ""], 2),
        (["refresh", "--select", "9" * 5000 + "+mart"], 2),
        (["refresh", "--select", "+" * 100], 2),
        (["db", "upgrade", ""], 2),
        (["db", "upgrade", "@"], 2),
        (["db", "upgrade", "--foo"], 2),
        (["db", "upgrade", "nope"], 2),
        (["db", "downgrade", ""], 2),
        (["tracking", "install", "--attempts", "9" * 11], 2),
        (["release", "public.transactions", "--attempts", "9" * 11], 2),
        (["dev", "seed", "--days", "999999999"], 2),
        (["dev", "seed", "--until", "0001-01-01"], 2),
        (["dev", "seed", "--until", "9999-12-31"], 2),
    ],
)
def test_nonsense_is_a_usage_error(installed_url: str, arguments: list[str | bytes], code: int) -> None:
    """An argument that means nothing ends with exit code 2 and a line on stderr."""
    done = run(arguments, LEDGERVIEWS_DATABASE_URL=installed_url)

    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(
    "variables",
    [
        {"LEDGERVIEWS_DATABASE_URL": "postgresql://127.0.0.1:1/x?connect_timeout=abc"},
        {"LEDGERVIEWS_MIGRATIONS": "m" * 5000},
        {"LEDGERVIEWS_MODELS": ".foo"},
        {"PGHOST": b"\xff"},
        {"LEDGERVIEWS_LOCK_TIMEOUT": "soon"},
        {"LEDGERVIEWS_SCHEMA": "pg_catalog"},
        {"LEDGERVIEWS_DATABASE_URL": "postgresql://" + "h" * 5000 + "/x"},
    ],
)
def test_a_nonsensical_setting_is_no_traceback(installed_url: str, variables: dict[str, str | bytes]) -> None:
    """A setting that cannot be used ends with exit code 2, or 3 where only the network can tell."""
    done = run(["status"], **{"LEDGERVIEWS_DATABASE_URL": installed_url, **variables})

    assert done.returncode in (2, 3), done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(
    "variables",
    [
        {"PGDATABASE": f"postgresql://u:{SECRET}@127.0.0.1:1/db", "PGHOST": "127.0.0.1", "PGPORT": "1"},
        {"PGHOST": f"postgresql://u:{SECRET}@127.0.0.1:1/db"},
        {"LEDGERVIEWS_DATABASE_URL": f"postgresql://127.0.0.1:1/db&password={SECRET}"},
        {"LEDGERVIEWS_DATABASE_URL": f"postgresql://127.0.0.1:1/db;password={SECRET}"},
        {"LEDGERVIEWS_DATABASE_URL": f"postgresql://u;{SECRET}@127.0.0.1:1/db"},
        {"LEDGERVIEWS_DATABASE_URL": f"host=127.0.0.1,password={SECRET} port=1"},
        {"LEDGERVIEWS_DATABASE_URL": f"dbname=postgresql://u:{SECRET}@127.0.0.1:1/db"},
    ],
)
def test_a_password_in_the_wrong_place_is_not_repeated(variables: dict[str, str | bytes]) -> None:
    """A URL or password where a name belongs is refused before anything, the server included, repeats it."""
    for command in (["status"], ["refresh", "--json"], ["db", "upgrade"]):
        done = run(list(command), **variables)

        assert done.returncode in (2, 3), done.stderr
        assert SECRET.encode() not in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
def test_a_date_style_changes_nothing(installed_url: str, style: str) -> None:
    """Whatever way of writing dates a role or an environment asks for, refresh and status work."""
    for command in (["refresh"], ["refresh", "--json"], ["status"]):
        done = run(list(command), LEDGERVIEWS_DATABASE_URL=installed_url, PGDATESTYLE=style)

        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_client_encoding_changes_nothing(installed_url: str, encoding: str) -> None:
    """Whatever client encoding the environment asks for, names and figures are read as UTF-8."""
    done = run(
        ["refresh", "nam\u00e9 \U0001f600"], LEDGERVIEWS_DATABASE_URL=installed_url, PGCLIENTENCODING=encoding
    )

    assert done.returncode == 2
    assert "nam\u00e9 \U0001f600 is no published".encode() in done.stderr


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding(
    server: pg.PgServer, connect: Connect, run_cli: pg.RunCli, encoding: str
) -> None:
    """A database that is not in UTF-8 is installed, refreshed and shown like any other."""
    name = f"lv_{os.environ[pg.RUN]}_{encoding.lower()}_{os.getpid()}"
    connect(server.url("postgres")).execute(
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    try:
        url = server.url(name)
        for command in (("dev", "seed", "--events", "200"), ("db", "upgrade"), ("refresh",), ("status",)):
            done = run_cli(*command, url=url)

            assert done.returncode == 0, (command, done.stderr)
    finally:
        server.drop(name)


def test_a_closed_or_full_output_is_told(installed_url: str) -> None:
    """Where stdout is closed or full the command ends without a traceback."""
    for redirect, codes in (("> /dev/full", {1}), (">&-", {0}), ("2>&-", {0}), ("| head -c 1", {0})):
        done = subprocess.run(
            f'"{sys.executable}" -m ledgerviews status {redirect}',
            shell=True,
            check=False,
            capture_output=True,
            env={
                **pg.clean_environment(),
                "PYTHONPATH": str(pg.ROOT),
                "LEDGERVIEWS_DATABASE_URL": installed_url,
            },
        )

        assert done.returncode in codes, (redirect, done.stderr)
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr


def test_the_ends_of_a_migration_are_named(application_url: str, run_cli: pg.RunCli) -> None:
    """The line of the first revision says `base` where there is none before it, on the way up and down."""
    up = run_cli("db", "upgrade", "0001", url=application_url)
    down = run_cli("db", "downgrade", "base", url=application_url)

    assert up.stderr.startswith("Running upgrade base -> 0001, Install the engine")
    assert down.stderr.startswith("Running downgrade 0001 -> base, Install the engine")
