"""Before and beside the first revision: what is said where something is not there yet, or is elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import alembic
import pytest

from tests import servers as pg
from tests.acceptance.test_revision_cli import Shop, shop  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

ASKING = (
    "refresh",
    "status",
    "verify",
    "runs",
    "diff",
    "tracking status",
    "index status",
    "cron status",
    "grant reader postgres",
    "release public.orders",
    "restore",
)
STEP = '''"""A step."""

revision = "{revision}"
down_revision = {before!r}


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
'''


@pytest.fixture
def bare(tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connect: Connect) -> Shop:
    """A team with a table and a model, and no revision yet."""
    connect(empty_url).execute("CREATE TABLE public.orders (id integer)")
    made = Shop(tmp_path, run_cli, empty_url)
    made.declare("m", "SELECT o.id FROM public.orders AS o")
    return made


def versions(team: Shop) -> Path:
    """The folder of its revisions."""
    return team.folder / "shop/migrations/versions"


def steps(team: Shop, **before: str | None) -> None:
    """Write revisions that do nothing, each with the one before it."""
    for revision, parent in before.items():
        text = STEP.format(revision=revision, before=parent)
        (versions(team) / f"{revision}.py").write_text(text, encoding="utf-8")


def schemas(connection: psycopg.Connection) -> list[tuple[str]]:
    """Ours, if it is there."""
    return connection.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'ledgerviews'").fetchall()


def test_where_no_revision_is_written_each_command_names_what_writes_one(
    bare: Shop, connect: Connect
) -> None:
    """All say that it is not installed, and `db revision`; `db upgrade` says so, and makes nothing."""
    asked = {words: bare(*words.split()) for words in ASKING}
    own = {words: bare("db", words) for words in ("upgrade", "current", "history")}

    none = f"No revision is written yet ({versions(bare)} is empty). Run `ledgerviews db revision -m TEXT`"
    for words, done in asked.items():
        assert done.returncode == 4, words
        assert "ledgerviews is not installed in database " in done.stderr, words
        assert none in done.stderr, words
        assert "nothing to release" not in done.stderr
    for words, done in own.items():
        assert done.returncode == 0, words
        assert done.stdout == ""
        assert done.stderr.startswith(none), words
    assert schemas(connect(bare.url)) == []


def test_two_newest_revisions_are_told_at_once(bare: Shop) -> None:
    """Before and after the installation: each command says how to join them, and none `db upgrade`."""
    steps(bare, b1=None, c1=None)
    before = [bare(*words.split()) for words in ("refresh", "status", "db upgrade")]
    for one in ("b1", "c1"):
        (versions(bare) / f"{one}.py").unlink()
    assert bare("db", "revision", "-m", "first", "--rev-id", "a1").returncode == 0
    assert bare("db", "upgrade").returncode == 0
    steps(bare, b1="a1", c1="a1")
    after = [
        bare(*words.split())
        for words in ("refresh", "status", "diff", "db check", "db revision -m x", "db upgrade")
    ]

    for done in (*before, *after):
        assert done.returncode in {2, 4}
        assert "More than one revision is the newest: b1, c1." in done.stderr
        assert "`alembic merge heads -m TEXT`" in done.stderr
        assert "`ledgerviews db upgrade`" not in done.stderr


def test_a_forgotten_variable_is_named(shop: Shop, run_cli: pg.RunCli) -> None:  # noqa: F811
    """In a shell without them, LEDGERVIEWS_MODELS and LEDGERVIEWS_MIGRATIONS are a likely cause."""
    done = [
        run_cli(*words.split(), url=shop.url)
        for words in ("refresh", "status", "diff", "db upgrade", "db current", "db check")
    ]

    for one in done:
        assert one.returncode in {2, 4}
        assert "LEDGERVIEWS_MODELS and LEDGERVIEWS_MIGRATIONS are not set here" in one.stderr


def test_the_package_s_revisions_are_not_run_over_a_project_s(bare: Shop, run_cli: pg.RunCli) -> None:
    """Where both call theirs alike and the variables are forgotten, nothing is done, and they are named."""
    assert bare("db", "revision", "-m", "first", "--rev-id", "0002").returncode == 0
    assert bare("db", "upgrade").returncode == 0
    done = [
        run_cli(*words.split(), url=bare.url)
        for words in ("db downgrade -1", "db upgrade", "db downgrade base")
    ]

    for one in done:
        assert one.returncode == 2
        assert "holds relations of other revisions than these, public." in one.stderr
        assert "LEDGERVIEWS_MODELS and LEDGERVIEWS_MIGRATIONS are not set here" in one.stderr
    assert "0002 (head)" in bare("db", "current").stdout


def test_without_its_models_a_project_s_are_asked_for(bare: Shop, run_cli: pg.RunCli) -> None:
    """Where only LEDGERVIEWS_MODELS is forgotten, nobody is sent to mend the package's own models."""
    env = {"PYTHONPATH": f"{pg.ROOT}:{bare.folder}", "LEDGERVIEWS_MIGRATIONS": "shop:migrations"}
    told = run_cli("db", "revision", "-m", "x", url=bare.url, env=env, cwd=bare.folder)

    assert told.returncode == 2
    assert "set LEDGERVIEWS_MODELS to models of yours: where it is not set, the package's own are meant" in (
        " ".join(told.stderr.split())
    )


def test_a_source_whose_table_is_not_there_yet_is_the_application_s_to_make(
    bare: Shop, connect: Connect
) -> None:
    """The model that reads it is right, so nobody is sent to mend that."""
    connect(bare.url).execute("DROP TABLE public.orders")
    (bare.folder / "shop/models/sources.py").write_text(
        "from ledgerviews.catalog import Source\n"
        'SOURCES = (Source(name="orders", description="Orders.", columns={"id": "integer"}),)\n',
        encoding="utf-8",
    )

    told = bare("db", "revision", "-m", "first")

    assert told.returncode == 2
    assert 'relation "public.orders" does not exist; nothing was written.' in told.stderr
    assert "  Run the application's own migrations first, or mend the name in sources.py" in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "x", "--rev-id", "a b/c"), "'a b/c' cannot be a revision's id."),
        (("-m", "x", "--rev-id", "a1"), "There is a revision a1 already."),
        (("-m", " \n"), "The message is empty."),
    ],
)
def test_a_revision_that_nobody_could_find_again_is_not_written(
    bare: Shop, words: tuple[str, ...], said: str
) -> None:
    """An id that is none, or another's, and no message: a line, and no file."""
    assert bare("db", "revision", "-m", "first\nof all", "--rev-id", "a1").returncode == 0
    before = sorted(versions(bare).glob("*.py"))
    assert bare("db", "upgrade").returncode == 0
    bare.declare("n", "SELECT o.id FROM public.orders AS o")

    told = bare("db", "revision", *words)

    assert told.returncode == 2
    assert told.stderr.startswith(f"ledgerviews: {said}\n")
    assert [path.name for path in before] == ["a1_first_of_all.py"]
    assert sorted(versions(bare).glob("*.py")) == before


def test_a_lost_revision_is_left_by_a_stamp(bare: Shop) -> None:
    """`alembic stamp --purge` asks nothing of the revision that is not there; the next one leads on."""
    assert bare("db", "revision", "-m", "first", "--rev-id", "a1").returncode == 0
    assert bare("db", "upgrade").returncode == 0
    bare.declare("n", "SELECT o.id FROM public.orders AS o")
    (written,) = bare("db", "revision", "-m", "second", "--rev-id", "a2").stdout.split()
    assert bare("db", "upgrade").returncode == 0
    Path(written).unlink()
    lost = bare("db", "check")
    (bare.folder / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/shop/migrations\nprepend_sys_path = %(here)s\n",
        encoding="utf-8",
    )
    env = {
        "PYTHONPATH": f"{pg.ROOT}:{bare.folder}",
        "LEDGERVIEWS_DATABASE_URL": bare.url,
        "LEDGERVIEWS_MODELS": "shop.models",
    }

    stamped = subprocess.run(
        [sys.executable, "-m", "alembic.config", "stamp", "--purge", "a1"],
        env={**pg.clean_environment(), **env},
        cwd=bare.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    bare.declare("n", "SELECT o.id + 0 AS id FROM public.orders AS o")
    done = [
        bare("db", "revision", "-m", "third", "--rev-id", "a3"),
        bare("db", "upgrade"),
        bare("db", "check"),
    ]

    assert "Can't locate revision identified by 'a2'" in lost.stderr
    assert stamped.returncode == 0, stamped.stdout + stamped.stderr
    assert [one.stderr for one in done if one.returncode] == []


def test_the_env_py_of_alembic_init_is_told_what_it_may_be(bare: Shop) -> None:
    """It asks for an URL that nobody has to give."""
    template = Path(alembic.__file__).parent / "templates/generic/env.py"
    shutil.copy(template, bare.folder / "shop/migrations/env.py")

    told = bare("db", "revision", "-m", "first")

    assert told.returncode == 2
    assert "shop/migrations/env.py, line " in told.stderr
    assert "`from ledgerviews.schema import run_migrations` and `run_migrations()`" in told.stderr


def test_what_a_first_upgrade_holds_keeps_no_revision_from_being_written(
    bare: Shop, connect: Connect
) -> None:
    """The engine is made for the comparison unless somebody else is making it."""
    upgrading, watching = connect(bare.url), connect(bare.url)
    upgrading.execute("BEGIN; CREATE SCHEMA ledgerviews")
    deadline = time.monotonic() + 30

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(bare, "db", "revision", "-m", "first")
        while not watching.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        upgrading.execute("COMMIT")
        told = writing.result()

    assert told.returncode == 0, told.stderr
    assert len(list(versions(bare).glob("*.py"))) == 1


def test_a_schema_that_is_not_there_is_told_by_each_command(
    shop: Shop,  # noqa: F811
    run_cli: pg.RunCli,
) -> None:
    """Status, diff and what compares say so and write nothing; a refresh of what stands elsewhere warns."""
    env = {
        "PYTHONPATH": f"{pg.ROOT}:{shop.folder}",
        "LEDGERVIEWS_MODELS": "shop.models",
        "LEDGERVIEWS_MIGRATIONS": "shop:migrations",
        "LEDGERVIEWS_SCHEMA": "nosuch",
    }
    before = sorted(versions(shop).iterdir())

    done = {
        words: run_cli(*words.split(), url=shop.url, env=env, cwd=shop.folder)
        for words in ("status", "diff", "db check", "db revision -m x", "refresh", "verify")
    }

    for words, one in done.items():
        assert 'The target schema "nosuch" does not exist in database ' in one.stderr, words
        assert 'Run CREATE SCHEMA "nosuch", or set LEDGERVIEWS_SCHEMA to one that is there.' in one.stderr
        assert "Write a revision that installs it" not in one.stderr
    assert [one.returncode for one in done.values()] == [4, 4, 2, 2, 0, 0]
    assert sorted(versions(shop).iterdir()) == before


def test_an_installed_package_gets_no_revision(
    installed_url: str, tmp_path: Path, run_cli: pg.RunCli
) -> None:
    """What pip would remove is not written: why is said, and what a project of one's own is told by."""
    site = tmp_path / "site-packages"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(pg.ROOT / "ledgerviews", site / "ledgerviews", ignore=ignored)
    shutil.copytree(pg.ROOT / "migrations", site / "ledgerviews/migrations", ignore=ignored)
    before = sorted((site / "ledgerviews/migrations/versions").iterdir())

    done = run_cli(
        "db", "revision", "-m", "fix", url=installed_url, env={"PYTHONPATH": str(site)}, cwd=tmp_path
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{site / 'ledgerviews/migrations/versions'} belong to an installed package" in done.stderr
    assert "Set LEDGERVIEWS_MODELS and LEDGERVIEWS_MIGRATIONS" in done.stderr
    assert "docs/models.md" in done.stderr
    assert sorted((site / "ledgerviews/migrations/versions").iterdir()) == before


def test_no_packaged_revision_is_to_be_deleted(application_url: str, run_cli: pg.RunCli) -> None:
    """Where the package's own are pending, the upgrade alone is the way on."""
    done = run_cli("db", "revision", "-m", "fix", url=application_url)

    assert done.returncode == 4
    assert "Run `ledgerviews db upgrade` first." in done.stderr
    assert "deleted" not in done.stderr


def test_a_script_whose_reader_goes_away_ends_quietly(bare: Shop) -> None:
    """`db upgrade --sql | head`: nothing is said, of the revision least of all."""
    with subprocess.Popen(
        [sys.executable, "-m", "ledgerviews", "db", "upgrade", "--sql"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT), "LEDGERVIEWS_DATABASE_URL": bare.url},
        cwd=bare.folder,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"-- Running upgrade 0001 -> 0002\n" in process.stdout
        process.stdout.close()
        told = process.stderr.read().decode().splitlines()
        code = process.wait(timeout=60)

    assert code in {0, 1}  # a system whose pipes hold much may have taken it all
    assert [line for line in told if not line.startswith("Running upgrade ")] == []


@pytest.mark.parametrize(
    ("words", "told", "mend"),
    [
        ("db downgrade -2", "-2 is further than the revisions go from there.", "`ledgerviews db current`"),
        ("db upgrade +5", "+5 is further than the revisions go from there.", "`ledgerviews db history`"),
        ("db upgrade base", "No upgrade leads to base.", "`ledgerviews db downgrade base`"),
        ("db downgrade base --sql", "a downgrade must be told where it begins.", "downgrade FROM:base --sql"),
        ("db upgrade b1:a1 --sql", "No revision leads from b1 forwards to a1.", "downgrade b1:a1 --sql"),
        ("db downgrade a1:b1 --sql", "No revision leads from there back to b1.", "`ledgerviews db upgrade`"),
        ("db upgrade a1:b1", "a1:b1 is a range, which only a script has", "add --sql"),
    ],
)
def test_a_revision_that_cannot_be_meant_is_a_usage_error(
    bare: Shop, words: str, told: str, mend: str
) -> None:
    """Too many steps, a script without its beginning or backwards: exit code 2 and the next command."""
    steps(bare, a1=None, b1="a1")
    assert bare("db", "upgrade", "a1").returncode == 0

    done = bare(*words.split())

    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert told in done.stderr
    assert mend in done.stderr


def test_an_empty_range_is_no_error(bare: Shop) -> None:
    """A script from the newest revision to the newest has nothing to do, and says nothing."""
    steps(bare, a1=None, b1="a1")

    done = bare("db", "upgrade", "b1:head", "--sql")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_downgrade_of_what_was_never_there_makes_nothing(
    application_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """`db downgrade base` leaves no schema ledgerviews behind."""
    done = run_cli("db", "downgrade", "base", url=application_url)

    assert done.returncode == 0, done.stderr
    assert schemas(connect(application_url)) == []
