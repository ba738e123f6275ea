"""When events happen and which models are asked: growth, week, day, and models that come and go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Iterator

_WEEK = (1.00, 1.04, 1.02, 1.05, 1.10, 0.62, 0.48)  # Monday first
_DAY = (2, 1, 1, 1, 1, 2, 5, 9, 13, 14, 14, 13, 15, 14, 13, 12, 12, 13, 14, 13, 12, 9, 6, 4)
_GROWTH = 3.0  # the last day is this many times as busy as the first


class Asked(NamedTuple):
    """A model that answers suggestions for a part of the time.

    Attributes:
        name: as in model_id.
        family: ``heuristic`` or ``model``, as a candidate's source has it.
        born, gone: fractions of the whole time between which it is asked.
        share: its weight while it is fully rolled out.
        hit: how often its first candidate is the right one.
        sizes: cumulative weights of 0, 1, 2 … candidates.
    """

    name: str
    family: str
    born: float
    gone: float
    share: float
    hit: float
    sizes: tuple[float, ...]


_FEW = tuple(accumulate((0.12, 0.50, 0.25, 0.13)))
_MANY = tuple(accumulate((0.02, 0.12, 0.24, 0.30, 0.20, 0.12)))
MODELS = (
    Asked("heuristic@v1", "heuristic", -1.0, 0.55, 5.0, 0.52, _FEW),
    Asked("heuristic@v2", "heuristic", 0.35, 2.0, 4.0, 0.58, _FEW),
    Asked("lgbm@4f9c21e", "model", 0.15, 0.52, 2.5, 0.66, _MANY),
    Asked("lgbm@a07be3d", "model", 0.40, 0.80, 4.5, 0.71, _MANY),
    Asked("lgbm@d51f086", "model", 0.70, 2.0, 6.0, 0.76, _MANY),
)
_ROLLOUT = 0.08  # the fraction of the whole time that a rollout or a retreat takes


class Hour(NamedTuple):
    """An hour's start (UTC), its place in the whole time (0 to 1), and how many events it has."""

    start: datetime
    position: float
    events: int


def hours(rng: random.Random, *, events: int, days: int, until: dt.date) -> Iterator[Hour]:
    """Spread exactly ``events`` events over the ``days`` days that end with ``until``."""
    first = until - timedelta(days=days - 1)
    busy = [
        _WEEK[(first + timedelta(days=day)).weekday()]
        * _GROWTH ** (day / max(days - 1, 1))
        * (0.9 + 0.2 * rng.random())
        for day in range(days)
    ]
    total = sum(busy) * sum(_DAY)
    passed = 0.0
    given = 0
    for day, weight in enumerate(busy):
        midnight = datetime.combine(first + timedelta(days=day), datetime.min.time(), tzinfo=UTC)
        for hour, share in enumerate(_DAY):
            passed += weight * share
            last = day == days - 1 and hour == len(_DAY) - 1
            target = events if last else min(events, round(events * passed / total))
            if target > given:
                yield Hour(midnight + timedelta(hours=hour), (day + hour / 24) / days, target - given)
                given = target


def shares(position: float) -> list[float]:
    """Cumulative weights of MODELS at a place in the whole time."""
    return list(
        accumulate(
            model.share
            * max(0.0, min(1.0, (position - model.born) / _ROLLOUT, (model.gone - position) / _ROLLOUT))
            for model in MODELS
        )
    )
