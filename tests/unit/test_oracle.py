"""The oracle gives what is worked out by hand; the marts are then held against the oracle."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from tests import oracle
from tests.oracle import Daily, Event, Feedback, FeedbackDaily, Kpis

if TYPE_CHECKING:
    from tests.oracle import type_of_time

DAY = date(2025, 11, 4)
NOON = datetime(2025, 11, 4, 12)  # noqa: DTZ001 (naive times hold UTC)
ONE = '[{"label": "groceries", "confidence": 0.8}]'


def _event(
    number: int = 1,
    *,
    candidates: str = ONE,
    mode: str | None = "auto",
    model_id: str | None = "heuristic@v1",
    created_at: type_of_time = NOON,
) -> Event:
    return {
        "id": uuid.UUID(int=number),
        "txn_id": number,
        "model_id": model_id,
        "features_hash": None,
        "candidates": candidates,
        "mode": mode,
        "created_at": created_at,
    }


def _answer(
    action: str | None, *, to: int | None = 1, label: str | None = "x", created_at: type_of_time = NOON
) -> Feedback:
    event_id = None if to is None else uuid.UUID(int=to)
    return {"event_id": event_id, "action": action, "label": label, "created_at": created_at}


def test_the_reference_events_give_the_stated_figures() -> None:
    """Twelve events with four accepts and four rejects give the figures of the specification."""
    events = [_event(number) for number in range(1, 13)]
    feedback = [_answer("accept" if number <= 4 else "reject", to=number) for number in range(1, 9)]

    assert oracle.kpis(events, feedback) == [
        Kpis(DAY, 12, 0, 0, 1.0, 0.5, 0, 0, 0, 0)._replace(events_auto=12, answered_by_heuristic=12)
    ]
    assert oracle.feedback_daily(events, feedback) == [
        FeedbackDaily(DAY, "auto", "heuristic@v1", 12, 4, 4, 0, 0.5, 0, 0)
    ]
    assert oracle.daily(events) == [Daily(DAY, "auto", "heuristic@v1", 12, 1.0, 12, 12, 12, 0, 0, 12)]


@pytest.mark.parametrize(
    ("text", "count", "confidence", "label"),
    [
        ("[]", 0, None, None),
        ("{}", 0, None, None),
        ("null", 0, None, None),
        ("[null, 1]", 2, None, None),
        ('["groceries"]', 1, None, None),
        ('[{"label": 7, "confidence": "0.5"}]', 1, None, None),
        ('[{"label": "a", "label": "b", "confidence": -0.5}]', 1, -0.5, "b"),
        ('[{"confidence": 1e400}]', 1, None, None),
        ('[{"confidence": 1e-400}]', 1, 0.0, None),
        ('[{"confidence": true, "label": "1"}]', 1, None, "1"),
        (r'[{"label": "a\u0000\ud800"}]', 1, None, "a\ufffd\ufffd"),
        ('[{"label": "a"}, {"confidence": 1}]', 2, None, "a"),
    ],
)
def test_candidates_are_read_for_what_they_hold(
    text: str, count: int, confidence: float | None, label: str | None
) -> None:
    """Elements of an array count; label and confidence are those of a first element that has such."""
    (row,) = oracle.staging([_event(candidates=text)])

    assert (row.candidate_count, row.top_confidence, row.top_label) == (count, confidence, label)


@pytest.mark.parametrize(
    ("source", "model_id", "mode", "answered"),
    [
        ('"model"', "heuristic@v1", "heuristic", "model"),
        ('"heuristic"', "lgbm@1", "model", "heuristic"),
        ('"cache"', "lgbm@1", "auto", "model"),
        ("null", "heuristic", "model", "heuristic"),
        ("1", "heuristics@1", "heuristic", "model"),
        ("1", "@", "heuristic", "model"),
        ("1", "", "model", "model"),
        ("1", None, "model", "model"),
        ("1", None, "auto", "heuristic"),
        ("1", None, None, "heuristic"),
    ],
)
def test_what_answered_is_the_source_then_the_model_then_the_mode(
    source: str, model_id: str | None, mode: str | None, answered: str
) -> None:
    """The first candidate's source decides, else the model_id, else the requested mode."""
    event = _event(candidates=f'[{{"source": {source}}}]', model_id=model_id, mode=mode)

    assert oracle.staging([event])[0].effective_mode == answered


@pytest.mark.parametrize(
    ("time", "day"),
    [
        (None, oracle.SENTINEL_DAY),
        ("infinity", oracle.SENTINEL_DAY),
        ("0044-03-15 12:00:00 BC", oracle.SENTINEL_DAY),
        (NOON, DAY),
        (NOON.replace(tzinfo=timezone(timedelta(hours=14))), date(2025, 11, 3)),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), oracle.SENTINEL_DAY),
    ],
)
def test_a_day_is_a_utc_day(time: type_of_time, day: date) -> None:
    """A time counts on its UTC day, and what is no usable time on the sentinel day."""
    assert oracle.staging([_event(created_at=time)])[0].created_date == day


def test_each_answer_counts_once_under_its_true_action() -> None:
    """A label that is an action wins over the action; all else that is none counts as other."""
    feedback = [
        _answer("reject", label="accept"),
        _answer("reject", label="undo"),
        _answer("reject"),
        _answer("dismiss"),
        _answer(None, label=None),
    ]

    (row,) = oracle.feedback_daily([_event()], feedback)

    assert (row.accepts, row.rejects, row.undos, row.feedback_other) == (1, 1, 1, 2)
    assert row.accept_rate == 0.5


def test_late_is_more_than_a_day_after_the_event() -> None:
    """Exactly 24 hours is not late, a microsecond more is, and an unusable time never is."""
    day = timedelta(days=1)
    times: list[type_of_time] = [NOON + day, NOON + day + timedelta(microseconds=1), "infinity", None]
    feedback = [_answer("accept", created_at=time) for time in times]

    assert oracle.feedback_daily([_event()], feedback)[0].feedback_late == 1
    assert oracle.feedback_daily([_event(created_at=None)], feedback)[0].feedback_late == 0


def test_feedback_without_an_event_stands_on_its_own_day() -> None:
    """Unlinked feedback has its own row and is in no rate of the day."""
    later = NOON + timedelta(days=2)
    feedback = [_answer("accept", to=None, created_at=later), _answer("dismiss", to=99, created_at=later)]
    day = date(2025, 11, 6)

    assert oracle.feedback_daily([], feedback) == [
        FeedbackDaily(day, "(unlinked)", "(unlinked)", 0, 1, 0, 0, 1.0, 0, 1)
    ]
    assert oracle.kpis([], feedback) == [Kpis(day, 0, 0, 0, None, None, 0, 0, 0, 2)]


def test_unknown_keys_are_named_and_empty_ones_stay_empty() -> None:
    """NULL becomes (none) in the marts, an empty string is a key of its own, and staging keeps both."""
    events = [_event(1, mode=None, model_id=None), _event(2, mode="", model_id="")]

    assert [row[1:4] for row in oracle.daily(events)] == [("", "", 1), ("(none)", "(none)", 1)]
    assert [(row.mode, row.model_id) for row in oracle.staging(events)] == [(None, None), ("", "")]
