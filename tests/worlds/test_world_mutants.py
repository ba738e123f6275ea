"""The worlds find engines that are wrong on purpose; one that they let pass shows that they are blunt."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests import servers as pg
from tests.worlds import session
from tests.worlds.checks import DifferenceError
from tests.worlds.mutants import MUTANTS

if TYPE_CHECKING:
    from tests.mutants import Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_replacement_is_caught(server: pg.PgServer, mutant: Mutant) -> None:
    """A seed that the right engine passes ends with a difference, or with PostgreSQL's refusal."""
    trace: list[str] = []
    prefix = f"lv_{os.environ[pg.RUN]}_{mutant.name}"[:50]

    with pytest.raises((DifferenceError, psycopg.Error, RuntimeError)):
        session.run(server, mutant.seed, trace.append, prefix, mutate=mutant.mutate)

    assert trace
