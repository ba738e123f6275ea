"""Every test of a database runs on real servers: the controller starts them, the workers clone databases.

TEST_PGHOST, TEST_PGPORT, TEST_PGUSER and TEST_PGPASSWORD name a server to use instead; its user may create
databases.
"""

from __future__ import annotations

import compileall
import importlib
import itertools
import os
import secrets
import signal
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews.config import Settings
from ledgerviews.errors import LedgerviewsError
from tests import programs
from tests import servers as pg
from tests.bigquery import peer
from tests.fuzz.seeds import FIXED, random_seeds

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers, or check the one that is given; xdist's workers inherit where they are."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A suite that a script runs in the background would hand SIGINT down, ignored, to what it tests.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in set(os.environ) - set(pg.clean_environment()) - {pg.SERVERS, pg.RUN}:
        del os.environ[name]
    if hasattr(config, "workerinput") or any(
        config.getoption(option, default=False)
        for option in ("collectonly", "help", "version", "showfixtures")
    ):
        return
    for package in ("ledgerviews", "bq_export", "migrations"):
        compileall.compile_dir(pg.ROOT / package, quiet=2)  # the commands keep none
    run = secrets.token_hex(4)
    os.environ[pg.RUN] = run
    try:
        given = pg.external()
        if given is not None:
            config.add_cleanup(lambda: pg.drop_run(given, run))
        found = [given] if given is not None else pg.start_all(config.add_cleanup)
    except (LedgerviewsError, psycopg.Error) as exc:
        pytest.exit(f"No PostgreSQL to test on: {exc}", returncode=pytest.ExitCode.USAGE_ERROR)
    os.environ[pg.SERVERS] = pg.to_text(found)


def pytest_report_header() -> list[str]:
    """Say which servers the tests run on, and which one is missing."""
    found = pg.from_text(os.environ.get(pg.SERVERS, "[]"))
    lines = [
        f"PostgreSQL: {', '.join(f'{server.full_version} ({server.host})' for server in found) or 'none'}"
    ]
    if pg.RUN in os.environ:
        lines.append(f"fuzz: seeds {FIXED} and, new ones, {random_seeds(os.environ[pg.RUN])}")
    if found and not any(server.version == 15 for server in found):
        lines.append(
            f"WARNING: NOT TESTED ON POSTGRESQL 15, the oldest version that is supported: no {pg.DEBIAN_15}. "
            "Install postgresql-15."
        )
    return [*lines, peer.header()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly at the end, too, what was not tested."""
    if not peer.made() and "skipped" in terminalreporter.stats:
        terminalreporter.write_sep("!", "NOT TESTED AGAINST BIGQUERY", red=True, bold=True)
        terminalreporter.write_line(peer.header())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that uses a database once on every server."""
    if "server" in metafunc.fixturenames:
        found = {server.name: server for server in pg.from_text(os.environ.get(pg.SERVERS, "[]"))}
        names = list(found or pg.plan())
        metafunc.parametrize(
            "server", [found.get(name) for name in names], ids=names, indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> pg.PgServer:
    """Each server that the tests run on, in turn."""
    assert isinstance(request.param, pg.PgServer)
    return request.param


@pytest.fixture
def empty_url(server: pg.PgServer) -> Iterator[str]:
    """An empty database."""
    with server.database(_fresh_name()) as url:
        yield url


@pytest.fixture
def application_url(server: pg.PgServer) -> Iterator[str]:
    """A database with the application's tables, in the form that the application gives them now."""
    with server.database(_fresh_name(), template=server.template("current", _create_current)) as url:
        yield url


@pytest.fixture
def older_application_url(server: pg.PgServer) -> Iterator[str]:
    """A database with the application's tables in their older form."""
    with server.database(_fresh_name(), template=server.template("older", _create_older)) as url:
        yield url


@pytest.fixture
def installed_url(server: pg.PgServer) -> Iterator[str]:
    """A database with the application's tables and all of our migrations."""
    with server.database(_fresh_name(), template=server.template("installed", _install_current)) as url:
        yield url


@pytest.fixture
def older_installed_url(server: pg.PgServer) -> Iterator[str]:
    """A database with the application's tables in their older form and all of our migrations."""
    with server.database(_fresh_name(), template=server.template("older_installed", _install_older)) as url:
        yield url


@pytest.fixture
def connect() -> Iterator[Callable[[str], psycopg.Connection]]:
    """A function that opens an autocommit connection, closed when the test ends."""
    with ExitStack() as stack:

        def open_one(url: str) -> psycopg.Connection:
            return stack.enter_context(closing(psycopg.connect(url, autocommit=True)))

        yield open_one


@pytest.fixture
def run_cli() -> pg.RunCli:
    """A function that runs ``ledgerviews`` as a user does, without this environment's databases."""

    def run(
        *args: str,
        url: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        environment = {**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT), "PYTHONWARNINGS": "error"}
        if url is not None:
            environment["LEDGERVIEWS_DATABASE_URL"] = url
        return programs.run(
            "ledgerviews",
            args,
            env={**environment, **(env or {})},
            cwd=cwd or pg.ROOT,
            stdin=stdin or "",
            timeout=timeout,
        )

    return run


def _fresh_name() -> str:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return f"lv_{os.environ[pg.RUN]}_{worker}_{next(_numbers)}"


def _create_tables(url: str, form: str) -> None:
    demo = importlib.import_module("ledgerviews.models.demo")
    with psycopg.connect(url) as connection:
        demo.create_tables(connection, form=form)


def _create_current(url: str) -> None:
    _create_tables(url, "current")


def _create_older(url: str) -> None:
    _create_tables(url, "older")


def _install(url: str, form: str) -> None:
    _create_tables(url, form)
    importlib.import_module("ledgerviews.schema.commands").upgrade(Settings(database_url=url))


def _install_current(url: str) -> None:
    _install(url, "current")


def _install_older(url: str) -> None:
    _install(url, "older")
