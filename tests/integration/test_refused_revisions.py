"""What no revision is written for: it would fail at upgrade, or never end equal; each told by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.util import CommandError
from sqlalchemy import MetaData

from ledgerviews.schema import declare
from tests.application import Application, refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[[str], psycopg.Connection]

VIEW, STORED = "view", "materialized view"


@pytest.fixture
def application(tmp_path: Path, empty_url: str) -> Application:
    """An application with one table, which is there already."""
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE public.orders (id integer, customer text, total numeric)")
    tables = {"orders": {"id": "Integer", "customer": "Text", "total": "Numeric"}}
    return Application(tmp_path / "app", empty_url, tables=tables)


def model(sql: str, *columns: str, **more: Any) -> dict[str, Any]:
    """A view as a model declares it."""
    lines = dict.fromkeys(columns, "A column.")
    return {"kind": VIEW, "grain": [], "columns": lines, "sql": sql, **more}


@pytest.mark.parametrize("name", ["public." + "x" * 64, "public." + "ü" * 32, "s" * 64 + ".v"])
def test_a_name_that_postgresql_would_cut_is_refused(application: Application, name: str) -> None:
    """More than 63 bytes, in whatever letters; else no comparison would ever end equal."""
    application.entities[name] = (VIEW, "SELECT 1 AS x")

    told = refused(application)

    assert told.startswith(f"{name}: PostgreSQL cuts a name of more than 63 bytes.")


def test_a_name_of_63_bytes_is_taken(application: Application) -> None:
    """What fits is installed and found again, with its indexes and key."""
    name = "m" * 63
    application.models[name] = model(
        "SELECT o.id FROM public.orders AS o", "id", grain=["id"], indexes=["(id) WHERE id > 1"]
    ) | {"kind": STORED}
    application.entities["public." + "e" * 63] = (VIEW, f"SELECT m.id FROM public.{name} AS m")

    application.change()

    assert application.differs() == []


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT o.id\nFROM public.orders AS o\nWHERE o.nosuch", "column o.nosuch does not exist"),
        ("SELECT o.id\nFROM public.orders AS o\nWHEN", 'syntax error at or near "WHEN"'),
    ],
)
def test_a_definition_that_cannot_be_created_is_told_with_its_line(
    application: Application, sql: str, error: str
) -> None:
    """A new model, a new entity and a changed one: the name, PostgreSQL's words, the line, the place."""
    application.models["v"] = model("SELECT o.id FROM public.orders AS o", "id")
    application.change()
    last = sql.splitlines()[-1]
    application.models["v"] = model("\n" + sql, "id")

    changed = refused(application)
    application.models["v"] = model("SELECT o.id FROM public.orders AS o", "id")
    application.models["w"] = model(sql, "id")
    fresh = refused(application)
    del application.models["w"]
    application.entities["public.e"] = (VIEW, sql)
    entity = refused(application)

    said = f"{error}; nothing was written."
    mark = " " * len("  LINE 3: WHERE ") + "^" if "nosuch" in sql else "^"
    assert changed.startswith(f"v cannot be created: {said}\n  LINE 4: {last}\n")
    assert fresh.startswith(f"w cannot be created: {said}\n  LINE 3: {last}\n")
    assert entity.startswith(f"public.e cannot be created: {said}\n  LINE 3: {last}\n")
    assert f"\n{mark}\n" in fresh if "nosuch" in sql else mark in fresh
    assert changed.endswith("Mend it in v.sql, then write the revision again.")
    assert entity.endswith("Mend it, then write the revision again.")


def test_what_waits_for_the_same_revision_is_not_refused(application: Application) -> None:
    """A view on a new column, a view on that view, and the engine's functions in the first revision."""
    application.tables["orders"]["placed"] = "DateTime"
    application.models["v"] = model("SELECT ledgerviews.utc_day(o.placed) AS d FROM public.orders AS o", "d")
    application.models["w"] = model("SELECT v.d FROM public.v AS v", "d")

    application.change()

    assert application.differs() == []


def test_columns_that_a_new_model_does_not_declare_are_told(application: Application) -> None:
    """Before they are missing as comments at the upgrade."""
    application.models["v"] = model("SELECT o.id, o.total FROM public.orders AS o", "id")

    told = refused(application)

    assert "The SELECT of model v gives total, which its columns do not declare." in told


def test_what_is_still_read_is_not_dropped(application: Application) -> None:
    """A model, an entity by its schema, and one without: both names are said."""
    application.entities = {"public.base": (VIEW, "SELECT o.id FROM public.orders AS o")}
    application.models = {"m": model("SELECT o.id FROM public.orders AS o", "id")}
    application.change()
    application.models["r"] = model("SELECT m.id FROM public.m AS m", "id")
    application.entities["public.s"] = (VIEW, "SELECT id FROM base")
    application.change()
    gone = application.models.pop("m")

    by_model = refused(application)
    application.models["m"] = gone
    del application.entities["public.base"]
    by_entity = refused(application)
    application.entities.pop("public.s")
    application.change()

    assert by_model.startswith("m is declared no longer, and r still reads it; nothing was written.")
    assert "where m has another name now, say so with formerly." in by_model
    assert by_entity.startswith("public.base is declared no longer, and public.s still reads it;")
    assert by_entity.endswith("Declare public.base again, or have public.s do without it.")
    assert application.differs() == []


def test_an_entity_that_no_revision_of_ours_touched_stays(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Taken over as it stands it is not recorded, so leaving the list drops nothing."""
    connect(empty_url).execute("CREATE VIEW public.theirs AS SELECT 1 AS x")
    application.entities = {"public.theirs": (VIEW, "SELECT 1 AS x"), "public.v": (VIEW, "SELECT 2 AS x")}
    application.change()
    application.entities = {}

    assert application.differs() == [("ledgerviews_replace", ("drop", "public.v"))]


def test_the_last_entity_is_dropped(application: Application, connect: Connect, empty_url: str) -> None:
    """An empty list says that there are none; no model of the package's own is looked for."""
    application.entities = {"public.v": (VIEW, "SELECT 1 AS x")}
    application.change()
    application.entities = {}

    found = application.differs()
    application.change()
    gone = connect(empty_url).execute("SELECT to_regclass('public.v')").fetchone()
    application.downgrade()

    assert found == [("ledgerviews_replace", ("drop", "public.v"))]
    assert gone == (None,)
    assert connect(empty_url).execute("SELECT x FROM public.v").fetchone() == (1,)


BY_DAY = "SELECT e.day, count(*) AS orders, sum(e.total) AS total\nFROM public.stg AS e GROUP BY 1"


@pytest.fixture
def by_day(application: Application, empty_url: str) -> Application:
    """The same, with a view, a mart by day on it and a mart on that; all of it stands."""
    with psycopg.connect(empty_url) as connection:
        connection.execute("ALTER TABLE public.orders ADD placed timestamptz, ADD note text")
    application.tables["orders"] |= {"placed": "TIMESTAMP", "note": "Text"}
    application.options["compare_type"] = False
    application.sources["orders"] = {
        "columns": {"id": "integer", "total": "number", "placed": "timestamptz"},
        "day": "placed",
        "day_rows": ["orders.placed >= lo AND orders.placed < hi"],
    }
    application.models = {
        "stg": model(
            "SELECT o.id, ledgerviews.utc_day(o.placed) AS day, o.total FROM public.orders AS o",
            *("id", "day", "total"),
        ),
        "daily": model(BY_DAY, "day", "orders", "total", kind=STORED, grain=["day"], day="day"),
        "kpis": model(
            "SELECT d.day, d.orders AS events, d.total FROM public.daily AS d",
            *("day", "events", "total"),
            kind=STORED,
            grain=["day"],
        ),
    }
    application.change()
    assert application.differs() == []
    return application


def test_a_revision_that_was_wrong_while_there_were_no_rows_is_left_by_going_back(
    by_day: Application, empty_url: str, connect: Connect
) -> None:
    """A downgrade over its repair is done; its figures are not published, and the repair can be had again."""
    connection = connect(empty_url)
    right = by_day.models["daily"]["sql"]
    by_day.models["daily"]["sql"] = right.replace("sum(e.total)", "sum(sum(e.total)) OVER ()")
    by_day.change()
    by_day.models["daily"]["sql"] = right
    by_day.change()
    connection.execute(
        "INSERT INTO public.orders (id, total, placed)"
        " SELECT n, n, now() - n * interval '1 day' FROM generate_series(1, 5) AS n"
    )
    connection.execute("CALL ledgerviews.refresh()")
    published = connection.execute("TABLE public.daily").fetchall()

    by_day.downgrade()
    with pytest.raises(psycopg.errors.DataException, match="is not the same computed by day"):
        connection.execute("CALL ledgerviews.refresh()")
    by_day.upgrade()
    connection.execute("CALL ledgerviews.refresh()")

    assert sorted(row[1:] for row in published) == [(1, n) for n in range(1, 6)]
    assert sorted(connection.execute("TABLE public.daily").fetchall()) == sorted(published)


@pytest.mark.parametrize("name", ["stg", "daily", "kpis"])
def test_columns_that_only_the_declaration_changes_are_told(by_day: Application, name: str) -> None:
    """One removed, one added, one renamed, another order: of a view and of either mart, with what to do."""
    columns = dict(by_day.models[name]["columns"])
    told = []
    for changed in (
        {column: line for column, line in columns.items() if column != "total"},
        columns | {"extra": "More."},
        {column.replace("total", "sum"): line for column, line in columns.items()},
        dict(reversed(columns.items())),
    ):
        by_day.models[name]["columns"] = changed
        told.append(refused(by_day))

    removed, added, renamed, order = told
    assert f"The SELECT of model {name} gives total, which its columns do not declare.\n" in removed
    assert (
        f"Declare each in {name}.py, with a line on what it holds, or take it out of {name}.sql." in removed
    )
    assert f"Model {name} declares extra, which its SELECT does not give.\n" in added
    assert f"Take it out of the columns in {name}.py, or have {name}.sql give it." in added
    assert "declares sum, which its SELECT does not give; that gives total, which its columns do" in renamed
    assert f"in another order than its SELECT gives them: {', '.join(columns)}." in order


def test_a_column_that_is_read_is_not_dropped(by_day: Application) -> None:
    """A column and a table of which the views say nothing: each is told with what reads it; others may go."""
    table = by_day.tables["orders"]
    by_day.tables["orders"] = {name: kind for name, kind in table.items() if name != "total"}
    column = refused(by_day)
    by_day.tables["orders"] = {name: kind for name, kind in table.items() if name != "placed"}
    day = refused(by_day)
    del by_day.tables["orders"]
    whole = refused(by_day)
    by_day.tables["orders"] = {name: kind for name, kind in table.items() if name != "note"}

    unread = by_day.change()

    assert "would drop what is still read; nothing was written:" in column
    assert "\n  public.orders.total: read by single days of daily, stg\n" in column
    assert "  Have the SELECTs do without it, and its source's columns in sources.py," in column
    assert "Rename a column by hand, with op.alter_column(…, new_column_name=…)" in column
    assert (
        "\n  public.orders.placed: read by single days of daily, stg, the tracking of public.orders\n" in day
    )
    assert "\n  public.orders: read by single days of daily, stg, the tracking of public.orders\n" in whole
    assert "op.drop_column('orders', 'note')" in unread
    assert by_day.differs() == []


def test_a_check_speaks_of_no_revision(by_day: Application) -> None:
    """What no revision could be written for is told by `alembic check` as what differs."""
    by_day.models["stg"]["sql"] = by_day.models["stg"]["sql"].replace("o.total", "o.sum")
    by_day._config()
    selected = by_day.alembic("check")
    by_day.models["stg"]["sql"] = by_day.models["stg"]["sql"].replace("o.sum", "o.total")
    del by_day.tables["orders"]["total"]
    by_day._config()
    dropped = by_day.alembic("check")

    assert "stg cannot be created: column o.sum does not exist.\n" in selected.stdout + selected.stderr
    assert "A revision would drop what is still read:\n" in dropped.stdout + dropped.stderr
    for done in (selected, dropped):
        assert done.returncode != 0
        assert "nothing was written" not in done.stdout + done.stderr
        assert "write the revision again" not in done.stdout + done.stderr


def test_a_column_goes_with_what_reads_it(by_day: Application) -> None:
    """In one revision the views are replaced before; what the source still declares is told; back, too."""
    del by_day.tables["orders"]["total"]
    for name in ("stg", "daily", "kpis"):
        del by_day.models[name]["columns"]["total"]
        for part in (", o.total", ", sum(e.total) AS total", ", d.total"):
            by_day.models[name]["sql"] = by_day.models[name]["sql"].replace(part, "")
    by_source = refused(by_day)
    del by_day.sources["orders"]["columns"]["total"]

    text = by_day.change()

    assert "\n  public.orders.total: read by single days of daily\n" in by_source
    assert "its source's columns in sources.py" in by_source
    assert text.index("op.ledgerviews_replace(views_before") < text.index("op.drop_column('orders', 'total')")
    assert by_day.differs() == []
    by_day.downgrade()
    by_day.upgrade()
    assert by_day.differs() == []


def test_a_new_view_on_a_column_that_goes_is_refused(application: Application) -> None:
    """It would be made before the column is dropped, and keep it; an entity, too."""
    application.models["v"] = model("SELECT o.id FROM public.orders AS o", "id")
    application.change()
    del application.tables["orders"]["total"]
    application.models["w"] = model("SELECT o.total FROM public.orders AS o", "total")
    application.entities["public.e"] = (VIEW, "SELECT o.total + 1 AS x FROM public.orders AS o")

    told = refused(application)

    assert "\n  public.orders.total: read by public.e, w\n" in told


def test_views_of_others_are_left_to_them(application: Application, connect: Connect, empty_url: str) -> None:
    """A revision that drops what another's view reads is written: who drops that view by hand may want it."""
    application.models["v"] = model("SELECT o.id FROM public.orders AS o", "id")
    application.change()
    connect(empty_url).execute("CREATE VIEW public.theirs AS SELECT total FROM public.orders")
    del application.tables["orders"]["total"]

    text = application.revision()

    assert "op.drop_column('orders', 'total')" in text


def test_an_unknown_name_in_a_mart_by_day_is_told(by_day: Application) -> None:
    """Misspelt, with the name that is near; of a model that was deleted, with none."""
    by_day.models["daily"]["sql"] = BY_DAY.replace("public.stg", "public.order")
    misspelt = refused(by_day)
    by_day.models["daily"]["sql"] = BY_DAY
    del by_day.models["stg"]
    deleted = refused(by_day)

    said = (
        "Model daily reads public.order, and no model or source has that name; did you mean public.orders?\n"
    )
    assert misspelt.startswith(said)
    assert deleted.startswith("Model daily reads public.stg, and no model or source has that name.\n")
    assert "Mend the name in daily.sql, or declare stg: as a model, or as a source with day_rows;" in deleted


def test_wrong_sql_below_a_mart_by_day_is_told_in_words_of_postgresql(by_day: Application) -> None:
    """The file's line and a mark; where PostgreSQL can read what the parser cannot, that is said."""
    by_day.models["stg"]["sql"] = "\n\n" + by_day.models["stg"]["sql"].replace(" FROM", "\n  oops more\nFROM")
    wrong = refused(by_day)
    by_day.models["daily"]["sql"] = "SELECT 1 AS day WHERE 1 IS JSON SCALAR WITH UNIQUE KEYS OR"
    worse = refused(by_day)

    assert wrong == (
        'The SQL of stg cannot be read: syntax error at or near "more".\n'
        "  LINE 4:   oops more\n"
        "                 ^\n"
        "  Mend it in stg.sql."
    )
    assert worse.endswith("  Mend it in daily.sql.")


def test_a_column_that_its_source_does_not_declare_is_told(by_day: Application) -> None:
    """Single days read no others; the error says where to declare it."""
    del by_day.sources["orders"]["columns"]["total"]

    told = refused(by_day)

    assert "column o.total does not exist (in its SELECT of single days); nothing was written." in told
    assert "Declare it among the columns of its source in sources.py" in told


def test_a_type_that_a_column_has_not_is_told(by_day: Application) -> None:
    """Where nothing else differs, too; where the revision changes tables, it may become what is declared."""
    by_day.sources["orders"]["columns"]["total"] = "uuid"

    told = refused(by_day)
    by_day.tables["others"] = {"id": "Integer"}
    text = by_day.revision()

    assert told == (
        "The columns that sources declare are not those of the application's tables; nothing was written:\n"
        "  public.orders.total is declared as uuid, and is numeric (number).\n"
        "  Mend what Source public.orders declares, or run the application's own migrations first, then write"
        " the revision again."
    )
    assert "op.create_table('others'" in text


def test_a_check_that_cannot_be_run_is_told(by_day: Application) -> None:
    """A new one, and one that a changed SELECT leaves without its column; one may wait for a function."""
    checks = [{"name": "few", "kind": "expression", "expression": "orders < 600"}]
    by_day.models["daily"]["checks"] = [checks[0] | {"expression": "\n  evvents < 600"}]
    by_day.tables["others"] = {"id": "Integer"}
    fresh = refused(by_day)
    by_day.models["daily"]["checks"] = checks
    by_day.change()
    by_day.models["kpis"]["sql"] = by_day.models["kpis"]["sql"].replace("d.orders", "d.made")
    by_day.models["daily"]["sql"] = BY_DAY.replace("AS orders", "AS made")
    by_day.models["daily"]["columns"] = dict.fromkeys(("day", "made", "total"), "A column.")
    lost = refused(by_day)
    by_day.models["daily"]["checks"] = [checks[0] | {"expression": "public.not_yet(made)"}]
    by_day.tables["more"] = {"id": "Integer"}
    waiting = by_day.revision()

    assert fresh == (
        'Check few of daily cannot be run: column "evvents" does not exist; nothing was written.\n'
        "  LINE 2:   evvents < 600\n"
        "            ^\n"
        "  Mend it in daily.py, then write the revision again."
    )
    assert "public.not_yet(made)" in waiting
    assert lost.startswith('Check few of daily cannot be run: column "orders" does not exist; ')


def test_a_circle_of_entities_is_told_with_what_to_do(application: Application) -> None:
    """By their names, and what breaks it."""
    application.entities = {
        "public.a": (VIEW, "SELECT x FROM public.b"),
        "public.b": (VIEW, "SELECT x FROM public.a"),
    }

    told = refused(application)

    assert "The relations read each other in a circle: public." in told
    assert "Have the SELECT of one of them do without the next." in told


def test_models_that_cannot_be_are_a_line_of_alembics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an application's env.py declares is read there: a circle is told without a traceback."""
    folder = tmp_path / "lv_circle"
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="utf-8")
    for name, read in {"a": "b", "b": "a"}.items():
        (folder / f"{name}.sql").write_text(f"SELECT x FROM public.{read}", encoding="utf-8")
        (folder / f"{name}.py").write_text(
            "from ledgerviews.catalog import Kind, Model\nMODEL = Model.beside("
            '__file__, kind=Kind.VIEW, description="A.", grain=(), columns={"x": "X."})\n',
            encoding="utf-8",
        )
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(CommandError) as caught:
        declare(MetaData(), models="lv_circle")

    assert "in a circle: " in str(caught.value)
    assert ".sql without public." in str(caught.value)


def test_a_mistake_in_a_models_file_is_a_line_of_alembics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An env.py that declares models of which one cannot be imported: file, line and Python's words."""
    folder = tmp_path / "lv_mistaken"
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "m.py").write_text("\nopen('/nosuch')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(CommandError) as caught:
        declare(MetaData(), models="lv_mistaken")

    assert str(caught.value).startswith(f"{folder / 'm.py'}, line 2: FileNotFoundError: ")


@pytest.mark.parametrize(("given", "told"), [(None, "None"), ([None], "None"), ([], "[]"), (1, "1")])
def test_metadata_that_is_none_is_a_line_of_alembics(given: Any, told: str) -> None:
    """An env.py as `alembic init` writes it has target_metadata = None: what to write instead is said."""
    with pytest.raises(CommandError) as caught:
        declare(given)

    assert str(caught.value) == (
        f"env.py gives declare() {told}, where a MetaData is expected.\n"
        "  Write target_metadata = sqlalchemy.MetaData() above it, or that of the application's tables"
        " (Base.metadata), and give the same to context.configure."
    )


def test_a_missing_role_is_told_and_the_revision_written(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    """By grants and by owner, once for each role; roles that exist, and everybody, are not asked for."""
    application.models = {
        "v": model(
            "SELECT o.id FROM public.orders AS o",
            "id",
            grants={"lv_nobody": ["SELECT"], "public": ["SELECT"], "pg_read_all_data": ["SELECT"]},
        ),
        "w": model("SELECT o.id FROM public.orders AS o", "id", owner="lv_nobody"),
    }

    text = application.revision()

    (told,) = [one.getMessage() for one in caplog.records if one.name == "alembic.autogenerate.ledgerviews"]
    assert told == (
        "There is no role lv_nobody, which is declared for v, w: the upgrade stops there."
        " Run CREATE ROLE lv_nobody before it, or take it out of what is declared."
    )
    assert "op.ledgerviews_replace(" in text


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("daily", {"fillfactr": "70"}, 'unrecognized parameter "fillfactr" (in its options)'),
        ("kpis", {"fillfactor": "7"}, 'value 7 out of bounds for option "fillfactor" (in its options)'),
        ("stg", {"security_invoke": "true"}, 'unrecognized parameter "security_invoke" (in its options)'),
    ],
)
def test_options_that_cannot_be_set_are_told(
    by_day: Application, name: str, options: dict[str, str], said: str
) -> None:
    """Misspelt or out of bounds, of a view and of either mart: when the revision is written, by name."""
    by_day.models[name]["options"] = options

    told = refused(by_day)

    assert told.startswith(f"{name} cannot be created: {said}; nothing was written.")
    assert f"Mend it in {name}.py, then write the revision again." in told


def test_options_that_can_be_set_are_no_difference_afterwards(by_day: Application) -> None:
    """Those of a view and of either mart are set by the revision, and found again."""
    by_day.models["stg"]["options"] = {"security_invoker": "true", "security_barrier": "true"}
    by_day.models["daily"]["options"] = {"fillfactor": "70", "autovacuum_enabled": "false"}
    by_day.models["kpis"] |= {"options": {"parallel_workers": "1"}, "indexes": ["(total)"]}

    by_day.change()

    assert by_day.differs() == []


def test_a_day_that_is_no_date_is_told(by_day: Application) -> None:
    """The type that it has, and the function that makes a date of it."""
    by_day.models["daily"]["sql"] = BY_DAY.replace("e.day,", "e.day::timestamp AS day,")

    told = refused(by_day)

    assert told.startswith(
        "The day of model daily is its column day, which is of type timestamp without time zone.\n"
    )
    assert (
        "Have daily.sql give a date, as ledgerviews.utc_day(…) does, or declare no day in daily.py." in told
    )
