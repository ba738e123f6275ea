"""The short run: fixed seeds. `make worlds` draws new ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests import servers as pg
from tests.worlds import session
from tests.worlds.checks import Tally
from tests.worlds.seeds import FIXED as SEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def total() -> Iterator[Tally]:
    """What all seeds together did; printed at the end."""
    tally = Tally()
    yield tally
    print(f"\nworlds: {tally}")  # noqa: T201 (the count is what a long test is asked for)


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_a_changed_world_is_like_a_fresh_one(server: pg.PgServer, total: Tally, number: int) -> None:
    """After an upgrade the schema is that of a fresh installation, and after the downgrade what it was."""
    seed = SEEDS[number]
    trace: list[str] = []
    try:
        tally = session.run(server, seed, trace.append, f"lv_{os.environ[pg.RUN]}_world{number}")
    except BaseException:
        print(f"python -m tests.worlds --seed {seed} --count 1\n" + "\n".join(trace))  # noqa: T201
        raise
    total.add(tally)
    print(f"seed {seed}: {tally}")  # noqa: T201 (shown where a test fails, or with -rP)

    assert tally.replacements == 2
