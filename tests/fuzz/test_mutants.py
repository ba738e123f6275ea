"""The fuzz finds engines that are wrong on purpose; one that it lets pass shows that it is blunt."""

from __future__ import annotations

import os
import random
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests import servers as pg
from tests.fuzz import sessions, worlds
from tests.fuzz.mutants import MUTANTS
from tests.fuzz.refreshes import DifferenceError
from tests.fuzz.seeds import FIXED
from tests.fuzz.test_fuzz import STEPS

if TYPE_CHECKING:
    from tests.mutants import Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_engine_is_caught(server: pg.PgServer, mutant: Mutant) -> None:
    """One of the fixed seeds, which the right engine passes, finds a difference."""
    for seed in (mutant.seed, *(seed for seed in FIXED if seed != mutant.seed)):
        world = worlds.draw(random.Random(seed))
        with server.database(
            f"lv_{os.environ[pg.RUN]}_mutant_{mutant.name}"[:60],
            template=worlds.template(server, world.shape),
        ) as url:
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                mutant.mutate(connection)
            try:
                sessions.run(url, seed, steps=STEPS)
            except DifferenceError:
                return

    pytest.fail(f"{mutant.name} passes: {mutant}")
