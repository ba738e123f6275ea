"""Random histories of suggestions and feedback, with every odd value that the field has or could have."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.oracle import Event, Feedback, type_of_time

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, kw_only=True)
class History:
    """Rows of both tables."""

    events: list[Event]
    feedback: list[Feedback]


SESSION_ZONES = ("UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Kiritimati")

_MIDNIGHT = datetime(2025, 3, 9)  # noqa: DTZ001 (naive times hold UTC; the day of a change of clocks in Los Angeles)
_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_STEPS = (
    timedelta(0), _TICK, timedelta(minutes=5), timedelta(hours=9), timedelta(hours=23, minutes=59),
    _DAY - _TICK, _DAY, _DAY + _TICK, _DAY * 3, _DAY * 40,
)  # fmt: skip
_UNUSABLE = (
    None,
    "infinity",
    "-infinity",
    "0044-03-15 12:00:00 BC",
    "12025-06-01 00:00:00",
    "0001-12-31 23:59 BC",
)

_MODES = ("heuristic", "model", "auto", "", None, "Auto", "(none)", "mod\u00e8le", "m" * 5000)
_MODEL_IDS = (
    "heuristic@v1", "heuristic@v2", "lgbm@4f9c21e", None, "", "heuristic", "heuristic@", "@heuristic",
    "heuristics@v1", "Heuristic@v1", " heuristic@v1", "lgbm", "lgbm@a@b", "heuristic@lgbm@1", "(none)",
    "a" * 1000, "a" * 1001, "\u20ac" * 333, "\u20ac" * 334, "\u20ac" * 20_000,
)  # fmt: skip
_LABELS = ("groceries", "accept", "reject", "undo", "Accept", " undo", "", None)
_ACTIONS = {
    "current": ("accept", "reject", "undo", "dismiss", "ACCEPT", "", None),
    "older": ("accept", "reject", None),
}

_NUMBERS = (
    "0", "-0", "0.5", "1", "0.8731", "-0.25", "1e400", "-1e400", "1E-400", "1.7976931348623157e308",
    "1.8e308", "-1.8e308", "5e-324", "1e-5000", "0.1000000000000000055511151231257827", "1.5e+3",
    "9007199254740993", "1" + "0" * 400, "0." + "0" * 1200 + "1",
)  # fmt: skip
_NUMBERS_RAW = (
    *_NUMBERS, "1e200000", "-1e200000", "1e-20000", "2.5E-99999", "1" + "0" * 5000, "0." + "0" * 17000 + "1",
)  # fmt: skip
_STRINGS = (
    "groceries", "", "model", "heuristic", "caf\u00e9", r"caf\u00e9", r"\"", r"\\", r"\\u0000", r"\\ud800",
    "0.8", "1e400", r"\ud83c\udf81", "\U0001f381", r"line\nbreak", "Model", "[{", "null",
)  # fmt: skip
_STRINGS_RAW = (
    *_STRINGS, r"\u0000", r"gro\u0000ceries", r"\ud800", r"\uD83C gift", r"gift\udf81", r"\udf81\ud83c",
    r"\ud83c\ud83c\udf81", r"\ud83c\udf81\udf81", r"\\\u0000",
)  # fmt: skip
_KEYS = ("label", "confidence", "source", "reasons", "Label", "other")


def histories(form: str) -> st.SearchStrategy[History]:
    """Histories that the tables of a form can hold once their constraints are lifted."""
    return st.builds(_numbered, st.lists(_event(form), max_size=14), st.lists(_answer(form), max_size=18))


def awkward_json() -> History:
    """Each number and string that jsonb refuses, alone and beside the others, in candidates of type json."""
    texts = [f'[{{"label": "a", "confidence": {number}, "source": "model"}}]' for number in _NUMBERS_RAW]
    texts += [f'[{{"label": "{string}", "confidence": 0.5, "source": "model"}}]' for string in _STRINGS_RAW]
    texts += [f'[{{"label": "{string}", "confidence": 1e200000}}]' for string in _STRINGS_RAW]
    texts.append("[" + ", ".join((*_NUMBERS_RAW, *(f'"{string}"' for string in _STRINGS_RAW))) + "]")
    events = [
        Event(
            id=uuid.UUID(int=number),
            txn_id=number,
            model_id="heuristic@v1",
            features_hash=None,
            candidates=text,
            mode="auto",
            created_at=_MIDNIGHT,
        )
        for number, text in enumerate(texts)
    ]
    return History(events=events, feedback=[])


def insert(connection: psycopg.Connection, history: History) -> None:
    """Replace all suggestions and feedback by a history's."""
    zoned = _is_zoned(connection)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE public.suggestion_feedback, public.suggestion_events")
        cursor.executemany(
            "INSERT INTO public.suggestion_events "
            "(id, txn_id, model_id, features_hash, candidates, mode, created_at) "
            "VALUES (%(id)s, %(txn_id)s, %(model_id)s, %(features_hash)s, %(candidates)s, %(mode)s, %(at)s)",
            [{**event, "at": _text(event["created_at"], zoned=False)} for event in history.events],
        )
        cursor.executemany(
            "INSERT INTO public.suggestion_feedback (id, event_id, txn_id, action, label, created_at) "
            "VALUES (gen_random_uuid(), %(event_id)s, 0, %(action)s, %(label)s, %(at)s)",
            [{**answer, "at": _text(answer["created_at"], zoned=zoned)} for answer in history.feedback],
        )


def _is_zoned(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "SELECT atttypid = 'timestamptz'::regtype FROM pg_attribute "
        "WHERE attrelid = 'public.suggestion_feedback'::regclass AND attname = 'created_at'"
    ).fetchone()
    return row is not None and bool(row[0])


def _text(time: type_of_time, *, zoned: bool) -> str | None:
    """The time as the column's text, which means UTC whatever the session's TimeZone."""
    text = time.isoformat(" ") if isinstance(time, datetime) else time
    if text is None or not zoned or "infinity" in text:
        return text
    return text.replace(" BC", "+00 BC") if text.endswith("BC") else text + "+00"


def _numbered(
    events: list[Event], feedback: list[tuple[int, timedelta | type_of_time, str | None, str | None]]
) -> History:
    """Point each answer at an event, at none or at one that does not exist; a step counts from the event."""
    for number, event in enumerate(events):
        event["id"] = uuid.UUID(int=number + 1)
    answers: list[Feedback] = []
    for target, when, action, label in feedback:
        about = events[target] if 0 <= target < len(events) else None
        asked = about["created_at"] if about is not None else None
        start = asked if isinstance(asked, datetime) else _MIDNIGHT
        answers.append(
            {
                "event_id": about["id"] if about is not None else (None if target < 0 else uuid.UUID(int=99)),
                "action": action,
                "label": label,
                "created_at": _after(start, when) if isinstance(when, timedelta) else when,
            }
        )
    return History(events=events, feedback=answers)


def _after(start: datetime, step: timedelta) -> datetime:
    return datetime.max if start > datetime.max - step else start + step  # noqa: DTZ901 (naive times hold UTC)


def _event(form: str) -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        id=st.just(uuid.UUID(int=0)),
        txn_id=st.integers(0, 4),
        model_id=st.sampled_from(_MODEL_IDS),
        features_hash=st.sampled_from((None, "a1b2")),
        candidates=_candidates(form),
        mode=st.sampled_from(_MODES),
        created_at=_times(),
    )


def _answer(
    form: str,
) -> st.SearchStrategy[tuple[int, timedelta | type_of_time, str | None, str | None]]:
    return st.tuples(
        st.integers(-2, 15),
        st.one_of(st.sampled_from(_STEPS), _times()),
        st.sampled_from(_ACTIONS[form]),
        st.sampled_from(_LABELS),
    )


def _times() -> st.SearchStrategy[type_of_time]:
    near = st.builds(
        lambda days, step: _MIDNIGHT + days * _DAY + step, st.integers(-1, 2), st.sampled_from(_STEPS[:6])
    )
    edges = st.sampled_from((datetime.min, datetime.max, datetime.max - _DAY))  # noqa: DTZ901 (naive is UTC)
    return st.one_of(near, near, near, edges, st.sampled_from(_UNUSABLE))


def _candidates(form: str) -> st.SearchStrategy[str]:
    """JSON text: mostly arrays of objects, sometimes anything; of a key that stands twice the last counts."""
    raw = form == "older"
    numbers = st.sampled_from(_NUMBERS_RAW if raw else _NUMBERS)
    strings = st.sampled_from(_STRINGS_RAW if raw else _STRINGS).map('"{}"'.format)
    scalars = st.one_of(numbers, strings, st.sampled_from(("null", "true", "false", "[]", "{}", "[1]")))
    likely = {
        "label": st.one_of(strings, strings, scalars),
        "confidence": st.one_of(numbers, numbers, scalars),
        "source": st.one_of(st.sampled_from(('"model"', '"heuristic"')), scalars),
    }
    pairs = st.sampled_from(_KEYS).flatmap(lambda key: likely.get(key, scalars).map(f'"{key}": {{}}'.format))
    objects = st.lists(pairs, max_size=5).map(lambda found: "{" + ", ".join(found) + "}")
    arrays = st.lists(st.one_of(objects, objects, objects, scalars), max_size=5).map(
        lambda found: "[" + ", ".join(found) + "]"
    )
    return st.one_of(arrays, arrays, arrays, scalars, objects)


def lift_constraints(connection: psycopg.Connection) -> None:
    """Let in what the field has where a constraint is missing: NULLs, and ids of rows that do not exist."""
    connection.execute(
        "ALTER TABLE public.suggestion_events "
        "DROP CONSTRAINT IF EXISTS suggestion_events_txn_id_fkey, ALTER mode DROP NOT NULL"
    )
    connection.execute(
        "ALTER TABLE public.suggestion_feedback "
        "DROP CONSTRAINT IF EXISTS suggestion_feedback_event_id_fkey, ALTER event_id DROP NOT NULL, "
        "ALTER action DROP NOT NULL, ALTER label DROP NOT NULL"
    )
