"""``ledgerviews db revision`` and ``db upgrade`` where something is in the way: what a user reads then."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import servers as pg

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

MODEL = """
from ledgerviews.catalog import Kind, Model
MODEL = Model.beside(
    __file__, kind=Kind.{kind}, description="A model.", grain={grain}, columns={{"id": "The id."}},{more}
)
"""


class Shop:
    """A team's models and revisions in a folder, and the commands run in it."""

    def __init__(self, folder: Path, run_cli: pg.RunCli, url: str) -> None:
        self.folder, self.run_cli, self.url = folder, run_cli, url
        for name in ("shop", "shop/models", "shop/migrations", "shop/migrations/versions"):
            (folder / name).mkdir()
        for name in ("shop/__init__.py", "shop/models/__init__.py"):
            (folder / name).write_text("", encoding="utf-8")
        (folder / "shop/migrations/env.py").write_text(
            "from ledgerviews.schema import run_migrations\nrun_migrations()\n", encoding="utf-8"
        )
        shutil.copy(pg.ROOT / "migrations/script.py.mako", folder / "shop/migrations/script.py.mako")

    def declare(self, name: str, sql: str, *, mart: bool = True, more: str = "") -> None:
        """Write a model."""
        kind, grain = ("MATERIALIZED_VIEW", '("id",)') if mart else ("VIEW", "()")
        models = self.folder / "shop/models"
        (models / f"{name}.sql").write_text(sql + "\n", encoding="utf-8")
        text = MODEL.format(kind=kind, grain=grain, more=more)
        (models / f"{name}.py").write_text(text, encoding="utf-8")

    def __call__(self, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``ledgerviews``."""
        env = {
            "PYTHONPATH": f"{pg.ROOT}:{self.folder}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LEDGERVIEWS_MODELS": "shop.models",
            "LEDGERVIEWS_MIGRATIONS": "shop:migrations",
        }
        return self.run_cli(*arguments, url=url or self.url, env=env, cwd=self.folder)


@pytest.fixture
def shop(tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connect: Connect) -> Shop:
    """A team with one table and one mart on it, which is installed."""
    connect(empty_url).execute("CREATE TABLE public.orders (id integer)")
    made = Shop(tmp_path, run_cli, empty_url)
    made.declare("m", "SELECT o.id FROM public.orders AS o")
    assert made("db", "revision", "-m", "first").returncode == 0
    done = made("db", "upgrade")
    assert done.returncode == 0, done.stderr
    return made


def test_a_pending_revision_is_named_with_what_to_do(shop: Shop) -> None:
    """The files that the database has not seen, and that one that cannot be applied may go."""
    shop.declare("n", "SELECT o.id FROM public.orders AS o")
    (written,) = shop("db", "revision", "-m", "second").stdout.split()

    told = shop("db", "revision", "-m", "third")

    assert told.returncode == 4
    assert "Traceback" not in told.stderr
    assert f"pending: {written}." in told.stderr
    assert "`ledgerviews db upgrade` first" in told.stderr
    assert "the file deleted, as long as no database is at it" in told.stderr


def test_a_model_that_cannot_be_is_told_instead_of_written(shop: Shop) -> None:
    """Name, PostgreSQL's words and the line; exit code 2 and no file."""
    before = sorted((shop.folder / "shop/migrations/versions").glob("*.py"))
    shop.declare("m", "SELECT o.id\nFROM public.orders AS o\nWHERE o.nosuch = 1")

    told = shop("db", "revision", "-m", "second")

    assert told.returncode == 2
    assert (
        "ledgerviews: m cannot be created: column o.nosuch does not exist; nothing was written.\n"
        "  LINE 3: WHERE o.nosuch = 1\n"
        "                ^\n"
        "  Mend it in m.sql, then write the revision again.\n" in told.stderr
    )
    assert sorted((shop.folder / "shop/migrations/versions").glob("*.py")) == before


def test_an_unknown_role_is_named_with_its_statement(shop: Shop) -> None:
    """A grant to nobody, on a new relation and on one that stands: told before, and by the upgrade."""
    grants = ' grants={"lv_nobody": ("SELECT",)}'
    shop.declare("n", "SELECT o.id FROM public.orders AS o", more=grants)
    differing = shop("diff")
    writing = shop("db", "revision", "-m", "second")
    written = writing.stdout.strip()

    fresh = shop("db", "upgrade")
    Path(written).unlink()
    (shop.folder / "shop/models/n.py").unlink()
    (shop.folder / "shop/models/n.sql").unlink()
    shop.declare("m", "SELECT o.id FROM public.orders AS o", more=grants)
    assert shop("db", "revision", "-m", "second").returncode == 0
    standing = shop("db", "upgrade")

    told = "There is no role lv_nobody, which is declared for n: the upgrade stops there. Run CREATE ROLE"
    assert (differing.returncode, writing.returncode) == (4, 0)
    assert told in differing.stderr
    assert told in writing.stderr
    mend = "Run CREATE ROLE lv_nobody, or take it out of what is declared, and of the revision."
    assert (fresh.returncode, standing.returncode) == (1, 1)
    assert 'public.n cannot be built: role "lv_nobody" does not exist; nothing was changed.' in fresh.stderr
    assert 'role "lv_nobody" does not exist (GRANT SELECT ON "public"."m" TO "lv_nobody");' in standing.stderr
    assert mend in fresh.stderr
    assert mend in standing.stderr


def test_rights_that_lack_are_told_with_the_grant(
    tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connect: Connect
) -> None:
    """No CREATE on the database, none on the schema, a view of another owner: each with its mend."""
    connection = connect(empty_url)
    database = connection.info.dbname
    role, other = f"{database}_deploy", f"{database}_other"
    connection.execute(
        f"CREATE TABLE public.orders (id integer); CREATE ROLE {role} LOGIN; CREATE ROLE {other};"
        f" GRANT SELECT ON public.orders TO {role}; REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
        f" REVOKE CREATE ON DATABASE {database} FROM PUBLIC".encode()
    )
    shop = Shop(tmp_path, run_cli, empty_url.replace("//postgres@", f"//{role}@", 1))
    shop.declare("v", "SELECT o.id FROM public.orders AS o", mart=False)
    assert shop("db", "revision", "-m", "first").returncode == 0

    try:
        on_database = shop("db", "upgrade")
        connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}".encode())
        on_schema = shop("db", "upgrade")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}".encode())
        done = shop("db", "upgrade")
        connection.execute(f"ALTER VIEW public.v OWNER TO {other}".encode())
        shop.declare("v", "SELECT o.id + 1 AS id FROM public.orders AS o", mart=False)
        assert shop("db", "revision", "-m", "second").returncode == 0
        on_view = shop("db", "upgrade")
    finally:
        connection.execute(
            f"DROP SCHEMA IF EXISTS ledgerviews CASCADE; DROP OWNED BY {role}, {other} CASCADE;"
            f" DROP ROLE {role}, {other}".encode()
        )

    assert on_database.returncode == 1
    assert f"permission denied for database {database} (database {database!r}" in on_database.stderr
    assert f"GRANT CREATE ON DATABASE {database} to the role that you connect as." in on_database.stderr
    assert on_schema.returncode == 1
    assert "GRANT USAGE, CREATE ON SCHEMA public to the role" in on_schema.stderr
    assert done.returncode == 0, done.stderr
    assert on_view.returncode == 1
    assert "must be owner of view v (database" in on_view.stderr
    assert "Connect as the owner of view v, or" in on_view.stderr


def test_a_script_begins_where_it_is_told(shop: Shop) -> None:
    """From base where only the end is said, as Alembic's own; FROM:TO of what is between, which psql runs."""
    shop.declare("n", "SELECT o.id FROM public.orders AS o")
    (first,) = shop("db", "current").stdout.split()[:1]
    (written,) = shop("db", "revision", "-m", "second", "--rev-id", "b2").stdout.split()

    whole = shop("db", "upgrade", "--sql")
    part = shop("db", "upgrade", f"{first}:b2", "--sql")

    assert written.endswith("second.py")
    assert (whole.returncode, part.returncode) == (0, 0), whole.stderr + part.stderr
    assert "CREATE TABLE ledgerviews.alembic_version" in whole.stdout
    assert "CREATE TABLE ledgerviews.alembic_version" not in part.stdout
    assert "relation_name => 'm'" in whole.stdout
    assert "relation_name => 'm'" not in part.stdout
    assert "relation_name => 'n'" in part.stdout


def test_columns_and_sql_that_are_wrong_are_told_by_diff(shop: Shop) -> None:
    """An undeclared column is an error; of a SELECT that is wrong the place is shown."""
    shop.declare("m", "SELECT o.id, o.id AS more FROM public.orders AS o")
    undeclared = shop("diff")
    shop.declare("m", "\n\nSELECT o.id\nFROM public.orders AS o\nWHERE o.nosuch = 1")
    wrong = shop("diff")

    assert (undeclared.returncode, wrong.returncode) == (2, 4)
    assert "The SELECT of model m gives more, which its columns do not declare." in undeclared.stderr
    assert (
        "--   cannot be created now: column o.nosuch does not exist\n"
        "--   LINE 5: WHERE o.nosuch = 1\n"
        "--                 ^\n"
        "--   Mend it in m.sql.\n" in wrong.stdout
    )


@pytest.mark.parametrize("env", ["ours", "theirs"])
def test_a_revision_that_postgresql_refuses_is_told_without_a_traceback(shop: Shop, env: str) -> None:
    """A dropped or altered column that a view reads, written by hand, under an env.py of theirs, too."""
    shop.declare("n", "SELECT o.id FROM public.orders AS o", mart=False)
    assert shop("db", "revision", "-m", "second", "--rev-id", "b2").returncode == 0
    assert shop("db", "upgrade").returncode == 0
    if env == "theirs":
        (shop.folder / "shop/migrations/env.py").write_text(THEIRS.format(url=shop.url), encoding="utf-8")
    told = []
    for line in ('op.drop_column("orders", "id")', 'op.alter_column("orders", "id", type_=sa.Text())'):
        (shop.folder / "shop/migrations/versions/c3_by_hand.py").write_text(
            f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = 'c3'\ndown_revision = 'b2'\n\n\n"
            f"def upgrade() -> None:\n    {line}\n",
            encoding="utf-8",
        )
        told.append(shop("db", "upgrade"))

    dropped, altered = told
    assert [one.returncode for one in told] == [1, 1]
    assert "Traceback" not in dropped.stderr + altered.stderr
    assert "ledgerviews: cannot drop column id of table orders because other objects" in dropped.stderr
    assert "view n depends on column id of table orders" in dropped.stderr
    assert "of ours by a revision whose models do without it; nothing was changed." in dropped.stderr
    assert "ledgerviews: cannot alter type of a column used by a view or rule:" in altered.stderr
    assert "Alter it in `with ledgerviews.released(" in altered.stderr


THEIRS = """
import sqlalchemy
from alembic import context

engine = sqlalchemy.create_engine("{url}".replace("postgresql://", "postgresql+psycopg://"))
with engine.connect() as connection:
    context.configure(connection=connection, version_table_schema="ledgerviews")
    with context.begin_transaction():
        context.run_migrations()
"""
