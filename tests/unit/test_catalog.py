"""What a team declares: read from a package, checked, and put in the order in which it is built."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerviews.catalog import Catalog, Export, Kind, Model, Source, expression, load, not_null, unique
from ledgerviews.errors import DeclarationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ledgerviews.catalog import Severity

DECLARATION = """\
from ledgerviews.catalog import Kind, Model
MODEL = Model.beside(__file__, kind=Kind.VIEW, description="d", grain=("day",), columns={"day": "The day."})
"""
ORDERS = Source(name="orders", columns={"id": "uuid"}, description="One row per order.")


def _model(name: str, sql: str, folder: Path, *, kind: Kind = Kind.VIEW) -> Model:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    return Model.beside(
        str(folder / f"{name}.py"), kind=kind, description="d", grain=("day",), columns={"day": "The day."}
    )


def _catalog(folder: Path, models: Mapping[str, str], *sources: Source) -> Catalog:
    return Catalog(sources, [_model(name, sql, folder) for name, sql in models.items()])


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Mapping[str, str]], str]]:
    """A function that writes another team's package and gives its dotted path; forgotten afterwards."""
    package = f"team_{tmp_path.name.replace('-', '_')}"
    monkeypatch.syspath_prepend(tmp_path)

    def write(files: Mapping[str, str]) -> str:
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return package

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def test_a_team_loads_its_own_package_by_its_dotted_path(team: Callable[[Mapping[str, str]], str]) -> None:
    """Sources and models are found at any depth below the package, each by the name of its file."""
    dotted = team(
        {
            "sources.py": "from ledgerviews.catalog import Source\n"
            "SOURCES = (Source(schema='shop', name='orders', columns={'id': 'uuid'}, description='d'),)\n",
            "staging/__init__.py": "",
            "staging/stg_orders.py": DECLARATION,
            "staging/stg_orders.sql": "SELECT 1 AS day FROM shop.orders;\n",
            "marts/__init__.py": "",
            "marts/daily/__init__.py": "",
            "marts/daily/mart_orders.py": DECLARATION,
            "marts/daily/mart_orders.sql": "SELECT day FROM public.stg_orders;\n",
        }
    )
    catalog = load(dotted)

    assert list(catalog.models) == ["stg_orders", "mart_orders"]
    assert catalog.upstream["mart_orders"] == {"stg_orders"}
    assert catalog["mart_orders"].sql == "SELECT day FROM public.stg_orders"
    assert [source.name for source in catalog.sources_of("stg_orders")] == ["orders"]
    assert catalog.sources_of("mart_orders") == []


def test_the_packaged_models_load() -> None:
    """Every packaged model has all that it reads before it, among the models or the sources."""
    catalog = load("ledgerviews.models")
    order = list(catalog.models)

    assert order
    for name, upstream in catalog.upstream.items():
        assert upstream or catalog.sources_of(name)
        assert all(order.index(read) < order.index(name) for read in upstream)


@pytest.mark.parametrize(
    "dotted", ["no_such_package", "ledgerviews.nothing", "ledgerviews.config.models", "ledgerviews..models"]
)
def test_an_unknown_package_is_a_users_mistake(dotted: str) -> None:
    """A dotted path that leads nowhere says so, and which variable names it."""
    with pytest.raises(UsageError, match="cannot be imported") as caught:
        load(dotted)

    assert repr(dotted) in caught.value.message
    assert "LEDGERVIEWS_MODELS" in str(caught.value.hint)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("dotted", ["", ".models", "models/mine", "./models", "my-models", "models."])
def test_what_is_no_dotted_path_is_a_users_mistake(dotted: str) -> None:
    """A file's path, or a relative one, gets the same answer instead of a traceback."""
    with pytest.raises(UsageError, match="cannot be imported"):
        load(dotted)


@pytest.mark.parametrize("where", ["__init__.py", "sources.py", "deep/__init__.py"])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'."),
        ("from . import missing_part", "ImportError: cannot import name 'missing_part' from "),
        ("from ledgerviews.catalog import Modell", "ImportError: cannot import name 'Modell' from "),
        ("SOURCES = (Sauce(),)", "NameError: name 'Sauce' is not defined."),
        ("PART = 1 / 0", "ZeroDivisionError: division by zero."),
        ("open('/nosuch')", "FileNotFoundError: [Errno 2] No such file or directory: '/nosuch'."),
        ("raise ValueError('one\\ntwo')", "ValueError: one two."),
        ("from ledgerviews.catalog import Source; Source()", "TypeError: "),
        ("def x(:", "invalid syntax."),
    ],
)
def test_a_mistake_in_a_declarations_file_is_told_with_its_line(
    team: Callable[[Mapping[str, str]], str], tmp_path: Path, where: str, line: str, told: str
) -> None:
    """Whatever a file of the package raises: one line with file, line and Python's words, and what to do."""
    dotted = team({where: f"#\n{line}\n"})

    with pytest.raises(DeclarationError) as caught:
        load(dotted)

    first, hint = str(caught.value).split("\n")
    assert first.startswith(f"{tmp_path / dotted / where}, line 2: {told}")
    assert hint == "  Mend it, then run the command again."
    assert caught.value.exit_code == 2


def test_a_mistake_in_what_a_declaration_calls_is_told_with_both_lines(
    team: Callable[[Mapping[str, str]], str], tmp_path: Path
) -> None:
    """The declaration's line, because it is the user's, and the one that raised it."""
    (tmp_path / "lv_helper_of_a_team.py").write_text("#\nnosuch()\n", encoding="utf-8")
    dotted = team({"m.py": "import lv_helper_of_a_team\n"})

    with pytest.raises(DeclarationError) as caught:
        load(dotted)

    raised = tmp_path / "lv_helper_of_a_team.py"
    assert caught.value.message == (
        f"{tmp_path / dotted / 'm.py'}, line 1: NameError: name 'nosuch' is not defined"
        f" (raised in {raised}, line 2)."
    )


def test_a_file_that_is_no_text_is_told(team: Callable[[Mapping[str, str]], str], tmp_path: Path) -> None:
    """A declaration with a NUL, and SQL in another encoding: by name, without a traceback."""
    dotted = team({"m.py": "x = '\0'\n"})
    with pytest.raises(DeclarationError, match=r"(m\.py|\.m cannot be imported).*null bytes") as caught:
        load(dotted)
    path = tmp_path / "latin.sql"
    path.write_bytes(b"SELECT '\xfc'")
    model = Model.beside(str(path), kind=Kind.VIEW, description="d", grain=(), columns={"x": "X."})
    with pytest.raises(DeclarationError) as unread:
        _ = model.sql

    assert "\n  Mend it" in str(caught.value)
    assert unread.value.message == f"{path} cannot be read: it is no UTF-8."


def test_a_package_without_models_is_refused(team: Callable[[Mapping[str, str]], str]) -> None:
    """A dotted path to something else is named, with the variable to mend."""
    dotted = team({"other.py": "MODEL = 'none'\n"})

    with pytest.raises(DeclarationError, match=f"{dotted} declares no model") as caught:
        load(dotted)
    assert "LEDGERVIEWS_MODELS" in str(caught.value.hint)


def test_a_declaration_without_its_sql_is_refused(team: Callable[[Mapping[str, str]], str]) -> None:
    """The file that is missing is named."""
    dotted = team({"mart_orders.py": DECLARATION})

    with pytest.raises(DeclarationError, match=r"Model mart_orders has no mart_orders\.sql"):
        load(dotted)


@pytest.mark.parametrize(
    "beside", [{}, {"marts/__init__.py": ""}, {"marts/lost.py": DECLARATION}], ids=["none", "init", "py"]
)
def test_sql_that_would_never_be_installed_is_refused(
    team: Callable[[Mapping[str, str]], str], beside: Mapping[str, str]
) -> None:
    """A .sql file that no loaded declaration owns is named, with the two files that it may lack."""
    dotted = team({"kept.py": DECLARATION, "kept.sql": "SELECT 1", "marts/lost.sql": "SELECT 1;", **beside})

    with pytest.raises(DeclarationError, match=r"marts/lost\.sql belongs to no model") as caught:
        load(dotted)
    assert "lost.py" in str(caught.value.hint)
    assert "__init__.py" in str(caught.value.hint)


def test_the_demonstrations_own_sql_belongs_to_no_model(team: Callable[[Mapping[str, str]], str]) -> None:
    """What stands in the folder that DEMO names is neither imported nor taken for a model."""
    dotted = team({"kept.py": DECLARATION, "kept.sql": "SELECT 1 AS day"})
    team(
        {
            "__init__.py": f"DEMO = '{dotted}.demo'\n",
            "demo/__init__.py": "raise RuntimeError\n",
            "demo/tables.sql": "SELECT 1;",
        }
    )

    assert list(load(dotted).models) == ["kept"]


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    """Two files of one name in two folders are one relation, so the name is refused."""
    models = [_model("daily", "SELECT 1", tmp_path / folder) for folder in ("a", "b")]

    with pytest.raises(DeclarationError, match="Two models are named daily"):
        Catalog([], models)


def test_a_model_named_as_a_source_is_refused(tmp_path: Path) -> None:
    """A model cannot take the name of a table that the application owns."""
    with pytest.raises(DeclarationError, match="Model orders has the name of a source"):
        _catalog(tmp_path, {"orders": "SELECT 1"}, ORDERS)


def test_a_source_may_have_a_models_name_in_another_schema(tmp_path: Path) -> None:
    """Only the schema that models are written in is theirs."""
    other = Source(schema="shop", name="orders", columns={}, description="d")
    catalog = _catalog(tmp_path, {"orders": "SELECT * FROM shop.orders"}, other)

    assert catalog.sources_of("orders") == [other]
    assert catalog.upstream["orders"] == frozenset()


def test_one_source_declared_twice_in_the_same_words_is_one(tmp_path: Path) -> None:
    """A package may hand the same source on from more than one module."""
    assert list(_catalog(tmp_path, {}, ORDERS, ORDERS).sources) == [("public", "orders")]


def test_two_declarations_of_a_source_that_differ_are_refused(tmp_path: Path) -> None:
    """Neither of two lists of columns is dropped silently."""
    other = Source(name="orders", columns={"total": "number"}, description="One row per order.")

    with pytest.raises(DeclarationError, match=r"Source public\.orders is declared twice, differently"):
        _catalog(tmp_path, {}, ORDERS, other)


def test_a_grain_of_unknown_columns_is_refused(tmp_path: Path) -> None:
    """Each column of the grain that is not declared is named, and no other."""
    with pytest.raises(DeclarationError, match="Model daily: grain names week, shop, no column of it"):
        Model.beside(
            str(tmp_path / "daily.py"),
            kind=Kind.VIEW,
            description="d",
            grain=("day", "week", "shop"),
            columns={"day": "The day."},
        )


def test_a_materialized_view_without_a_grain_is_refused(tmp_path: Path) -> None:
    """Without a grain there is no unique key to refresh by, and the declaration says so."""
    with pytest.raises(DeclarationError, match="Materialized view daily declares no grain"):
        Model.beside(
            str(tmp_path / "daily.py"),
            kind=Kind.MATERIALIZED_VIEW,
            description="d",
            grain=(),
            columns={"day": "The day."},
        )


MODEL = {
    "kind": Kind.MATERIALIZED_VIEW,
    "description": "d",
    "grain": ("day",),
    "columns": {"day": "The day."},
}
GRANTS = 'Write grants={"…": ["SELECT"]}: each role\'s name, and its privileges in a list.'
LISTED = "Name some of DELETE, INSERT, MAINTAIN, SELECT, UPDATE in a list."
CONDITION = "Write a condition over the model's columns, as orders >= 0, or leave the check out."


@pytest.mark.parametrize(
    ("fields", "told", "hint"),
    [
        (
            {"kind": "matview", "indexes": ("(day)",)},
            "Model daily: its kind is 'matview'.",
            "Write kind=Kind.VIEW or kind=Kind.MATERIALIZED_VIEW, with Kind of ledgerviews.catalog.",
        ),
        (
            {"grain": "day"},
            "Model daily: its grain is a string, where a tuple of strings is expected.",
            "Write grain=(…,), with a comma after the string.",
        ),
        (
            {"indexes": "(day)"},
            "Model daily: its indexes are a string, where a tuple of strings is expected.",
            "Write indexes=(…,), with a comma after the string.",
        ),
        (
            {"checks": not_null("day")},
            "Model daily: its checks are a Check, where a tuple of Checks is expected.",
            "Write checks=(…,), with a comma after the Check.",
        ),
        (
            {"checks": ("n > 0",)},
            "Model daily: its checks hold 'n > 0', which is no Check.",
            "Write checks=(…,), a tuple of Checks.",
        ),
        (
            {"columns": ("day",)},
            "Model daily: its columns are a tuple, where a dict is expected.",
            'Write columns={"…": "…"}: each column\'s name, and a line on what it holds.',
        ),
        (
            {"formerly": ("x",)},
            "Model daily: its formerly is a tuple, where a string is expected.",
            'Write formerly="…", or leave it out.',
        ),
        (
            {"formerly": ""},
            "Model daily: its formerly is empty.",
            'Write formerly="…", or leave it out.',
        ),
        (
            {"formerly": "public.x"},
            "Model daily: its formerly is public.x, where a name without schema is expected.",
            'Write formerly="x": it stands in the schema of the models, too.',
        ),
        (
            {"owner": ["postgres"]},
            "Model daily: its owner is a list, where a string is expected.",
            'Write owner="…", or leave it out.',
        ),
        (
            {"day": ["day"]},
            "Model daily: its day is a list, where a string is expected.",
            'Write day="…", or leave it out.',
        ),
        (
            {"description": None},
            "Model daily: its description is None, where a string is expected.",
            'Write description="…".',
        ),
        (
            {"description": " "},
            "Model daily: its description is empty.",
            'Write description="…".',
        ),
        (
            {"export": {"partition": "day"}},
            "Model daily: its export is a dict, where an Export is expected.",
            "Write export=Export(…), or leave it out.",
        ),
        (
            {"columns": {"day": None}},
            "Model daily: its columns hold None for day, which is no string.",
            'Write columns={"…": "…"}: each column\'s name, and a line on what it holds.',
        ),
        (
            {"columns": {"day": ""}},
            "Model daily: its columns hold '' for day, which is empty.",
            'Write columns={"…": "…"}: each column\'s name, and a line on what it holds.',
        ),
        (
            {"options": ["fillfactor=70"]},
            "Model daily: its options are a list, where a dict is expected.",
            'Write options={"…": "…"}: each option\'s name, and its value.',
        ),
        (
            {"grants": ["analysts"]},
            "Model daily: its grants are a list, where a dict is expected.",
            GRANTS,
        ),
        (
            {"grants": "analysts"},
            "Model daily: its grants are a string, where a dict is expected.",
            GRANTS,
        ),
        (
            {"grants": {("a", "b"): ["SELECT"]}},
            "Model daily: its grants hold the name ('a', 'b'), which is no string.",
            GRANTS,
        ),
        (
            {"grants": {"analysts": "SELECT"}},
            "Model daily: 'SELECT' are no privileges for analysts.",
            LISTED,
        ),
        (
            {"grants": {"analysts": 1}},
            "Model daily: 1 are no privileges for analysts.",
            LISTED,
        ),
        (
            {"grants": {"analysts": [["SELECT"]]}},
            "Model daily: [['SELECT']] are no privileges for analysts.",
            LISTED,
        ),
        (
            {"checks": (not_null(cast("str", ("day", "status"))),)},
            "Model daily: its check not_null names ('day', 'status'), which is no string.",
            'Write not_null("…", "…"), with the name of each column by itself.',
        ),
        (
            {"checks": (unique(cast("str", ["day", "status"])),)},
            "Model daily: its check unique names ['day', 'status'], which is no string.",
            'Write unique("…", "…"), with the name of each column by itself.',
        ),
        (
            {"checks": (expression("", "x > 0"),)},
            "Model daily, one of its checks: its name is empty.",
            'Write name="…".',
        ),
        (
            {"checks": (expression(cast("str", None), "x > 0"),)},
            "Model daily, one of its checks: its name is None, where a string is expected.",
            'Write name="…".',
        ),
        (
            {"checks": (expression("few", cast("str", None)),)},
            "Model daily: its check few has no expression.",
            CONDITION,
        ),
        (
            {"checks": (expression("few", cast("str", 1)),)},
            "Model daily, its check few: its expression is an int, where a string is expected.",
            'Write expression="…".',
        ),
        (
            {"checks": (not_null("day", severity=cast("Severity", "fatal")),)},
            "Model daily: its check not_null_day has the severity 'fatal'.",
            "Write severity=Severity.ERROR or severity=Severity.WARN.",
        ),
        ({"grain": ("dya",)}, "Model daily: grain names dya, no column of it; did you mean day?", ""),
        (
            {"grain": ("shop", "week"), "columns": {"day": "D.", "shop": "S.", "week": "W."}, "day": "day"},
            "Model daily: its day column day is no part of its grain, which is shop, week.",
            "Name it in the grain, too, or have day name the one of the grain that holds the day.",
        ),
        (
            {"grain": ("dya",), "day": "day"},
            "Model daily: grain names dya, no column of it; did you mean day?",
            "",
        ),
    ],
)
def test_what_a_model_cannot_be_declared_with_is_told(
    tmp_path: Path, fields: dict[str, Any], told: str, hint: str
) -> None:
    """What has another type, is empty, unknown or misspelt: its declaration and field, and what to write."""
    with pytest.raises(DeclarationError) as caught:
        Model.beside(str(tmp_path / "daily.py"), **(MODEL | fields))

    assert (caught.value.message, caught.value.hint or "") == (told, hint)


TIMES = "The day is told by a column of type date, timestamp, timestamptz: name one, or leave day out."
TYPES = 'Write columns={"…": "…"}: each column\'s name, and the types that it may have.'
COMMA = 'Write the columns of an index with one comma between them, as "a,b".'
TIMED = {"id": "integer", "at": "timestamptz", "amount": "number", "odd": "timestamp | text"}


@pytest.mark.parametrize(
    ("fields", "told", "hint"),
    [
        (
            {"day_rows": "ledgerviews.in_days(refunds.at, lo, hi)"},
            "Source public.refunds: its day_rows are a string, where a tuple of strings is expected.",
            "Write day_rows=(…,), with a comma after the string.",
        ),
        (
            {"indexes": "at"},
            "Source public.refunds: its indexes are a string, where a tuple of strings is expected.",
            "Write indexes=(…,), with a comma after the string.",
        ),
        (
            {"columns": {"at"}},
            "Source public.refunds: its columns are a set, where a dict is expected.",
            'Write columns={"…": "…"}: each column\'s name, and the types that it may have.',
        ),
        (
            {"parent": ("public", "orders"), "key": "id"},
            "Source public.refunds: its parent is a tuple, where a string is expected.",
            'Write parent="…", or leave it out.',
        ),
        (
            {"day": ["at"]},
            "Source public.refunds: its day is a list, where a string is expected.",
            'Write day="…", or leave it out.',
        ),
        (
            {"day": ""},
            "Source public.refunds: its day is empty.",
            'Write day="…", or leave it out.',
        ),
        (
            {"key": ["id"]},
            "Source public.refunds: its key is a list, where a string is expected.",
            'Write key="…", or leave it out.',
        ),
        (
            {"description": None},
            "Source public.refunds: its description is None, where a string is expected.",
            'Write description="…".',
        ),
        (
            {"columns": {"method": None}},
            "Source public.refunds: its columns hold None for method, which is no string.",
            TYPES,
        ),
        (
            {"columns": {"method": ("text", "enum")}},
            "Source public.refunds: its columns hold ('text', 'enum') for method, which is no string.",
            TYPES,
        ),
        (
            {"columns": {None: "text"}},
            "Source public.refunds: its columns hold the name None, which is no string.",
            TYPES,
        ),
        (
            {"indexes": ("at,,id",)},
            "Source public.refunds: its indexes hold 'at,,id', in which a column's name is empty.",
            COMMA,
        ),
        (
            {"indexes": ("at", "")},
            "Source public.refunds: its indexes hold '', in which a column's name is empty.",
            COMMA,
        ),
        (
            {"day": "amount"},
            "Source public.refunds: its day column amount is declared as number.",
            TIMES,
        ),
        (
            {"day": "odd"},
            "Source public.refunds: its day column odd is declared as timestamp or text.",
            TIMES,
        ),
        ({"day": "att"}, "Source public.refunds: it does not declare its column att; did you mean at?", ""),
        (
            {"indexes": ("at", "att, amount")},
            "Source public.refunds: its indexes name att, which it does not declare; did you mean at?",
            "",
        ),
        (
            {"key": "id", "parent": "orders"},
            "Source public.refunds: its parent orders is no source; did you mean public.orders?",
            "",
        ),
        (
            {"key": "id", "parent": "public.order"},
            "Source public.refunds: its parent public.order is no source; did you mean public.orders?",
            "",
        ),
        (
            {"key": "id", "parent": "public.xyz"},
            "Source public.refunds: its parent public.xyz is no source.",
            "",
        ),
    ],
)
def test_what_a_source_cannot_be_declared_with_is_told(fields: dict[str, Any], told: str, hint: str) -> None:
    """What has another type, is empty, no time or misspelt: what is wrong, and what to write."""
    with pytest.raises(DeclarationError) as caught:
        Catalog([Source(**({"name": "refunds", "columns": TIMED, "description": "R."} | fields)), ORDERS], [])

    assert (caught.value.message, caught.value.hint or "") == (told, hint)


def test_blanks_in_a_sources_indexes_are_left_out() -> None:
    """Whoever writes a blank after the comma means the column, not a name with a blank before it."""
    source = Source(
        name="refunds", columns=TIMED, description="R.", indexes=cast("Any", [" at , id ", "amount"])
    )

    assert Catalog([source], []).sources["public", "refunds"].indexes == ("at,id", "amount")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"partition": ("day",)}, "An export: its partition is a tuple, where a string is expected."),
        ({"numeric": ("total",)}, "An export: its numeric is a tuple, where a dict is expected."),
        ({"policy": "null"}, "An export: its policy is a string, where a dict is expected."),
    ],
)
def test_what_an_export_cannot_be_declared_with_is_told(fields: dict[str, Any], told: str) -> None:
    """What has another type than its field: which, and what is expected."""
    with pytest.raises(DeclarationError) as caught:
        Export(**fields)

    assert caught.value.message == told


def test_sources_that_are_no_tuple_are_refused(team: Callable[[Mapping[str, str]], str]) -> None:
    """One source without its comma is told by the module that declares it."""
    one = "Source(name='orders', columns={'id': 'uuid'}, description='d')"
    dotted = team({"sources.py": f"from ledgerviews.catalog import Source\nSOURCES = ({one})\n"})

    with pytest.raises(DeclarationError) as caught:
        load(dotted)

    assert str(caught.value) == (
        f"Module {dotted}.sources: its SOURCES are a Source, where a tuple of Sources is expected.\n"
        "  Write SOURCES=(…,), with a comma after the Source."
    )


@pytest.mark.parametrize(("name", "fits"), [("m" * 63, True), ("m" * 64, False), ("é" * 32, False)])
def test_a_name_that_postgresql_would_cut_is_refused(tmp_path: Path, name: str, *, fits: bool) -> None:
    """A name of more than 63 bytes, whatever its letters, is refused before anything is installed."""
    if fits:
        assert list(_catalog(tmp_path, {name: "SELECT 1"}).models) == [name]
        return

    with pytest.raises(DeclarationError, match=f"Model {name}: PostgreSQL cuts a name of more than 63 bytes"):
        _catalog(tmp_path, {name: "SELECT 1"})


def test_a_circle_is_refused_by_the_names_in_it(tmp_path: Path) -> None:
    """The models of the circle are named in the order in which one reads the next; no other is."""
    models = {
        "apple": "SELECT * FROM public.cherry",
        "bread": "SELECT * FROM public.apple, public.base",
        "cherry": "SELECT * FROM public.bread",
        "base": "SELECT 1",
        "late": "SELECT * FROM public.cherry",
    }

    with pytest.raises(DeclarationError) as caught:
        _catalog(tmp_path, models)

    text = caught.value.message
    path = text.removeprefix("The models read each other in a circle: ").removesuffix(".").split(" -> ")
    reads = {"apple": "cherry", "bread": "apple", "cherry": "bread"}
    assert path[0] == path[-1]
    assert set(path) == set(reads)
    assert all(reads[reader] == read for reader, read in pairwise(path))
    assert caught.value.exit_code == 2
    assert (
        caught.value.hint
        == f"Have one of them do without the next, as {path[0]}.sql without public.{path[1]}."
    )


def test_a_model_that_reads_itself_is_refused(tmp_path: Path) -> None:
    """The shortest circle is one model."""
    with pytest.raises(DeclarationError, match="in a circle: daily -> daily"):
        _catalog(tmp_path, {"daily": "SELECT * FROM public.daily"})


@given(st.permutations(["base", "c", "b", "a", "top", "zero"]))
def test_the_order_is_the_same_whatever_the_files_order(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    """What is read comes first, ties are alphabetical, whatever the order of the declarations."""
    sql = {
        "base": "SELECT 1",
        "zero": "SELECT 1",
        "a": "SELECT * FROM public.zero",
        "b": "SELECT * FROM public.base",
        "c": "SELECT * FROM public.base",
        "top": "SELECT * FROM public.c, public.a",
    }
    catalog = _catalog(tmp_path_factory.mktemp("models"), {name: sql[name] for name in names})

    assert list(catalog.models) == ["base", "zero", "a", "b", "c", "top"]


def test_order_and_circle_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Python's hash seed decides neither the order of the models nor how a circle is told."""
    _model("a", reads := "SELECT * FROM public.b, public.c, public.d", tmp_path / "good")
    _model("a", reads, tmp_path / "bad")
    for name in "bcd":
        _model(name, "SELECT 1", tmp_path / "good")
        _model(name, f"SELECT * FROM public.{name}", tmp_path / "bad")
    program = """
import sys
from pathlib import Path
from ledgerviews.catalog import Catalog, Kind, Model
for folder in ("good", "bad"):
    paths = sorted(Path(sys.argv[1], folder).glob("*.sql"))
    try:
        print(list(Catalog([], [
            Model(path=path, kind=Kind.VIEW, description="d", grain=(), columns={}) for path in paths
        ]).models))
    except Exception as exc:
        print(exc.message)
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for seed in range(6)
    }

    assert printed == {"['b', 'c', 'd', 'a']\nThe models read each other in a circle: b -> b.\n"}


def test_only_public_names_of_models_are_dependencies(tmp_path: Path) -> None:
    """Columns, strings, comments and other schemas with a model's name are no dependency."""
    models = {
        "day": "SELECT 1",
        "week": "SELECT d.day, 'public.day', shop.day FROM other.day AS d -- public.day\n",
        "month": "SELECT * FROM PUBLIC . DAY",
    }
    catalog = _catalog(tmp_path, models)

    assert catalog.upstream == {"day": frozenset(), "week": frozenset(), "month": {"day"}}


def test_an_unknown_model_is_answered_with_those_there_are(tmp_path: Path) -> None:
    """A wrong name lists the right ones, in order."""
    with pytest.raises(UsageError, match="There is no model 'weekly'") as caught:
        _catalog(tmp_path, {"b": "SELECT 1", "a": "SELECT * FROM public.b"})["weekly"]

    assert caught.value.hint == "The models are: b, a."


def test_a_materialized_view_is_unique_in_its_grain_and_a_view_has_no_index(tmp_path: Path) -> None:
    """The unique key that REFRESH CONCURRENTLY needs is the grain; a view can have none."""
    assert _model("m", "SELECT 1", tmp_path, kind=Kind.MATERIALIZED_VIEW).unique_key == ("day",)
    assert _model("v", "SELECT 1", tmp_path).unique_key == ()
