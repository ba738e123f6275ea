"""The four published relations worked out in plain Python, from the specification and not from the SQL.

Times are datetimes (naive ones hold UTC), or None, or the text of what no datetime can hold: an infinity, a
year before Christ, a year past 9999. Candidates are the JSON text as the application wrote it. In its strings
a NUL and half a surrogate pair, which the database cannot give back as text, stand as U+FFFD.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

SENTINEL_DAY = date(1, 1, 1)
NONE, UNLINKED = "(none)", "(unlinked)"
_ACTIONS = ("accept", "reject", "undo")
_UNREADABLE = re.compile("[\x00\ud800-\udfff]")

type_of_time = datetime | str | None


class Event(TypedDict):
    """A row of suggestion_events."""

    id: uuid.UUID
    txn_id: int
    model_id: str | None
    features_hash: str | None
    candidates: str | None
    mode: str | None
    created_at: type_of_time


class Feedback(TypedDict):
    """A row of suggestion_feedback, as far as it is read."""

    event_id: uuid.UUID | None
    action: str | None
    label: str | None
    created_at: type_of_time


class Staged(NamedTuple):
    """A row of stg_suggestion_events; ``created_at`` is None where it is no time in the years 1 to 9999."""

    event_id: uuid.UUID
    txn_id: int
    model_id: str | None
    features_hash: str | None
    candidates: str | None
    mode: str | None
    created_at: datetime | None
    created_date: date
    candidate_count: int
    top_confidence: float | None
    top_label: str | None
    effective_mode: str


class Daily(NamedTuple):
    """A row of mart_suggestions_daily."""

    created_date: date
    mode: str
    model_id: str
    events: int
    avg_candidate_count: float
    candidates_total: int
    txns: int
    covered_events: int
    empty_events: int
    answered_by_model: int
    answered_by_heuristic: int


class FeedbackDaily(NamedTuple):
    """A row of mart_suggestions_feedback_daily."""

    created_date: date
    mode: str
    model_id: str
    events: int
    accepts: int
    rejects: int
    undos: int
    accept_rate: float | None
    feedback_late: int
    feedback_other: int


class Kpis(NamedTuple):
    """A row of mart_suggestions_kpis."""

    created_date: date
    events_total: int
    events_model: int
    events_heuristic: int
    avg_candidate_count_overall: float | None
    accept_rate_overall: float | None
    events_auto: int
    answered_by_model: int
    answered_by_heuristic: int
    feedback_unlinked: int


class _Number(str):
    """A JSON number as it was written, told apart from a JSON string."""

    __slots__ = ()


def staging(events: Iterable[Event]) -> list[Staged]:
    """stg_suggestion_events: one row per event."""
    rows = []
    for event in events:
        candidates = _array(event["candidates"])
        top = candidates[0] if candidates and isinstance(candidates[0], dict) else {}
        rows.append(
            Staged(
                event_id=event["id"],
                txn_id=event["txn_id"],
                model_id=event["model_id"],
                features_hash=event["features_hash"],
                candidates=event["candidates"],
                mode=event["mode"],
                created_at=_utc(event["created_at"]),
                created_date=_day(event["created_at"]),
                candidate_count=len(candidates),
                top_confidence=_double(top.get("confidence")),
                top_label=_string(top.get("label")),
                effective_mode=_answered_by(_string(top.get("source")), event["model_id"], event["mode"]),
            )
        )
    return sorted(rows, key=lambda row: row.event_id)


def daily(events: Iterable[Event]) -> list[Daily]:
    """mart_suggestions_daily: events by UTC day, requested mode and model."""
    groups = defaultdict(list)
    for row in staging(events):
        groups[_key(row)].append(row)
    return sorted(
        Daily(
            *key,
            events=len(rows),
            avg_candidate_count=sum(row.candidate_count for row in rows) / len(rows),
            candidates_total=sum(row.candidate_count for row in rows),
            txns=len({row.txn_id for row in rows}),
            covered_events=sum(row.candidate_count > 0 for row in rows),
            empty_events=sum(row.candidate_count == 0 for row in rows),
            answered_by_model=sum(row.effective_mode == "model" for row in rows),
            answered_by_heuristic=sum(row.effective_mode == "heuristic" for row in rows),
        )
        for key, rows in groups.items()
    )


def feedback_daily(events: Iterable[Event], feedback: Iterable[Feedback]) -> list[FeedbackDaily]:
    """mart_suggestions_feedback_daily: feedback by the day, mode and model of its event."""
    known = {row.event_id: row for row in staging(events)}
    asked: dict[tuple[date, str, str], int] = defaultdict(int)
    answers: dict[tuple[date, str, str], list[tuple[str, bool]]] = defaultdict(list)
    for row in known.values():
        asked[_key(row)] += 1
    for answer in feedback:
        event = known.get(answer["event_id"]) if answer["event_id"] is not None else None
        key = _key(event) if event else (_day(answer["created_at"]), UNLINKED, UNLINKED)
        answers[key].append((_action(answer), event is not None and _late(answer, event)))
    return sorted(
        _feedback_row(key, asked.get(key, 0), answers.get(key, [])) for key in asked.keys() | answers.keys()
    )


def kpis(events: Iterable[Event], feedback: Iterable[Feedback]) -> list[Kpis]:
    """mart_suggestions_kpis: one row for each day of either daily mart."""
    events = list(events)
    asked, answered = daily(events), feedback_daily(events, feedback)
    return [
        _kpis_row(
            day,
            [row for row in asked if row.created_date == day],
            [row for row in answered if row.created_date == day],
        )
        for day in sorted({row.created_date for row in asked} | {row.created_date for row in answered})
    ]


def _feedback_row(key: tuple[date, str, str], events: int, answers: list[tuple[str, bool]]) -> FeedbackDaily:
    actions = [action for action, _ in answers]
    accepts, rejects = actions.count("accept"), actions.count("reject")
    return FeedbackDaily(
        *key,
        events=events,
        accepts=accepts,
        rejects=rejects,
        undos=actions.count("undo"),
        accept_rate=_rate(accepts, accepts + rejects),
        feedback_late=sum(late for _, late in answers),
        feedback_other=actions.count("other"),
    )


def _kpis_row(day: date, asked: list[Daily], answered: list[FeedbackDaily]) -> Kpis:
    linked = [row for row in answered if row[1:3] != (UNLINKED, UNLINKED)]
    unlinked = [row for row in answered if row[1:3] == (UNLINKED, UNLINKED)]
    events = sum(row.events for row in asked)
    accepts, rejects = sum(row.accepts for row in linked), sum(row.rejects for row in linked)
    return Kpis(
        created_date=day,
        events_total=events,
        events_model=sum(row.events for row in asked if row.mode == "model"),
        events_heuristic=sum(row.events for row in asked if row.mode == "heuristic"),
        avg_candidate_count_overall=_rate(sum(row.candidates_total for row in asked), events),
        accept_rate_overall=_rate(accepts, accepts + rejects),
        events_auto=sum(row.events for row in asked if row.mode == "auto"),
        answered_by_model=sum(row.answered_by_model for row in asked),
        answered_by_heuristic=sum(row.answered_by_heuristic for row in asked),
        feedback_unlinked=sum(row.accepts + row.rejects + row.undos + row.feedback_other for row in unlinked),
    )


def _key(row: Staged) -> tuple[date, str, str]:
    return (
        row.created_date,
        _key_text(row.mode),
        _key_text(row.model_id),
    )


def _utc(time: type_of_time) -> datetime | None:
    """The time as naive UTC, or None where it is no time in the years 1 to 9999."""
    if not isinstance(time, datetime):
        return None
    if time.tzinfo is None:
        return time
    try:
        return time.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return None


def _day(time: type_of_time) -> date:
    utc = _utc(time)
    return SENTINEL_DAY if utc is None else utc.date()


def _action(answer: Feedback) -> str:
    """The true action: an old migration left it in label."""
    if answer["label"] in _ACTIONS:
        return str(answer["label"])
    return answer["action"] if answer["action"] in _ACTIONS else "other"


def _late(answer: Feedback, event: Staged) -> bool:
    given = _utc(answer["created_at"])
    return (
        given is not None and event.created_at is not None and given - event.created_at > timedelta(hours=24)
    )


def _answered_by(source: str | None, model_id: str | None, mode: str | None) -> str:
    if source in {"model", "heuristic"}:
        return str(source)
    if model_id:
        return "heuristic" if model_id.partition("@")[0] == "heuristic" else "model"
    return "model" if mode == "model" else "heuristic"


def _array(text: str | None) -> list[Any]:
    value = None if text is None else json.loads(text, parse_int=_Number, parse_float=_Number)
    return value if isinstance(value, list) else []


def _string(value: object) -> str | None:
    if not isinstance(value, str) or isinstance(value, _Number):
        return None
    return _UNREADABLE.sub("\ufffd", value)


def _double(value: object) -> float | None:
    if not isinstance(value, _Number):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _rate(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def _key_text(value: str | None) -> str:
    """A text as part of a key: beyond 1,000 bytes its beginning and its MD5, so that an index can hold it."""
    if value is None:
        return NONE
    encoded = value.encode()
    return value if len(encoded) <= 1000 else f"{value[:200]}...{hashlib.md5(encoded).hexdigest()}"
