"""``ledgerviews db revision`` and ``db upgrade`` where something is in the way: what a user reads then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledgerviews import revisions
from ledgerviews.db import READ_ALIKE
from tests import servers as pg

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

MODEL = """
from ledgerviews.catalog import Kind, Model, expression
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


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'."),
        ("open('/nosuch')", "FileNotFoundError: [Errno 2] No such file or directory: '/nosuch'."),
        ("x = y", "NameError: name 'y' is not defined."),
    ],
)
def test_a_mistake_in_a_declaration_is_told_with_its_line(shop: Shop, line: str, told: str) -> None:
    """By each command that reads the models: file, line, Python's words, what to do; exit code 2."""
    path = shop.folder / "shop/models/m.py"
    path.write_text(line + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")

    done = [
        shop(*words.split())
        for words in ("status", "diff", "db revision -m x", "db check", "db render", "refresh --select m")
    ]

    for one in done:
        assert one.returncode == 2, one.stderr
        assert one.stderr == f"ledgerviews: {path}, line 1: {told}\n  Mend it, then run the command again.\n"


@pytest.mark.parametrize(
    ("check", "said", "line"),
    [
        ("evvents < 600", 'column "evvents" does not exist', "LINE 1: evvents < 600\n--           ^"),
        (
            "m.id + 1",
            "it is of type integer, and must be a condition, of type boolean",
            "LINE 1: m.id + 1\n--           ^",
        ),
        ("id <", "syntax error at end of input\n", "LINE 1: id <\n--               ^"),
        (
            "id < 1 /*",
            'unterminated /* comment at or near "/*"\n',
            "LINE 1: id < 1 /*\n--                  ^",
        ),
        ("id < 'x", 'unterminated quoted string at or near "\'x"\n', "LINE 1: id < 'x\n--                ^"),
        (
            "id > 0) OR (true",
            "it closes a bracket that it does not open\n",
            "LINE 1: id > 0) OR (true\n--                 ^",
        ),
        ("true); COMMIT; --", "it holds more than one statement", None),
    ],
)
def test_a_check_that_cannot_be_run_is_told_instead_of_written(
    shop: Shop, check: str, said: str, line: str | None
) -> None:
    """On a mart that stands and on a new one: its name, PostgreSQL's words, the file; nothing is written."""
    more = f' checks=(expression("few", {check!r}),)'
    told = []
    for name in ("m", "n"):
        shop.declare(name, "SELECT o.id FROM public.orders AS o", more=more)
        told.append((name, shop("diff"), shop("db", "revision", "-m", "second")))
        shop.declare(name, "SELECT o.id FROM public.orders AS o")

    for name, differing, writing in told:
        assert differing.returncode == 4, differing.stderr
        assert f"--   check few cannot be run: {said}" in differing.stdout
        assert f"--   Mend it in {name}.py.\n" in differing.stdout
        assert line is None or f"--   {line}\n" in differing.stdout
        assert writing.returncode == 2
        assert f"ledgerviews: Check few of {name} cannot be run: {said.rstrip()}" in writing.stderr
        assert "; nothing was written.\n" in writing.stderr
        assert f"  Mend it in {name}.py, then write the revision again.\n" in writing.stderr
    assert len(list((shop.folder / "shop/migrations/versions").glob("*.py"))) == 1


SETTINGS = {
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "quote_all_identifiers": "on",
    "extra_float_digits": "-5",
    "bytea_output": "escape",
    "intervalstyle": "sql_standard",
    "datestyle": "German",
    "timezone": "Asia/Tokyo",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
}
LITERALS = (
    r"SELECT o.id FROM public.orders AS o WHERE o.id::text ~ '^\d+$'"
    r" AND o.id <> '0.30000000000000004'::float8 AND '\x5c27'::bytea <> 'a\\b'"
    r" AND '1 day 2:00:00'::interval > '1 day' AND o.id <> 7::money::numeric"
    " AND '2020-02-03 04:05:06+00'::timestamptz > '2019-02-03'::date"
)


def test_settings_of_the_database_are_no_difference(shop: Shop, connect: Connect) -> None:
    """Whatever a database says of how text is read and printed: nothing differs.

    To a role that can create nothing to be printed the same goes for strings and quotes.
    """
    shop.declare("m", LITERALS, more=r""" checks=(expression("c", r"id::text ~ '^\d+$'"),)""")
    shop.declare("v", "SELECT m.id FROM public.m AS m WHERE 'a\\' < 'b'", mart=False)
    installed = [shop("db", "revision", "-m", "second"), shop("db", "upgrade"), shop("refresh")]
    connection = connect(shop.url)
    database, role = connection.info.dbname, f"{connection.info.dbname}_reader"
    connection.execute(
        f"CREATE ROLE {role} LOGIN; REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;"
        f" GRANT USAGE ON SCHEMA ledgerviews TO {role};"
        f" GRANT SELECT ON ALL TABLES IN SCHEMA ledgerviews TO {role}".encode()
    )
    reader = shop.url.replace("//postgres@", f"//{role}@", 1)
    found = []
    for name, value in SETTINGS.items():
        connection.execute(f"ALTER DATABASE {database} SET {name} = '{value}'".encode())
        found += [(name, words, shop(*words.split())) for words in ("diff", "status", "db check", "verify")]
        if name in READ_ALIKE:
            found.append((name, "reader", shop("diff", url=reader)))
        connection.execute(f"ALTER DATABASE {database} RESET {name}".encode())
    connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())

    assert [done.returncode for done in installed] == [0, 0, 0], installed[0].stderr + installed[1].stderr
    differing = [(name, words, done.stdout + done.stderr) for name, words, done in found if done.returncode]
    assert differing == []


def test_a_revision_means_the_same_in_a_database_of_old_strings(shop: Shop, connect: Connect) -> None:
    """With backslashes read as escapes: what is written and installed there is no difference elsewhere."""
    connection = connect(shop.url)
    off = f"ALTER DATABASE {connection.info.dbname} SET standard_conforming_strings = off"
    connection.execute(off.encode())
    shop.declare("m", LITERALS)
    connect(shop.url).execute("INSERT INTO public.orders VALUES (1)")
    there = [shop("db", "revision", "-m", "second"), shop("db", "upgrade"), shop("refresh"), shop("diff")]
    connection.execute(f"ALTER DATABASE {connection.info.dbname} RESET ALL".encode())
    elsewhere = shop("diff")

    for done in (*there, elsewhere):
        assert done.returncode == 0, done.stdout + done.stderr
    assert connection.execute("SELECT count(*) FROM public.m").fetchone() == (1,)


@pytest.mark.parametrize("check", ["", " ", "-- nothing"])
def test_a_check_without_an_expression_is_refused(shop: Shop, check: str) -> None:
    """By each command that reads the models, in a line that names model, check and what to write; code 2."""
    shop.declare("m", "SELECT o.id FROM public.orders AS o", more=f' checks=(expression("few", {check!r}),)')

    done = [shop(*words.split()) for words in ("status", "diff", "db revision -m x", "db check")]

    for one in done:
        assert one.returncode == 2, one.stderr
        assert one.stderr == (
            "ledgerviews: Model m: its check few has no expression.\n"
            "  Write a condition over the model's columns, as orders >= 0, or leave the check out.\n"
        )


def test_a_definition_that_is_not_closed_is_told_in_a_line(shop: Shop) -> None:
    """PostgreSQL's words, with the user's text only, in one line, by `diff`, `status` and `db revision`."""
    shop.declare("m", "SELECT o.id FROM public.orders AS o WHERE o.id = 'x")
    said = 'm cannot be created: unterminated quoted string at or near "\'x"'

    differing, standing, writing = shop("diff"), shop("status"), shop("db", "revision", "-m", "x")

    assert '--   cannot be created now: unterminated quoted string at or near "\'x"\n' in differing.stdout
    assert f"\nFirst: {said}. Mend it in m.sql.\n" in f"\n{standing.stderr}"
    assert f"ledgerviews: {said}; nothing was written.\n" in writing.stderr


DAILY = """
from ledgerviews.catalog import Source
SOURCES = [
    Source(
        name="orders", description="Orders.", columns={"id": "integer", "made": "timestamptz"}, day="made",
        day_rows=("ledgerviews.in_days(orders.made, lo, hi)",),
    ),
]
"""


def test_a_check_leaves_with_one_code_whatever_is_in_the_way(shop: Shop, connect: Connect) -> None:
    """4 from `db check`: a check, a day that is no date, columns that differ; 2 from what is to write."""
    connect(shop.url).execute("ALTER TABLE public.orders ADD COLUMN made timestamptz")
    (shop.folder / "shop/models/sources.py").write_text(DAILY, encoding="utf-8")
    found = []
    for more, sql in (
        (' checks=(expression("few", "nosuch > 0"),)', "SELECT o.id FROM public.orders AS o"),
        (' day="id"', "SELECT o.id FROM public.orders AS o"),
        ("", "SELECT o.id, 1 AS more FROM public.orders AS o"),
    ):
        shop.declare("m", sql, more=more)
        found.append((shop("db", "check"), shop("db", "revision", "-m", "x")))

    for checking, writing in found:
        assert (checking.returncode, writing.returncode) == (4, 2), checking.stderr + writing.stderr
    assert "The day of model m is its column id, which is of type integer.\n" in found[1][0].stderr


def test_without_a_mart_nothing_is_said_to_be_equal(shop: Shop) -> None:
    """`refresh` and `verify` say that there is nothing to refresh, and nothing to compare."""
    shop.declare("m", "SELECT o.id FROM public.orders AS o", mart=False)
    installed = [shop("db", "revision", "-m", "second"), shop("db", "upgrade")]

    refreshed, verified = shop("refresh"), shop("verify")

    assert [one.returncode for one in (*installed, refreshed, verified)] == [0, 0, 0, 0]
    assert refreshed.stdout.startswith("There is no materialized view, so nothing was refreshed (run 1)")
    assert verified.stdout.startswith("There is no materialized view, so nothing was compared (run 2)")


def test_a_check_is_tried_as_the_engine_runs_it(shop: Shop, connect: Connect) -> None:
    """System columns, a comment at its end, a subquery, another model of the same revision: each is taken."""
    sound = ("m.ctid IS NOT NULL -- always", "id IN (SELECT o.id FROM public.orders AS o)", "NOT m IS NULL")
    checks = ", ".join(f'expression("c{number}", {check!r})' for number, check in enumerate(sound))
    shop.declare("m", "SELECT o.id FROM public.orders AS o", more=f" checks=({checks},)")
    new = 'expression("of_n", "id IN (SELECT n.id FROM public.n AS n)")'
    shop.declare("l", "SELECT n.id FROM public.n AS n", more=f" checks=({new},)")
    shop.declare("n", "SELECT o.id FROM public.orders AS o")
    connect(shop.url).execute("INSERT INTO public.orders VALUES (1)")

    done = [shop("db", "revision", "-m", "second"), shop("db", "upgrade"), shop("refresh"), shop("diff")]

    for one in done:
        assert one.returncode == 0, one.stderr


def test_a_check_that_an_upgrade_cannot_run_is_told_with_its_files(shop: Shop, connect: Connect) -> None:
    """Edited by hand, in either operation: the declaration, the revision and PostgreSQL's words."""
    shop.declare("n", "SELECT o.id FROM public.orders AS o", more=' checks=(expression("few", "id < 600"),)')
    (written,) = shop("db", "revision", "-m", "second").stdout.split()
    text = Path(written).read_text(encoding="utf-8")
    Path(written).write_text(text.replace("id < 600", "idd < 600"), encoding="utf-8")
    replacing = shop("db", "upgrade")
    Path(written).unlink()
    create = (
        'op.ledgerviews_create_materialized_view("n", "SELECT 1 AS id", comment="N.", columns={"id": "Id."},'
        ' unique_key=["id"], reads=[],'
        ' checks=[{"name": "few", "kind": "expression", "expression": "idd < 600"}])'
    )
    path = by_hand(shop, f"import ledgerviews.schema\ndef upgrade():\n    {create}")
    creating = shop("db", "upgrade")

    for done, file in ((replacing, written), (creating, path)):
        assert done.returncode == 1, done.stderr
        assert done.stderr.endswith(
            'ledgerviews: Check few of public.n cannot be run: column "idd" does not exist;'
            " nothing was changed.\n"
            f"  Mend it in n.py, and in {file}, which holds it, too; or write the revision again,"
            " as long as no database is at it.\n"
        )
    assert connect(shop.url).execute("SELECT to_regclass('public.n')").fetchone() == (None,)


REFUNDS = """
from ledgerviews.catalog import Source
SOURCES = [
    Source(name="refunds", description="Refunds.", columns={{"id": "{id}", "made": "{made}"}}, day="made"),
    Source(name="later", description="Not there yet.", columns={{"id": "uuid"}}),
]
"""


def test_types_of_a_source_that_its_table_has_not_are_told(shop: Shop, connect: Connect) -> None:
    """Of a new source and of a tracked one: diff, status and check tell each column, and no file is written.

    A source whose table is not there yet is left to the upgrade.
    """
    connect(shop.url).execute("CREATE TABLE public.refunds (id integer, made timestamptz)")
    path = shop.folder / "shop/models/sources.py"
    path.write_text(REFUNDS.format(id="integer", made="datetime"), encoding="utf-8")
    fresh = [shop("diff"), shop("db", "revision", "-m", "new")]
    path.write_text(REFUNDS.format(id="integer", made="timestamptz"), encoding="utf-8")
    assert shop("db", "revision", "-m", "refunds").returncode == 0
    assert shop("db", "upgrade").returncode == 0
    right = shop("diff")
    path.write_text(REFUNDS.format(id="uuid", made="timestamptz"), encoding="utf-8")
    tracked = [shop("diff"), shop("db", "revision", "-m", "changed")]
    state = shop("status")
    path.write_text(
        REFUNDS.format(id="integer", made="timestamptz").replace('"id": "int', '"nr": "int'), encoding="utf-8"
    )
    renamed = shop("diff")

    datetime = (
        "public.refunds.made is declared as datetime, and is timestamp with time zone; write timestamptz (the"
        " words are text, enum, integer, number, uuid, json, jsonb, boolean, date, timestamp,"
        " timestamptz)."
    )
    uuid = "public.refunds.id is declared as uuid, and is integer."
    mend = "Mend what Source public.refunds declares, or run the application's own migrations first."
    assert right.returncode == 0, right.stderr
    for (differing, written), told in ((fresh, datetime), (tracked, uuid)):
        assert differing.returncode == 4
        assert f"{told} {mend}\n" in differing.stderr
        assert written.returncode == 2
        assert written.stderr == (
            "ledgerviews: The columns that sources declare are not those of the application's tables;"
            f" nothing was written:\n  {told}\n"
            f"  {mend.removesuffix('.')}, then write the revision again.\n"
        )
    assert state.returncode == 4
    assert f"{uuid} {mend}" in state.stderr
    assert f"public.refunds.nr is declared, and there is no such column. {mend}" in renamed.stderr
    assert len(list((shop.folder / "shop/migrations/versions").glob("*.py"))) == 2


PARTS = """
from ledgerviews.catalog import Source
COLUMNS = {"id": "integer", "made": "timestamptz"}
SOURCES = [
    Source(name="refunds", description="R.", columns=COLUMNS, day="made", key="id"),
    Source(name="parts", description="P.", columns=COLUMNS, day="made", WITH),
]
"""


def test_what_differs_in_a_source_is_told_in_its_declarations_words(shop: Shop, connect: Connect) -> None:
    """Its day, its parent, the columns of its indexes, of a new one and of one that is changed."""
    for table in ("refunds", "parts"):
        connect(shop.url).execute(f"CREATE TABLE public.{table} (id integer, made timestamptz)")
    path = shop.folder / "shop/models/sources.py"
    path.write_text(PARTS.replace("WITH", 'key="id", parent="public.refunds"'), encoding="utf-8")
    fresh = shop("diff").stdout
    assert shop("db", "revision", "-m", "sources").returncode == 0
    assert shop("db", "upgrade").returncode == 0
    path.write_text(PARTS.replace("WITH", 'indexes=("id,made", "made")'), encoding="utf-8")
    changed = shop("diff").stdout
    path.write_text(
        PARTS.replace("WITH", 'key="id", parent="public.refunds"').replace('key="id")', 'key="made")'),
        encoding="utf-8",
    )
    other_key = shop("diff").stdout

    assert "-- day: none in the database, made in the code\n" in fresh
    assert "-- parent: none in the database, public.refunds in the code\n" in fresh
    assert "-- indexes: none in the database, (id, made), (made) in the code\n" in changed
    assert "-- parent: public.refunds in the database, none in the code\n" in changed
    assert (
        "-- parent: public.refunds (key id, day made) in the database,"
        " public.refunds (key made, day made) in the code\n" in other_key
    )
    for text in (fresh, changed, other_key):
        assert "None" not in text
        assert "{" not in text
        assert "-- kind" not in text


def test_after_a_columns_rename_it_is_said_what_comes_first(shop: Shop, connect: Connect) -> None:
    """The status says what to mend before a revision is written; check says that it differs, exit code 4."""
    shop.declare("n", "SELECT m.id FROM public.m AS m")
    connect(shop.url).execute("ALTER TABLE public.orders RENAME id TO nr")

    state, checked = shop("status"), shop("db", "check")
    told = json.loads(shop("status", "--json").stdout)
    shop.declare("m", "SELECT o.nr AS id FROM public.orders AS o")
    mended = shop("status")
    written = shop("db", "revision", "-m", "renamed")

    first = "m cannot be created: column o.id does not exist. Mend it in m.sql."
    assert state.returncode == 4
    assert state.stderr.splitlines()[:3] == [
        f"First: {first}",
        (
            "differs: public.m (definition). Then `ledgerviews diff` shows it as SQL,"
            " `ledgerviews db revision -m TEXT` writes a revision."
        ),
        (
            "not installed: public.n. Then write a revision that installs it,"
            " or set LEDGERVIEWS_SCHEMA to where it stands."
        ),
    ]
    assert told["first"] == [first]
    assert told["current"] is False
    assert checked.returncode == 4
    assert checked.stderr == (
        "ledgerviews: m cannot be created: column o.id does not exist.\n"
        "  LINE 1: SELECT o.id FROM public.orders AS o\n"
        "                 ^\n"
        "  Mend it in m.sql, then `ledgerviews db revision -m TEXT` writes the revision.\n"
    )
    assert "First:" not in mended.stderr
    assert written.returncode == 0, written.stderr


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
    assert f"GRANT CREATE ON DATABASE {database} TO {role}." in on_database.stderr
    assert on_schema.returncode == 1
    assert f"GRANT USAGE, CREATE ON SCHEMA public TO {role}" in on_schema.stderr
    assert done.returncode == 0, done.stderr
    assert on_view.returncode == 1
    assert "must be owner of view v (database" in on_view.stderr
    assert f"Connect as {other}, the owner of public.v, or as a member of that role." in on_view.stderr


def test_what_is_in_the_way_of_a_removal_is_told_once(shop: Shop, connect: Connect) -> None:
    """Who depends on it, that nothing was changed, and what to do; each a single time."""
    shop.declare("n", "SELECT o.id FROM public.orders AS o")
    assert shop("db", "revision", "-m", "second").returncode == 0
    assert shop("db", "upgrade").returncode == 0
    connect(shop.url).execute("CREATE VIEW public.team AS SELECT n.id FROM public.n AS n")
    for kind in ("py", "sql"):
        (shop.folder / f"shop/models/n.{kind}").unlink()
    assert shop("db", "revision", "-m", "third").returncode == 0

    done = shop("db", "upgrade")

    assert done.returncode == 1
    assert done.stderr.endswith(
        "ledgerviews: public.n cannot be removed: view public.team depends on it; nothing was changed.\n"
        "  Drop it, or have it read something else, before this revision.\n"
    )


BY_HAND = """from alembic import op
revision = "hand"
down_revision = {down!r}
{rest}
"""


def by_hand(shop: Shop, rest: str) -> Path:
    """A revision after the one that is there, whose line 4 is the first of ``rest``; written anew."""
    path = shop.folder / "shop/migrations/versions/hand.py"
    path.unlink(missing_ok=True)
    (at,) = revisions.heads(str(shop.folder / "shop/migrations"))
    path.write_text(BY_HAND.format(down=at, rest=rest), encoding="utf-8")
    return path


def test_a_file_that_cannot_be_loaded_is_told_with_its_line(shop: Shop) -> None:
    """By each command that loads it: file, line, what is wrong and what to do; exit code 2, no traceback."""
    path = by_hand(shop, "x = nosuch")
    done = [
        shop("db", *words.split())
        for words in (
            "upgrade",
            "upgrade --sql",
            "downgrade -1",
            "revision -m x",
            "history",
            "current",
            "check",
        )
    ]
    no_python = []
    for wrong in ("def upgrade(:", "x = '\0'"):
        by_hand(shop, wrong)
        no_python += [shop("db", "upgrade"), shop("db", "history")]

    for one in [*done, *no_python]:
        assert one.returncode == 2, one.stderr
        assert "Traceback" not in one.stderr
        assert "\n  Mend it, " in one.stderr
    for one in done:
        assert f"ledgerviews: {path}, line 4: NameError: name 'nosuch' is not defined.\n" in one.stderr
    for one in no_python[:2]:
        assert f"ledgerviews: {path} is no Python: line 4, invalid syntax.\n" in one.stderr
    for one in no_python[2:]:
        assert f"ledgerviews: {path} is no Python: " in one.stderr


@pytest.mark.parametrize(
    ("statement", "code", "told"),
    [
        ("op.nosuch()", 2, "AttributeError: module 'alembic.op' has no attribute 'nosuch'."),
        ("raise ValueError('no')", 2, "ValueError: no."),
        ("op.execute('SELECT nosuch')", 1, 'column "nosuch" does not exist (SQLSTATE 42703)'),
        (
            "op.get_bind().connection.driver_connection.execute('SELECT nosuch')",
            1,
            'column "nosuch" does not exist (SQLSTATE 42703)',
        ),
    ],
)
def test_a_mistake_in_an_upgrade_is_told_with_its_line(
    shop: Shop, connect: Connect, statement: str, code: int, told: str
) -> None:
    """What its own code raises: file, line and words, and that the database is where it was."""
    (at,) = shop("db", "current").stdout.split()[:1]
    path = by_hand(
        shop, f"def upgrade():\n    op.execute('CREATE TABLE public.made (n integer)')\n    {statement}"
    )

    done = shop("db", "upgrade")

    assert done.returncode == code, done.stderr
    assert f"ledgerviews: {path}, line 6, in upgrade(): {told}\n" in done.stderr
    assert f"  Nothing of its transaction was kept; the database is at {at}. Mend it, then run" in done.stderr
    assert "Traceback" not in done.stderr
    assert connect(shop.url).execute("SELECT to_regclass('public.made')").fetchone() == (None,)


def test_a_time_out_after_other_revisions_says_what_stays(shop: Shop, connect: Connect) -> None:
    """Each revision is a transaction: that of the statement is undone, and where the others led is told."""
    by_hand(shop, "def upgrade():\n    op.execute('CREATE TABLE public.made (n integer)')")
    (at,) = revisions.heads(str(shop.folder / "shop/migrations"))
    late = "op.execute('SET LOCAL statement_timeout = 50')\n    op.execute('SELECT pg_sleep(9)')"
    path = shop.folder / "shop/migrations/versions/late.py"
    text = BY_HAND.format(down=at, rest=f"def upgrade():\n    {late}")
    path.write_text(text.replace('"hand"', '"late"', 1), encoding="utf-8")

    done = shop("db", "upgrade")

    assert done.returncode == 1, done.stderr
    passed = "The statement time-out passed; the transaction was rolled back."
    assert f"ledgerviews: {path}, line 6, in upgrade(): {passed}\n" in done.stderr
    assert f"\n  Nothing of its transaction was kept; the database is at {at}." in done.stderr
    assert connect(shop.url).execute("SELECT to_regclass('public.made')::text").fetchone() == ("made",)


def test_a_mistake_in_a_downgrade_and_a_lacking_function_are_told(shop: Shop) -> None:
    """The way back has lines, too; a function that Alembic looks for has none, and is told by the file."""
    path = by_hand(shop, "def upgrade(): pass\ndef downgrade(): nosuch")

    up = shop("db", "upgrade")
    back = shop("db", "downgrade", "-1")
    path.write_text(path.read_text(encoding="utf-8").replace("downgrade", "backwards"), encoding="utf-8")
    lacking = shop("db", "downgrade", "-1")

    assert up.returncode == 0, up.stderr
    assert (back.returncode, lacking.returncode) == (2, 2)
    assert f"{path}, line 5, in downgrade(): NameError: name 'nosuch' is not defined.\n" in back.stderr
    assert "the database is at hand." in back.stderr
    assert f"ledgerviews: {path} has no downgrade().\n" in lacking.stderr


def test_a_mistake_in_env_py_is_told_and_one_of_ours_is_not_laid_to_it(shop: Shop) -> None:
    """Its own line is told; what it calls of this package, and that fails, keeps its traceback."""
    env = shop.folder / "shop/migrations/env.py"
    text = env.read_text(encoding="utf-8")
    env.write_text(text + "nosuch\n", encoding="utf-8")
    theirs = shop("db", "current")
    env.write_text("import ledgerviews.schema.environment as e\ndel e.closing\n" + text, encoding="utf-8")
    ours = shop("db", "current")

    assert theirs.returncode == 2
    assert f"ledgerviews: {env}, line 3: NameError: name 'nosuch' is not defined.\n" in theirs.stderr
    assert "Traceback" in ours.stderr


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
    assert "c3_by_hand.py, line 9, in upgrade(): cannot drop column id of table orders bec" in dropped.stderr
    assert "view n depends on column id of table orders" in dropped.stderr
    assert "of ours by a revision whose models do without it.\n  Nothing of its transaction" in dropped.stderr
    assert "in upgrade(): cannot alter type of a column used by a view or rule:" in altered.stderr
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


def test_a_mart_that_was_dropped_by_hand_comes_back_by_a_revision(shop: Shop, connect: Connect) -> None:
    """Status and refresh tell the same mend, and it is one: a revision, an upgrade, a refresh."""
    connect(shop.url).execute("DROP MATERIALIZED VIEW public.m")
    mend = "`ledgerviews db revision -m TEXT` writes the revision that creates it again."

    status, refused, shown = shop("status"), shop("refresh"), shop("diff")
    written = shop("db", "revision", "-m", "back")
    mended = [shop("db", "upgrade"), shop("refresh"), shop("status")]

    assert (status.returncode, refused.returncode, shown.returncode) == (4, 2, 4)
    assert mend in status.stderr
    assert mend in refused.stderr
    assert 'CREATE MATERIALIZED VIEW "public"."m"' in shown.stdout
    assert written.returncode == 0, written.stderr
    assert [one.returncode for one in mended] == [0, 0, 0], mended[-1].stderr
