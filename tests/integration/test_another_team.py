"""Another team: its own models, its own revisions, our engine; one history, one head, one command."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import programs
from tests import servers as pg

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

FILES = {
    "shop/__init__.py": "",
    "shop/analytics/__init__.py": "",
    "shop/analytics/sources.py": """
from ledgerviews.catalog import Source
COLUMNS = {"id": "integer", "placed_at": "timestamptz"}
SOURCES = (Source(name="orders", description="Orders.", columns=COLUMNS),)
""",
    "shop/analytics/mart_orders_daily.sql": """
-- 100 % of the orders; ' :day ' and %s are only text here.
SELECT ledgerviews.utc_day(o.placed_at) AS day, count(*) AS orders, ':day 100%'::text AS note
FROM public.orders AS o GROUP BY 1;
""",
    "shop/analytics/mart_orders_daily.py": """
from ledgerviews.catalog import Kind, Model
MODEL = Model.beside(
    __file__, kind=Kind.MATERIALIZED_VIEW, description="Orders by day.", grain=("day",),
    columns={"day": "UTC day.", "orders": "Number of orders.", "note": "Text."},
)
""",
    "shop/migrations/env.py": "from ledgerviews.schema import run_migrations\nrun_migrations()\n",
    "shop/migrations/versions/a1.py": '''
from alembic import op
import ledgerviews.schema
revision = "a1"
down_revision = None
source_contract = {"public.orders": {"id": "integer", "placed_at": "timestamptz"}}

def upgrade():
    op.ledgerviews_engine(version=3, previous=0)
    op.ledgerviews_create_materialized_view(
        "mart_orders_daily",
        """-- 100 % of the orders; ' :day ' and %s are only text here.
SELECT ledgerviews.utc_day(o.placed_at) AS day, count(*) AS orders, ':day 100%'::text AS note
FROM public.orders AS o GROUP BY 1""",
        unique_key=["day"], comment="Orders by day.",
        columns={"day": "UTC day.", "orders": "Number of orders.", "note": "Text."},
    )

def downgrade():
    op.ledgerviews_drop_materialized_view("mart_orders_daily")
    op.ledgerviews_engine(version=0)
''',
    "alembic.ini": "[alembic]\nscript_location = %(here)s/shop/migrations\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository of another team."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def alembic(shop: Path, *args: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic in the team's repository."""
    return programs.run(
        "alembic",
        args,
        cwd=shop,
        env={
            **pg.clean_environment(),
            "PYTHONPATH": f"{pg.ROOT}:{shop}",
            "LEDGERVIEWS_DATABASE_URL": url,
        },
    )


def declare_by_day(sources: Path, model: Path) -> None:
    """Have the shop's mart declare its day, and its source how rows find theirs."""
    sources.write_text(
        sources.read_text().replace(
            "columns=COLUMNS",
            'columns=COLUMNS, day="placed_at", day_rows=("ledgerviews.in_days(orders.placed_at, lo, hi)",)',
        ),
        encoding="utf-8",
    )
    model.write_text(
        model.read_text().replace('grain=("day",)', 'grain=("day",), day="day"'), encoding="utf-8"
    )


def test_a_team_s_own_models_on_the_engine(
    shop: Path, empty_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """One revision installs the engine and the team's mart; refresh and status work on it alone."""
    connection = connect(empty_url)
    connection.execute(
        "CREATE TABLE public.orders (id int, placed_at timestamptz);"
        " INSERT INTO public.orders VALUES (1, '2026-03-01 23:30-05'), (2, '2026-03-02 01:00+00')"
    )
    env = {
        "PYTHONPATH": f"{pg.ROOT}:{shop}",
        "LEDGERVIEWS_MODELS": "shop.analytics",
        "LEDGERVIEWS_MIGRATIONS": "shop:migrations",
    }

    upgraded = alembic(shop, "upgrade", "head", url=empty_url)
    refreshed = run_cli("refresh", url=empty_url, env=env, cwd=shop)
    selected = run_cli("refresh", "--select", "mart_*", url=empty_url, env=env, cwd=shop)
    status = run_cli("status", url=empty_url, env=env, cwd=shop)
    heads = alembic(shop, "heads", url=empty_url)

    assert upgraded.returncode == 0, upgraded.stderr
    assert (refreshed.returncode, selected.returncode) == (0, 0), refreshed.stderr + selected.stderr
    assert status.returncode == 0, status.stdout + status.stderr
    assert "suggestion" not in status.stdout
    assert heads.stdout.split() == ["a1", "(head)"]
    assert connection.execute("SELECT day::text, orders, note FROM public.mart_orders_daily").fetchall() == [
        ("2026-03-02", 2, ":day 100%")
    ]


def test_the_first_revision_is_written_whole(
    shop: Path, empty_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """By the commands of docs/models.md: engine and mart come with it, and go; the next has the next id."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id int, placed_at timestamptz)")
    shutil.copy(pg.ROOT / "migrations/script.py.mako", shop / "shop/migrations/script.py.mako")
    (shop / "shop/migrations/versions/a1.py").unlink()
    sources, model = shop / "shop/analytics/sources.py", shop / "shop/analytics/mart_orders_daily.py"
    env = {
        "PYTHONPATH": f"{pg.ROOT}:{shop}",
        "LEDGERVIEWS_MODELS": "shop.analytics",
        "LEDGERVIEWS_MIGRATIONS": "shop:migrations",
    }

    first = ("db", "revision", "-m", "orders by day", "--rev-id", "0001")
    done = [
        run_cli(*words, url=empty_url, env=env, cwd=shop)
        for words in (first, ("db", "upgrade"), ("refresh",), ("status",))
    ]
    declare_by_day(sources, model)
    done += [
        run_cli(*words, url=empty_url, env=env, cwd=shop)
        for words in (("db", "revision", "-m", "by day"), ("db", "upgrade"), ("refresh",), ("status",))
    ]
    gone = run_cli("db", "downgrade", "base", url=empty_url, env=env, cwd=shop)

    assert [one.stderr for one in [*done, gone] if one.returncode != 0] == []
    assert [path.name for path in sorted((shop / "shop/migrations/versions").glob("*.py"))] == [
        "0001_orders_by_day.py",
        "0002_by_day.py",
    ]
    assert connection.execute(
        "SELECT to_regclass('public.mart_orders_daily'), to_regclass('ledgerviews.engine')"
    ).fetchall() == [(None, None)]


def test_a_team_s_mart_by_day(shop: Path, empty_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """What ``db render`` prints of a model with a day is a revision that refreshes it by day."""
    connection = connect(empty_url)
    connection.execute(
        "CREATE TABLE public.orders (id int, placed_at timestamptz);"
        " INSERT INTO public.orders SELECT n, timestamptz '2026-03-01 12:00+00' + n * interval '1 day'"
        " FROM generate_series(1, 40) AS n"
    )
    env = {
        "PYTHONPATH": f"{pg.ROOT}:{shop}",
        "LEDGERVIEWS_MODELS": "shop.analytics",
        "LEDGERVIEWS_MIGRATIONS": "shop:migrations",
    }
    sources, model = shop / "shop/analytics/sources.py", shop / "shop/analytics/mart_orders_daily.py"
    declare_by_day(sources, model)
    rendered = run_cli("db", "render", env=env, cwd=shop)
    body = rendered.stdout.replace("\n", "\n    ")
    (shop / "shop/migrations/versions/a1.py").write_text(
        "from alembic import op\nimport ledgerviews.schema\nrevision = 'a1'\ndown_revision = None\n"
        f"def upgrade():\n    op.ledgerviews_engine(version=3)\n    {body}\n"
        "def downgrade():\n    op.ledgerviews_drop_source('orders')\n"
        "    op.ledgerviews_drop_materialized_view('mart_orders_daily', by_day=True)\n"
        "    op.ledgerviews_engine(version=0)\n",
        encoding="utf-8",
    )

    upgraded = alembic(shop, "upgrade", "head", url=empty_url)
    first = run_cli("refresh", url=empty_url, env=env, cwd=shop)
    connection.execute("DELETE FROM public.orders WHERE id = 3; INSERT INTO public.orders VALUES (99, NULL)")
    second = run_cli("refresh", url=empty_url, env=env, cwd=shop)
    days = connection.execute(
        "SELECT reason FROM ledgerviews.run_relation ORDER BY run_id DESC LIMIT 1"
    ).fetchone()
    figures = connection.execute(
        "SELECT count(*), sum(orders), min(day)::text FROM public.mart_orders_daily"
    ).fetchone()
    gone = alembic(shop, "downgrade", "base", url=empty_url)

    assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert days is not None
    assert days[0].startswith("2 days changed")
    assert figures == (40, 40, "0001-01-01")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert (
        connection.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.orders'::regclass"
        ).fetchall()
        == []
    )


def test_without_a_place_for_revisions_no_head_is_compared(
    shop: Path, empty_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A team that keeps our operations in its application's history sets its models only, and refreshes."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id int, placed_at timestamptz)")
    alembic(shop, "upgrade", "head", url=empty_url)
    env = {"PYTHONPATH": f"{pg.ROOT}:{shop}", "LEDGERVIEWS_MODELS": "shop.analytics"}

    done = run_cli("refresh", url=empty_url, env=env, cwd=shop)

    assert done.returncode == 0, done.stderr


def test_the_engine_stays_while_something_is_published(shop: Path, empty_url: str, connect: Connect) -> None:
    """Taking the engine out under a published relation stops with its name and changes nothing."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id int, placed_at timestamptz)")
    alembic(shop, "upgrade", "head", url=empty_url)
    (shop / "shop/migrations/versions/a1.py").write_text(
        FILES["shop/migrations/versions/a1.py"].replace(
            'op.ledgerviews_drop_materialized_view("mart_orders_daily")', "pass"
        ),
        encoding="utf-8",
    )

    done = alembic(shop, "downgrade", "base", url=empty_url)

    assert done.returncode != 0
    assert "mart_orders_daily" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert connection.execute("SELECT version FROM ledgerviews.engine").fetchall() == [(3,)]


def test_the_engine_can_be_asked_for_twice(shop: Path, empty_url: str, connect: Connect) -> None:
    """A second revision that asks for the engine that is there already does nothing."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id int, placed_at timestamptz)")
    (shop / "shop/migrations/versions/b2.py").write_text(
        'from alembic import op\nimport ledgerviews.schema\nrevision = "b2"\ndown_revision = "a1"\n'
        "def upgrade():\n    op.ledgerviews_engine(version=3)\ndef downgrade():\n    pass\n",
        encoding="utf-8",
    )

    done = alembic(shop, "upgrade", "head", url=empty_url)

    assert done.returncode == 0, done.stderr
    assert connection.execute("SELECT version FROM ledgerviews.engine").fetchall() == [(3,)]


def test_a_revision_runs_under_the_lock_and_the_time_out(
    shop: Path, empty_url: str, connect: Connect
) -> None:
    """Every revision runs while this deploy's lock is held, with five seconds for any other lock."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id int, placed_at timestamptz)")
    (shop / "shop/migrations/versions/b2.py").write_text(
        'from alembic import op\nimport ledgerviews.schema\nrevision = "b2"\ndown_revision = "a1"\n'
        "def upgrade():\n    op.execute('''CREATE TABLE public.seen AS"
        " SELECT current_setting('lock_timeout') AS t, count(*) AS n FROM pg_locks"
        " WHERE locktype = 'advisory' AND pid = pg_backend_pid()''')\n"
        "def downgrade():\n    pass\n",
        encoding="utf-8",
    )

    done = alembic(shop, "upgrade", "head", url=empty_url)

    assert done.returncode == 0, done.stderr
    assert connection.execute("SELECT t, n FROM public.seen").fetchall() == [("5s", 1)]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('"day"', "its unique_key is a string, where a tuple of strings is expected."),
        ('["day"], reads="stg"', "its reads are a string, where a tuple of strings is expected."),
    ],
)
def test_a_string_for_a_tuple_in_a_revision_is_told(
    shop: Path, empty_url: str, connect: Connect, wrong: str, told: str
) -> None:
    """It is not taken for its letters: the relation, the argument, and what to write; nothing is kept."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id int, placed_at timestamptz)")
    path = shop / "shop/migrations/versions/a1.py"
    path.write_text(path.read_text().replace('unique_key=["day"]', f"unique_key={wrong}"), encoding="utf-8")

    done = alembic(shop, "upgrade", "head", url=empty_url)

    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"Relation mart_orders_daily: {told}" in said
    assert "=(…,), with a comma after the string." in said
    assert "Traceback" not in said
    assert connection.execute("SELECT to_regclass('public.mart_orders_daily')").fetchall() == [(None,)]
