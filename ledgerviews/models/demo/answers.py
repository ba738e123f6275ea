"""What users answer to a suggestion, minutes to weeks later, and what old migrations made of it."""

# ruff: noqa: PLR2004 (the shares that make the history are what this module is about)
from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from .candidates import CATEGORIES, Suggested

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from .tables import Shape

_DELAYS = ((0.62, 25 * 60), (0.86, 5 * 3600), (0.96, 2 * 86_400), (1.0, 16 * 86_400))
"""Cumulative shares of answers and their mean delays in seconds."""

_LONGEST = 42 * 86_400.0
_OLD = 0.15  # the part of the whole time whose rows went through the application's old migrations


class Asking(NamedTuple):
    """The event that is answered: ids, the right category, and when (UTC, and 0 to 1 in the whole time)."""

    event: str
    txn: int
    user: int
    category: str
    position: float
    at: datetime


class _Given(NamedTuple):
    action: str
    label: str
    at: datetime


class Answers:
    """Makes feedback rows as COPY text."""

    def __init__(self, *, rng: random.Random, new_id: Callable[[], str], shape: Shape, end: datetime) -> None:
        """Leave out what ``shape`` cannot hold and what would be given after ``end``."""
        self._rng = rng
        self._new_id = new_id
        self._shape = shape
        self._end = end

    def to(self, asked: Asking, said: Suggested) -> list[str]:
        """The feedback on one event, none or one row or a few."""
        random = self._rng.random
        old = asked.position < _OLD and random() < 0.3
        # The event of a few answers is gone; the application sets event_id to NULL then.
        gone = random() < 0.006
        linked = r"\N" if gone else asked.event
        placeholder = "0" if asked.position < _OLD and random() < 0.4 else str(asked.txn)
        lines = []
        for given in self._given(said, asked.category, asked.at):
            action, label = given.action, given.label
            if old:
                action, label = "reject", action if action in {"accept", "reject", "undo"} else label
            identity, reason = self._new_id(), r"\N" if random() < 0.9 else "not this merchant"
            confidence = said.confidence if random() < 0.85 else r"\N"
            fits = self._shape.any_action or action in {"accept", "reject"}
            if given.at < self._end and fits and (self._shape.unlinked or not gone):
                lines.append(
                    f"{identity}\t{linked}\t{placeholder}\t{action}\t{label}\t{confidence}\t{reason}\t{asked.user}\t"
                    f"{given.at:%Y-%m-%d %H:%M:%S.%f}+00\n"
                )
        return lines

    def _given(self, said: Suggested, category: str, at: datetime) -> list[_Given]:
        random = self._rng.random
        when = at + timedelta(seconds=self._delay())
        if random() < 0.002:
            return [_Given("dismiss", said.label or category, when)]
        if said.label == category or (not said.label and random() < 0.3):
            given = [_Given("accept", category, when)]
        elif random() < 0.12:
            given = [_Given("accept", said.label or category, when)]
        else:
            given = [_Given("reject", said.label or category, when)]
        if random() < 0.06:
            when += timedelta(seconds=self._delay())
            given.append(_Given("undo", given[0].label, when))
            if random() < 0.7:
                again = "reject" if given[0].action == "accept" else "accept"
                other = CATEGORIES[int(random() * len(CATEGORIES))]
                given.append(_Given(again, other, when + timedelta(seconds=5 + 60 * random())))
        return given

    def _delay(self) -> float:
        share = self._rng.random()
        mean = next(mean for upto, mean in _DELAYS if share < upto)
        return min(3.0 + self._rng.expovariate(1 / mean), _LONGEST)
