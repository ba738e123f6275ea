"""The short fuzz: fixed seeds, and two new ones each time, which the header of pytest names."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests import servers as pg
from tests.fuzz import sessions, worlds
from tests.fuzz.refreshes import Tally
from tests.fuzz.seeds import FIXED, random_seeds

if TYPE_CHECKING:
    from collections.abc import Iterator

RANDOM = random_seeds(os.environ.get(pg.RUN, ""))
STEPS = 250


@pytest.fixture(scope="module")
def total() -> Iterator[Tally]:
    """What all seeds together did; printed at the end."""
    tally = Tally()
    yield tally
    print(f"\nfuzz: {tally}")  # noqa: T201 (the count is what a long test is asked for)


@pytest.mark.parametrize("number", range(len(FIXED) + len(RANDOM)))
def test_every_refresh_is_what_the_sources_give(server: pg.PgServer, total: Tally, number: int) -> None:
    """After each refresh every mart holds the rows that the models' own SELECTs give in its snapshot."""
    seed = (*FIXED, *RANDOM)[number]
    world = worlds.draw(random.Random(seed))
    trace: list[str] = []
    with server.database(
        f"lv_{os.environ[pg.RUN]}_fuzz_{number}", template=worlds.template(server, world.shape)
    ) as url:
        try:
            tally = sessions.run(url, seed, steps=STEPS, trace=trace.append)
        except BaseException:
            print(f"seed {seed}: {world}\n" + "\n".join(trace[-80:]))  # noqa: T201 (how to repeat it)
            raise
    total.add(tally)
    print(f"seed {seed}: {world}: {tally}")  # noqa: T201 (shown where a test fails, or with -rP)

    assert tally.comparisons > 0
