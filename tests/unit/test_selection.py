"""Which models an expression means: dbt's words, in dependency order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerviews.catalog import Catalog, Kind, Model
from ledgerviews.errors import UsageError
from ledgerviews.refresh.selection import select

if TYPE_CHECKING:
    from pathlib import Path

# raw -> stg -> day -> week -> year; day -> peak -> year; alone
READS = {
    "raw_a": "",
    "stg_a": "raw_a",
    "day": "stg_a",
    "week": "day",
    "peak": "day",
    "year": "week peak",
    "alone": "",
}
ORDER = ["alone", "raw_a", "stg_a", "day", "peak", "week", "year"]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Seven models whose graph has a chain, a diamond and one that stands alone."""
    folder: Path = tmp_path_factory.mktemp("models")
    models = []
    for name, reads in READS.items():
        tables = ", ".join(f"public.{read}" for read in reads.split())
        (folder / f"{name}.sql").write_text(f"SELECT 1 FROM {tables}" if tables else "SELECT 1")
        models.append(
            Model(path=folder / f"{name}.py", kind=Kind.VIEW, description="d", grain=(), columns={})
        )
    return Catalog([], models)


def _upstream(name: str, steps: int) -> set[str]:
    reads = READS[name].split() if steps else []
    return {name}.union(*(_upstream(read, steps - 1) for read in reads))


def _downstream(name: str, steps: int) -> set[str]:
    return {other for other in READS if name in _upstream(other, steps)}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("day", "day"),
        ("+day", "raw_a stg_a day"),
        ("day+", "day peak week year"),
        ("+day+", "raw_a stg_a day peak week year"),
        ("1+day", "stg_a day"),
        ("2+day", "raw_a stg_a day"),
        ("9+day", "raw_a stg_a day"),
        ("day+1", "day peak week"),
        ("1+day+1", "stg_a day peak week"),
        ("0+day", "day"),
        ("day+0", "day"),
        ("+year", "raw_a stg_a day peak week year"),
        ("1+year", "peak week year"),
        ("*_a", "raw_a stg_a"),
        ("???", "day"),
        ("[wy]*", "week year"),
        ("[!wy]e*", "peak"),
        ("*_a+1", "raw_a stg_a day"),
        ("*", "alone raw_a stg_a day peak week year"),
        ("week peak", "peak week"),
        ("  week\tpeak\n", "peak week"),
        ("week week", "week"),
        ("+week,+peak", "raw_a stg_a day"),
        ("day+,*e*", "peak week year"),
        ("+week,+peak alone", "alone raw_a stg_a day"),
        ("year,day year", "year"),
    ],
)
def test_an_expression_means_what_it_means_in_dbt(catalog: Catalog, expression: str, expected: str) -> None:
    """Names, globs, steps up and down, commas that intersect and spaces that unite."""
    assert select(catalog, [expression]) == expected.split()


def test_a_repeated_option_unites(catalog: Catalog) -> None:
    """Two options are one option with a space between, in dependency order whatever theirs is."""
    assert select(catalog, ["year", "alone"]) == select(catalog, ["year alone"]) == ["alone", "year"]


@given(name=st.sampled_from(ORDER), up=st.integers(0, 5), down=st.integers(0, 5))
def test_steps_are_counted_along_the_graph(catalog: Catalog, name: str, up: int, down: int) -> None:
    """``n+name+m`` is the name, what it reads within n steps, and what reads it within m."""
    wanted = _upstream(name, up) | _downstream(name, down)

    assert select(catalog, [f"{up}+{name}+{down}"]) == [known for known in ORDER if known in wanted]


@given(st.lists(st.sampled_from(ORDER), min_size=1))
def test_the_order_of_the_words_is_without_effect(catalog: Catalog, names: list[str]) -> None:
    """The answer is in dependency order, each model once."""
    assert select(catalog, names) == [known for known in ORDER if known in names]


@pytest.mark.parametrize(
    ("expression", "named"),
    [("dya", "'dya'"), ("day weak", "'weak'"), ("day,weak", "'weak'"), ("DAY", "'DAY'"), ("x*", "'x*'")],
)
def test_a_word_that_matches_nothing_is_refused(catalog: Catalog, expression: str, named: str) -> None:
    """A misspelt name is told with the names there are, even beside one that matches."""
    with pytest.raises(UsageError, match="matches no model") as caught:
        select(catalog, [expression])

    assert named in caught.value.message
    assert caught.value.hint == f"The models are: {', '.join(ORDER)}."
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "expression",
    [",", "day,", ",day", "++day", "day++", "+", "@day", "a+b+c", "tag:x", "path/x", "x+day", "é"],
)
def test_what_is_no_expression_is_refused(catalog: Catalog, expression: str) -> None:
    """Words that dbt has and we have not, and slips, are told with the forms there are."""
    with pytest.raises(UsageError, match="is no selection") as caught:
        select(catalog, [expression])

    assert "2+name" in str(caught.value.hint)


@pytest.mark.parametrize("expressions", [[], [""], ["  "], ["day,week"]])
def test_a_selection_of_nothing_is_refused(catalog: Catalog, expressions: list[str]) -> None:
    """An empty intersection is said, not taken for all."""
    with pytest.raises(UsageError, match="No model is selected"):
        select(catalog, expressions)
