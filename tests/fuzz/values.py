"""Random values for the source tables: few ids, so that they meet; days near and far; every odd time."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from tests.fuzz.worlds import World

EVENT_IDS, FEEDBACK_IDS, TXNS, DAYS = 90, 120, 12, 60
_HOT = 10  # ids that are meant more often, so that those who mean them meet
ODD_TIMES = (
    None, "infinity", "-infinity", "0044-03-15 12:00:00 BC", "12025-06-01 00:00:00", "0001-01-01 00:00:00",
    "0001-12-31 23:59:59 BC", "9999-12-31 23:59:59.999999", "10000-01-01 00:00:00",
)  # fmt: skip
_CANDIDATES = (
    "[]", '[{"label": "a", "confidence": 0.5, "source": "model"}]', '[{"source": "heuristic"}, {}]', '"x"',
    '[{"label": "b"}, {"label": "c"}, {"label": "d"}]',
)  # fmt: skip
_MODES = ("auto", "model", "heuristic")
_MODELS = ("heuristic@v1", "lgbm@4f9c21e", None)


def event_id(rng: random.Random) -> str:
    """One of few ids."""
    return str(uuid.UUID(int=rng.randrange(_HOT if rng.random() < 0.35 else EVENT_IDS) + 1))


def feedback_id(rng: random.Random) -> str:
    """One of few ids."""
    return str(uuid.UUID(int=rng.randrange(_HOT if rng.random() < 0.2 else FEEDBACK_IDS) + 1_000_000))


def txn_id(rng: random.Random) -> int:
    """One of few transactions; all exist in the beginning."""
    return rng.randrange(TXNS) + 1


def time(rng: random.Random, now: datetime) -> str | None:
    """A time in UTC, without a zone: often of today or of a day that is over, sometimes none at all."""
    kind = rng.random()
    if kind < 0.07:
        return rng.choice(ODD_TIMES)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if kind < 0.15:
        edge = midnight + timedelta(days=rng.randint(-2, 2))
        return str(edge - rng.choice((timedelta(0), timedelta(microseconds=1))))
    if kind < 0.42:
        day = 0
    elif kind < 0.48:
        day = -1
    elif kind < 0.54:
        day = rng.randint(1, 4)
    else:
        day = -rng.randint(2, DAYS)
    return str(midnight + timedelta(days=day, seconds=rng.randrange(86400)))


def event_target(rng: random.Random, world: World) -> str | None:
    """What feedback points at: mostly an id that may exist, sometimes none."""
    if rng.random() < 0.1 and (world.shape != "older" or not world.linked):
        return None
    return event_id(rng)


def event(rng: random.Random, now: datetime, world: World) -> tuple[Any, ...]:
    """A row of suggestion_events, in the order of its columns but features_hash."""
    mode = None if world.shape == "range" and rng.random() < 0.05 else rng.choice(_MODES)
    at = zoned(time(rng, now), zone=world.shape == "hash")
    return (event_id(rng), txn_id(rng), rng.choice(_MODELS), rng.choice(_CANDIDATES), mode, at)


def feedback(rng: random.Random, now: datetime, world: World) -> tuple[Any, ...]:
    """A row of suggestion_feedback: id, event_id, txn_id, action, label, created_at."""
    action = rng.choice(
        ("accept", "reject") if world.shape == "older" else ("accept", "reject", "undo", "odd")
    )
    label = rng.choice(("a", "accept", "undo", "groceries"))
    at = zoned(time(rng, now), zone=world.shape != "older")
    return (feedback_id(rng), event_target(rng, world), txn_id(rng), action, label, at)


def event_time(rng: random.Random, now: datetime, world: World) -> str | None:
    """A time for suggestion_events.created_at."""
    return zoned(time(rng, now), zone=world.shape == "hash")


def feedback_time(rng: random.Random, now: datetime, world: World) -> str | None:
    """A time for suggestion_feedback.created_at."""
    return zoned(time(rng, now), zone=world.shape != "older")


def zoned(text: str | None, *, zone: bool) -> str | None:
    """The time as a column with a zone takes it, whatever the session's TimeZone."""
    if text is None or not zone or "infinity" in text:
        return text
    return text.replace(" BC", "+00 BC") if text.endswith("BC") else text + "+00"
