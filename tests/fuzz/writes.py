"""What an application does to the source tables, one statement or a few at a time."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fuzz import values

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    import psycopg

    from tests.fuzz.worlds import World

_EVENT_COLUMNS = "id, txn_id, model_id, candidates, mode, created_at"
_FEEDBACK_COLUMNS = "id, event_id, txn_id, action, label, created_at"
_EVENTS = f"INSERT INTO public.suggestion_events ({_EVENT_COLUMNS})"
_FEEDBACK = f"INSERT INTO public.suggestion_feedback ({_FEEDBACK_COLUMNS})"


@dataclass(kw_only=True)
class Write:
    """The means of one operation: a connection, its dice, the world and the time that it is there."""

    connection: psycopg.Connection
    rng: random.Random
    world: World
    now: datetime
    told: list[str]

    def run(self, text: str, *parameters: Any) -> None:
        """Execute a statement, and tell what it is."""
        self.told.append(f"{text} {parameters or ''}".strip())
        self.connection.execute(text.encode(), parameters or None)

    def event(self) -> tuple[Any, ...]:
        """A random row."""
        return values.event(self.rng, self.now, self.world)

    def feedback(self) -> tuple[Any, ...]:
        """A random row."""
        return values.feedback(self.rng, self.now, self.world)

    def events(self) -> list[tuple[Any, ...]]:
        """Some rows, whose ids differ."""
        return list({row[0]: row for row in (self.event() for _ in range(self.rng.randint(2, 4)))}.values())

    def answers(self) -> list[tuple[Any, ...]]:
        """Some rows, whose ids differ."""
        return list(
            {row[0]: row for row in (self.feedback() for _ in range(self.rng.randint(2, 5)))}.values()
        )

    def event_time(self) -> str | None:
        """A random time."""
        return values.event_time(self.rng, self.now, self.world)

    def feedback_time(self) -> str | None:
        """A random time."""
        return values.feedback_time(self.rng, self.now, self.world)

    def event_id(self) -> str:
        """A random id."""
        return values.event_id(self.rng)

    def feedback_id(self) -> str:
        """A random id."""
        return values.feedback_id(self.rng)


def _rows(rows: list[tuple[Any, ...]], table: str, columns: str) -> tuple[str, str]:
    """A FROM item of several rows with the table's own types, and its parameter."""
    names = [name.strip() for name in columns.split(",")]
    text = json.dumps([dict(zip(names, row, strict=True)) for row in rows])
    return f"jsonb_populate_recordset(NULL::{table}, %s::jsonb) AS r", text


def insert_event(w: Write) -> None:
    w.run(f"{_EVENTS} VALUES (%s, %s, %s, %s, %s, %s)", *w.event())


def insert_events(w: Write) -> None:
    item, text = _rows(w.events(), "public.suggestion_events", _EVENT_COLUMNS)
    w.run(
        f"{_EVENTS} SELECT r.id, r.txn_id, r.model_id, r.candidates, r.mode, r.created_at FROM {item}", text
    )


def copy_events(w: Write) -> None:
    with w.connection.cursor().copy(
        f"COPY public.suggestion_events ({_EVENT_COLUMNS}) FROM STDIN".encode()
    ) as c:
        for row in w.events():
            c.write_row(row)


def upsert_event(w: Write) -> None:
    if not w.world.unique:
        return insert_event(w)
    changed = w.rng.choice(("created_at = excluded.created_at", "mode = 'model'", "candidates = '[]'"))
    return w.run(
        f"{_EVENTS} VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET {changed}", *w.event()
    )


def merge_events(w: Write) -> None:
    item, text = _rows(w.events(), "public.suggestion_events", _EVENT_COLUMNS)
    w.run(
        f"MERGE INTO public.suggestion_events AS e USING (SELECT * FROM {item}) AS r ON e.id = r.id"
        " WHEN MATCHED AND mod(e.txn_id, 3) = 0 THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET created_at = r.created_at, mode = r.mode"
        f" WHEN NOT MATCHED THEN INSERT ({_EVENT_COLUMNS})"
        " VALUES (r.id, r.txn_id, r.model_id, r.candidates, r.mode, r.created_at)",
        text,
    )


def delete_event(w: Write) -> None:
    w.run("DELETE FROM public.suggestion_events WHERE id = %s", w.event_id())


def delete_event_day(w: Write) -> None:
    w.run(
        "DELETE FROM public.suggestion_events AS e USING public.suggestion_events AS o"
        " WHERE o.id = %s AND ledgerviews.utc_day(e.created_at) = ledgerviews.utc_day(o.created_at)",
        w.event_id(),
    )


def delete_transaction(w: Write) -> None:
    w.run("DELETE FROM public.transactions WHERE id = %s", values.txn_id(w.rng))


def insert_transactions(w: Write) -> None:
    w.run(
        "INSERT INTO public.transactions (id, user_id, date, amount, month)"
        " SELECT i, 1, '2026-01-01', 1, '2026-01' FROM generate_series(1, %s) AS i ON CONFLICT DO NOTHING",
        values.TXNS,
    )


def move_event(w: Write) -> None:
    w.run("UPDATE public.suggestion_events SET created_at = %s WHERE id = %s", w.event_time(), w.event_id())


def move_events_a_day(w: Write) -> None:
    w.run(
        "UPDATE public.suggestion_events SET created_at = created_at + %s * interval '1 day'"
        " WHERE id = ANY (%s::uuid[])",
        w.rng.choice((-1, 1)),
        [w.event_id() for _ in range(3)],
    )


def touch_event(w: Write) -> None:
    changed = w.rng.choice(
        ("candidates = '[1, 2]'", "mode = 'auto'", "model_id = NULL", "txn_id = 1", "id = id")
    )
    w.run(f"UPDATE public.suggestion_events SET {changed} WHERE id = %s", w.event_id())


def rekey_event(w: Write) -> None:
    w.run("UPDATE public.suggestion_events SET id = %s WHERE id = %s", w.event_id(), w.event_id())


def swap_events(w: Write) -> None:
    """Two events change places: each gets the other's id, by way of a third."""
    first, second = w.event_id(), w.event_id()
    spare = "00000000-0000-0000-0000-00000000ffff"
    for old, new in ((first, spare), (second, first), (spare, second)):
        w.run("UPDATE public.suggestion_events SET id = %s WHERE id = %s", new, old)


def delete_and_insert_event(w: Write) -> None:
    row = w.event()
    w.run("DELETE FROM public.suggestion_events WHERE id = %s", row[0])
    w.run(f"{_EVENTS} VALUES (%s, %s, %s, %s, %s, %s)", *row)


def bring_back_event(w: Write) -> None:
    """An event of an id that feedback points at and no event has."""
    row = w.event()
    w.run(
        f"{_EVENTS} SELECT f.event_id, %s, %s, %s, %s, %s FROM public.suggestion_feedback AS f"
        " WHERE f.event_id IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM public.suggestion_events AS e WHERE e.id = f.event_id)"
        " ORDER BY f.id LIMIT 1",
        *row[1:],
    )


def delete_answered_event(w: Write) -> None:
    """An event that feedback points at."""
    w.run(
        "DELETE FROM public.suggestion_events"
        " WHERE id = (SELECT f.event_id FROM public.suggestion_feedback AS f"
        " JOIN public.suggestion_events AS e ON e.id = f.event_id ORDER BY f.id OFFSET %s LIMIT 1)",
        w.rng.randrange(6),
    )


def write_today(w: Write) -> None:
    """An event of this very moment, under an id of its own."""
    row = w.event()
    at = values.zoned(str(w.now.replace(tzinfo=None)), zone=w.world.shape == "hash")
    w.run(
        f"{_EVENTS} SELECT %s, t.id, %s, %s, %s, %s FROM public.transactions AS t ORDER BY t.id LIMIT 1",
        str(uuid.UUID(int=w.rng.getrandbits(128))),
        *row[2:5],
        at,
    )


def flip_an_event(w: Write) -> None:
    """Change what an event of any day counts as."""
    w.run(
        "UPDATE public.suggestion_events SET mode = CASE mode WHEN 'auto' THEN 'model' ELSE 'auto' END"
        " WHERE id = (SELECT id FROM public.suggestion_events ORDER BY id OFFSET %s LIMIT 1)",
        w.rng.randrange(40),
    )


def flip_an_answer(w: Write) -> None:
    """Change what an answer to an event of any day counts as."""
    w.run(
        "UPDATE public.suggestion_feedback SET label = CASE label WHEN 'accept' THEN 'undo' ELSE 'accept' END"
        " WHERE id = (SELECT id FROM public.suggestion_feedback ORDER BY id OFFSET %s LIMIT 1)",
        w.rng.randrange(10),
    )


def insert_feedback(w: Write) -> None:
    w.run(f"{_FEEDBACK} VALUES (%s, %s, %s, %s, %s, %s)", *w.feedback())


def insert_answers(w: Write) -> None:
    item, text = _rows(w.answers(), "public.suggestion_feedback", _FEEDBACK_COLUMNS)
    w.run(f"{_FEEDBACK} SELECT r.id, r.event_id, r.txn_id, r.action, r.label, r.created_at FROM {item}", text)


def copy_feedback(w: Write) -> None:
    target = f"COPY public.suggestion_feedback ({_FEEDBACK_COLUMNS}) FROM STDIN"
    with w.connection.cursor().copy(target.encode()) as copy:
        for row in w.answers():
            copy.write_row(row)


def upsert_feedback(w: Write) -> None:
    w.run(
        f"{_FEEDBACK} VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE"
        " SET event_id = excluded.event_id, action = excluded.action, created_at = excluded.created_at",
        *w.feedback(),
    )


def repoint_feedback(w: Write) -> None:
    target = values.event_target(w.rng, w.world)
    w.run("UPDATE public.suggestion_feedback SET event_id = %s WHERE id = %s", target, w.feedback_id())


def repoint_all_of_an_event(w: Write) -> None:
    w.run(
        "UPDATE public.suggestion_feedback SET event_id = %s WHERE event_id = %s", w.event_id(), w.event_id()
    )


def move_feedback(w: Write) -> None:
    w.run(
        "UPDATE public.suggestion_feedback SET created_at = %s WHERE id = %s",
        w.feedback_time(),
        w.feedback_id(),
    )


def touch_feedback(w: Write) -> None:
    changed = w.rng.choice(("action = 'reject'", "label = 'undo'", "label = 'a'", "event_id = event_id"))
    w.run(f"UPDATE public.suggestion_feedback SET {changed} WHERE id = %s", w.feedback_id())


def delete_feedback(w: Write) -> None:
    w.run("DELETE FROM public.suggestion_feedback WHERE id = %s", w.feedback_id())


def delete_feedback_of_an_event(w: Write) -> None:
    w.run("DELETE FROM public.suggestion_feedback WHERE event_id = %s", w.event_id())


USUAL: tuple[Callable[[Write], None], ...] = (
    insert_event, insert_event, insert_events, copy_events, upsert_event, upsert_event,
    merge_events, delete_event, delete_event, delete_event_day, delete_transaction,
    insert_transactions, insert_transactions, move_event, move_event, move_events_a_day,
    touch_event, rekey_event, rekey_event, swap_events, delete_and_insert_event, bring_back_event,
    bring_back_event, delete_answered_event, insert_feedback, insert_feedback, insert_answers,
    copy_feedback, upsert_feedback, repoint_feedback, repoint_feedback, repoint_all_of_an_event,
    move_feedback, touch_feedback, delete_feedback, delete_feedback, delete_feedback_of_an_event,
)  # fmt: skip
