"""What differs, judged by texts, by what PostgreSQL prints, and by what surrounds a relation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledgerviews.errors import DeclarationError, DriftError
from ledgerviews.schema.compare import Difference, differences, in_question, unknown
from ledgerviews.schema.keys import declared_index
from ledgerviews.schema.live import Column, Index, Live, Registered, State
from ledgerviews.schema.printed import Normal, plain

SPEC: dict[str, Any] = {
    "kind": "materialized view",
    "definition": "SELECT 1 AS a",
    "unique_key": ["a"],
    "comment": "One.",
    "columns": {"a": "The one."},
    "reads": [],
}
COLUMN = Column("a", "integer", "-", "The one.")
KEY = Index(name="m_key", definition="USING btree (a)", columns=("a",), unique=True, plain=True, valid=True)
REGISTERED = Registered(
    kind="materialized view", definition="SELECT 1 AS a", unique_key=["a"], printed=" SELECT 1 AS a;"
)
LIVE = Live(
    kind="materialized view",
    printed=" SELECT 1 AS a;",
    columns=(COLUMN,),
    gives=("a",),
    comment="One.",
    indexes=(KEY,),
    owner="me",
    registered=REGISTERED,
)


def state(live: Live | None = LIVE, *, may: bool = True, **others: Live) -> State:
    """What stands: a relation m in public, and others."""
    relations = {("public", name): one for name, one in others.items()}
    if live is not None:
        relations["public", "m"] = live
    return State(engine=3, relations=relations, sources={}, untracked={}, may_create=may)


def found(
    spec: dict[str, Any] | None, there: State, normals: dict[str, Normal] | None = None
) -> list[Difference]:
    """What differs where a relation m is declared, or nothing is."""
    specs = {} if spec is None else {"m": spec}
    return differences(specs, there, normals or {}, schema="public", ours=lambda _place, _there: True)


def aspects(spec: dict[str, Any], live: Live, normal: Normal | None = None) -> tuple[str, ...]:
    """In what it differs."""
    told = found(spec, state(live), {"m": normal} if normal else {})
    return told[0].aspects if told else ()


def test_what_was_installed_and_still_stands_needs_nothing() -> None:
    """The same text over the same print is the same: nothing is created to find out."""
    assert in_question({"m": SPEC}, state(), schema="public") == {}
    assert found(SPEC, state()) == []


def test_other_texts_and_other_prints_are_in_question() -> None:
    """A text that changed, a print that changed and an unknown one go to PostgreSQL."""
    changed = SPEC | {"definition": "SELECT 1 AS  a"}
    by_hand = replace(LIVE, printed=" SELECT 2 AS a;")
    old = replace(LIVE, registered=replace(REGISTERED, printed=None))

    assert list(in_question({"m": changed}, state(), schema="public")) == ["m"]
    assert list(in_question({"m": SPEC}, state(by_hand), schema="public")) == ["m"]
    assert list(in_question({"m": SPEC}, state(old), schema="public")) == ["m"]


def test_what_reads_something_in_question_is_in_question() -> None:
    """Of SELECT * the columns depend on what is read; new relations alone ask nothing of the server."""
    reader = SPEC | {"reads": ["m"], "definition": "SELECT * FROM public.m"}
    there = state(r=replace(LIVE, registered=replace(REGISTERED, definition=reader["definition"])))
    changed = SPEC | {"definition": "SELECT 2 AS a"}

    assert list(in_question({"m": changed, "r": reader}, there, schema="public")) == ["m", "r"]
    assert in_question({"m": SPEC, "r": reader}, there, schema="public") == {}


def test_new_ones_are_in_question() -> None:
    """They are printed, too, so that one that cannot be created is told before a revision holds it."""
    specs = {"new": SPEC, "newer": SPEC | {"reads": ["new"]}}

    assert in_question(specs, state(), schema="public") == specs


def test_a_definition_that_only_reads_otherwise_is_the_same() -> None:
    """What PostgreSQL prints alike does not differ; what it prints otherwise does."""
    spec = SPEC | {"definition": "SELECT 1  AS a"}
    same = Normal(printed=" SELECT 1 AS a;", columns=(COLUMN,))
    other = Normal(printed=" SELECT 2 AS a;", columns=(COLUMN,))

    assert aspects(spec, LIVE, same) == ()
    assert aspects(spec, LIVE, other) == ("definition",)
    assert aspects(spec, LIVE, Normal(error="there is no x")) == ("definition",)
    assert aspects(SPEC, LIVE, other) == ("reads",)


@pytest.mark.parametrize(
    ("live", "told"),
    [
        (replace(LIVE, comment="Two."), "comment"),
        (replace(LIVE, columns=(Column("a", "integer", "-", None),)), "columns"),
        (replace(LIVE, indexes=()), "unique key"),
        (replace(LIVE, indexes=(replace(KEY, valid=False),)), "unique key"),
        (replace(LIVE, registered=replace(REGISTERED, unique_key=["b"])), "unique key"),
        (replace(LIVE, registered=replace(REGISTERED, checks=[{"name": "n"}])), "checks"),
        (replace(LIVE, registered=None), "registration"),
        (replace(LIVE, missing=("m_rollup",)), "rollup"),
    ],
)
def test_what_surrounds_a_definition_is_compared(live: Live, told: str) -> None:
    """Comments, key, checks, the registry's entry and the rollup's parts."""
    assert told in aspects(SPEC, live, Normal(printed=LIVE.printed, columns=(COLUMN,)))


def test_only_declared_grants_options_and_owners_count() -> None:
    """Others are left alone; one that is declared no longer is taken back."""
    live = replace(LIVE, grants={"r": ["SELECT"], "dba": ["SELECT"]}, options={"fillfactor": "90"})
    before = replace(REGISTERED, declared={"grants": {"r": ["SELECT"]}, "options": {"fillfactor": "90"}})

    assert aspects(SPEC, live) == ()
    assert aspects(SPEC | {"grants": {"r": ["SELECT"]}, "owner": "me"}, live) == ()
    assert aspects(SPEC | {"grants": {"r": ["INSERT", "SELECT"]}}, live) == ("grants",)
    assert aspects(SPEC | {"grants": {"new": ["SELECT"]}}, live) == ("grants",)
    assert aspects(SPEC | {"owner": "you"}, live) == ("owner",)
    assert aspects(SPEC | {"options": {"fillfactor": "80"}}, live) == ("options",)
    assert aspects(SPEC, replace(live, registered=before)) == ("options", "grants")


def test_booleans_of_options_have_many_names() -> None:
    """PostgreSQL keeps an option as it was written."""
    live = replace(LIVE, options={"security_invoker": "on"})

    assert aspects(SPEC | {"options": {"security_invoker": "true"}}, live) == ()


def test_declared_indexes_are_found_by_name_or_by_what_they_are() -> None:
    """A dropped one differs, one of the same words stands, one that nobody declared is left alone."""
    text = "(a)  WHERE a > 0"
    spec = SPEC | {"indexes": [text]}
    index = replace(KEY, name="other", definition="USING btree (a) WHERE (a > 0)", unique=False)
    normal = Normal(printed=LIVE.printed, columns=(COLUMN,), indexes=(index.definition,))
    known = replace(
        LIVE,
        registered=replace(REGISTERED, declared={"indexes": [text]}),
        indexes=(KEY, replace(index, name=declared_index("m", text))),
    )

    assert aspects(spec, LIVE, replace(normal, indexes=("USING btree (a) WHERE (a > 0)",))) == ("indexes",)
    assert aspects(spec, replace(LIVE, indexes=(KEY, index)), normal) == ()
    assert aspects(spec, known) == ()
    assert aspects(SPEC, replace(LIVE, indexes=(KEY, index))) == ()
    assert aspects(SPEC, known) == ("indexes",)


def test_the_former_spec_has_the_texts_as_they_were_written() -> None:
    """The downgrade installs what the registry kept, or, of what was changed by hand, what is printed."""
    spec = SPEC | {"definition": "SELECT 2 AS a"}
    other = Normal(printed=" SELECT 2 AS a;", columns=(COLUMN,))
    (plain_change,) = found(spec, state(), {"m": other})
    (by_hand,) = found(spec, state(replace(LIVE, printed=" SELECT 3 AS a;")), {"m": other})

    assert plain_change.before == SPEC
    assert by_hand.before is not None
    assert by_hand.before["definition"] == "SELECT 3 AS a"


def test_a_new_one_is_created_and_a_forgotten_one_dropped() -> None:
    """One that somebody dropped by hand is created again; readers are dropped first."""
    reader = replace(
        LIVE, registered=replace(REGISTERED, definition="SELECT * FROM public.m", printed=LIVE.printed)
    )

    assert [one.what for one in found(SPEC, state(None))] == ["create"]
    assert [one.what for one in found(SPEC, state(Live(kind=None, registered=REGISTERED)))] == ["create"]
    assert [(one.what, one.key) for one in found(None, state(r=reader))] == [("drop", "r"), ("drop", "m")]
    assert found(None, state(replace(LIVE, registered=None))) == []


def test_a_rename_keeps_both_names_on_both_sides() -> None:
    """As long as the former one stands and the new one does not."""
    there = State(engine=3, relations={("public", "old"): LIVE}, sources={}, untracked={}, may_create=True)
    (one,) = differences(
        {"m": SPEC | {"renamed_from": "old"}}, there, {}, schema="public", ours=lambda _p, _t: True
    )

    assert (one.what, one.key, one.former) == ("rename", "m", "old")
    assert one.after is not None
    assert one.before is not None
    assert (one.after["renamed_from"], one.before["renamed_from"]) == ("old", "m")
    assert found(SPEC | {"renamed_from": "old"}, state()) == []


def test_a_table_of_the_same_name_stops_everything() -> None:
    """Nothing of ours replaces a table."""
    with pytest.raises(DriftError, match=r"public\.m is a table"):
        found(SPEC, state(Live(kind="table")))


def test_declared_columns_are_those_of_the_select() -> None:
    """A column that is declared and not given, or given and not declared, is told by name."""
    spec = SPEC | {"definition": "SELECT 1 AS b"}

    with pytest.raises(DeclarationError, match="declares a, which its SELECT does not give"):
        found(spec, state(), {"m": Normal(printed="x", columns=(Column("b", "integer", "-", None),))})
    with pytest.raises(DeclarationError, match="gives b"):
        found(spec, state(), {"m": Normal(printed="x", columns=(COLUMN, Column("b", "integer", "-", None)))})


def test_where_nothing_can_be_created_texts_decide() -> None:
    """A changed text or print differs; where nobody knows the print, the text counts, and that is said."""
    never_known = replace(LIVE, registered=replace(REGISTERED, printed=None))
    changed = SPEC | {"definition": "SELECT 1 AS  a"}

    assert [one.aspects for one in found(changed, state(may=False))] == [("definition",)]
    assert found(SPEC, state(never_known, may=False)) == []
    assert unknown({"m": SPEC}, state(never_known, may=False), schema="public") == ["m"]
    assert unknown({"m": SPEC}, state(may=False), schema="public") == []


def test_aliases_that_repeat_a_name_are_no_difference() -> None:
    """FROM s.t AS t is FROM s.t; another alias, and a list of columns, are something else."""
    assert plain('FROM public.t t\n JOIN "S"."T" "T" ON true') == 'FROM public.t\n JOIN "S"."T" ON true'
    assert plain("FROM public.t t(a)") == "FROM public.t t(a)"
    assert plain("FROM public.t tt, public.a b") == "FROM public.t tt, public.a b"


def test_literals_are_compared_as_they_are() -> None:
    """Only an alias that repeats its relation's name is no difference; in a literal it is one."""
    printed = """SELECT 'see public.x x'::text, "a.b b" FROM public.x x JOIN public.y z ON true"""

    assert (
        plain(printed) == """SELECT 'see public.x x'::text, "a.b b" FROM public.x JOIN public.y z ON true"""
    )
