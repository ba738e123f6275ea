"""What a change takes: whole chains in order, locks, estimates, circles by name; without a database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledgerviews.errors import DeclarationError
from ledgerviews.schema.compare import Difference
from ledgerviews.schema.difftext import written
from ledgerviews.schema.live import Column, Live, Registered
from ledgerviews.schema.plan import Relation, Step, compatible, plan
from ledgerviews.schema.printed import Normal

A, B = Column("a", "integer", "-", None), Column("b", "text", "default", None)


def view(kind: str = "view", definition: str = "SELECT 1", **more: Any) -> dict[str, Any]:
    """A spec."""
    return {"kind": kind, "definition": definition, "reads": [], **more}


def changed(
    key: str,
    *,
    kind: str = "view",
    aspects: tuple[str, ...] = ("definition",),
    columns: tuple[Column, ...] = (A,),
    definition: str = "SELECT 1",
    seconds: float | None = None,
) -> Difference:
    """A relation of which something changes, that had one column."""
    there = Registered(kind=kind, definition="", seconds=seconds)
    return Difference(
        key=key,
        what="change",
        before=view(kind),
        after=view(kind, definition),
        aspects=aspects,
        live=Live(kind=kind, columns=(A,), registered=there),
        normal=Normal(printed="x", columns=columns),
    )


def relation(name: str, kind: str, *reads: str, published: bool = True, size: int = 0) -> Relation:
    """A relation in public, with what it reads there."""
    return Relation(
        place=("public", name),
        kind=kind,
        reads=frozenset(f"public.{read}" for read in reads),
        published=published,
        source_bytes=size,
    )


def told(steps: list[Step]) -> list[tuple[str, str]]:
    """Names, without the schema, with what becomes of them."""
    return [(step.name.removeprefix("public."), step.action) for step in steps]


def test_a_view_whose_columns_stay_is_replaced_in_place() -> None:
    """New columns may follow; a changed, missing or moved one has it rebuilt."""
    assert compatible((A,), (A, B))
    assert not compatible((A, B), (B, A))
    assert not compatible((A,), (Column("a", "bigint", "-", None),))
    assert told(plan([changed("v", columns=(A, B))], [relation("v", "view")], schema="public")) == [
        ("v", "replace in place")
    ]
    assert told(plan([changed("v", columns=(B,))], [relation("v", "view")], schema="public")) == [
        ("v", "rebuild and swap")
    ]


def test_a_chain_is_rebuilt_in_the_order_in_which_it_reads() -> None:
    """Materialized views above the change are rebuilt, plain ones pointed at what is new, others' too."""
    steps = plan(
        [changed("m", kind="materialized view")],
        [
            relation("z", "materialized view", "v"),
            relation("v", "view", "m", published=False),
            relation("a", "view", "z"),
            relation("m", "materialized view"),
        ],
        schema="public",
    )

    assert told(steps) == [
        ("m", "rebuild and swap"),
        ("v", "replace in place"),
        ("z", "rebuild and swap"),
        ("a", "replace in place"),
    ]
    assert [step.because for step in steps] == [None, "public.m", "public.v", "public.z"]
    assert not steps[1].ours


def test_what_reads_a_renamed_one_follows_it_by_its_former_name() -> None:
    """Where its definition changes, too; a rename alone moves nothing, and the estimate is of what stands."""
    one = replace(changed("new", kind="materialized view"), what="rename", former="old")
    relations = [relation("old", "materialized view", size=10), relation("v", "view", "old", published=False)]

    rebuilt = plan([one], relations, schema="public")
    renamed = plan([replace(one, aspects=())], relations, schema="public")

    assert told(rebuilt) == [("new", "rebuild and swap"), ("v", "replace in place")]
    assert rebuilt[0].source_bytes == 10
    assert told(renamed) == [("new", "rename")]
    assert written([one], rebuilt, relations, schema="public").splitlines()[:5] == [
        "-- public.new (materialized view, formerly old): rebuild and swap",
        "--   differs in: definition",
        f"--   locks: {rebuilt[0].lock}",
        "--   build: less than a second, guessed from the 0 MB that it reads",
        "--   read by: public.v (view, not ours); replace in place",
    ]


def test_metadata_alone_builds_nothing_and_follows_nothing() -> None:
    """A comment takes a weak lock, an owner a strong one for a moment."""
    above = relation("z", "materialized view", "m")
    base = relation("m", "materialized view")
    comment = plan(
        [changed("m", kind="materialized view", aspects=("comment",))], [base, above], schema="public"
    )
    owner = plan(
        [changed("m", kind="materialized view", aspects=("comment", "owner"))], [base, above], schema="public"
    )

    assert told(comment) == [("m", "metadata only")]
    assert comment[0].lock == "SHARE UPDATE EXCLUSIVE"
    assert owner[0].lock.startswith("ACCESS EXCLUSIVE")
    assert comment[0].estimate is None


@pytest.mark.parametrize("aspect", ["unique key", "indexes"])
def test_an_index_that_is_built_is_not_called_metadata(aspect: str) -> None:
    """It reads all rows and keeps writers out, and still nothing that reads the relation follows."""
    above = relation("z", "materialized view", "m")
    found = plan(
        [changed("m", kind="materialized view", aspects=("comment", aspect))],
        [relation("m", "materialized view"), above],
        schema="public",
    )

    assert told(found) == [("m", "indexes, built in place")]
    assert found[0].lock == "SHARE while an index is built"


def test_a_comment_on_what_is_rebuilt_anyway_goes_with_it() -> None:
    """What only its metadata would change is rebuilt where something that it reads is."""
    steps = plan(
        [
            changed("m", kind="materialized view"),
            changed("z", kind="materialized view", aspects=("comment",)),
        ],
        [relation("m", "materialized view"), relation("z", "materialized view", "m")],
        schema="public",
    )

    assert told(steps) == [("m", "rebuild and swap"), ("z", "rebuild and swap")]


def test_the_estimate_is_the_last_time_or_the_size() -> None:
    """Seconds of the last full refresh, else a guess from what is read."""
    (known,) = plan(
        [changed("m", kind="materialized view", seconds=12.0)],
        [relation("m", "materialized view", size=10**9)],
        schema="public",
    )
    (guessed,) = plan(
        [changed("m", kind="materialized view")],
        [relation("m", "materialized view", size=10**9)],
        schema="public",
    )

    assert known.estimate == 12
    assert guessed.estimate == 20


def test_what_goes_goes_last_and_what_comes_is_made() -> None:
    """Dropped relations follow what is created and changed; renamed ones are renamed."""
    new = Difference(key="n", what="create", after=view())
    old = Difference(key="o", what="drop", before=view())
    moved = Difference(
        key="r", what="rename", former="q", before=view(), after=view(), live=Live(kind="view")
    )

    steps = plan([old, new, moved], [relation("q", "view")], schema="public")

    assert told(steps) == [("n", "create"), ("r", "rename"), ("o", "drop")]


def test_a_definition_that_reads_its_own_reader_is_refused() -> None:
    """The circle goes through a view that is not ours, and each relation in it is named."""
    with pytest.raises(DeclarationError, match=r"public\.m -> public\.f -> public\.e -> public\.m"):
        plan(
            [changed("m", definition="SELECT * FROM public.f")],
            [
                relation("m", "view"),
                relation("e", "view", "m", published=False),
                relation("f", "view", "e", published=False),
            ],
            schema="public",
        )
