"""Scenes: short plays in which writers do, in the order that matters, what chance alone seldom brings about.

Each is played with random rows, and with random steps of the other writers in between.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.fuzz import values
from tests.fuzz.oddities import truncate_and_write, truncate_feedback, write_as_replica_for_sure, write_unseen
from tests.fuzz.worlds import EVENTS, FEEDBACK
from tests.fuzz.writes import (
    Write,
    bring_back_event,
    delete_answered_event,
    flip_an_answer,
    flip_an_event,
    move_event,
    move_feedback,
    write_today,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.sessions import Session
    from tests.fuzz.writers import Writer


def _two(session: Session) -> tuple[Writer, Writer]:
    first, second = session.rng.sample(session.writers, 2)
    for writer in (first, second):
        writer.end()
        writer.begin("READ COMMITTED")
    return first, second


def a_writer_over_midnight(session: Session) -> None:
    """Write to today, run on over midnight and a refresh, and commit."""
    late, other = _two(session)
    late.apply(session.rng.choice((write_today, write_today, flip_an_event)), session.now)
    other.end()
    session.wander()
    session.move_clock(session.rng.choice((5, 24, 30)))
    session.wander()
    session.refresh()
    session.wander()
    late.commit()
    session.refresh()


def a_late_commit_to_a_day_that_is_logged(session: Session) -> None:
    """One writes and commits; another writes to the same day before a refresh, and commits after it."""
    first, second = _two(session)
    session.refresh()
    row = values.event(session.rng, session.now, session.world)
    for writer in (first, second):
        writer.apply(_event_of(row, str(uuid.UUID(int=session.rng.getrandbits(128)))), session.now)
        if writer is first:
            writer.commit()
    session.refresh()
    second.commit()
    session.refresh()


def an_event_that_moves_under_its_feedback(session: Session) -> None:
    """Feedback is written while its event's new day is not committed yet."""
    mover, answerer = _two(session)
    target = session.rng.choice(session.event_ids() or [values.event_id(session.rng)])
    mover.apply(_to(move_event, target), session.now)
    answerer.apply(_answer_to(target), session.now)
    mover.commit()
    session.refresh()
    answerer.commit()
    session.refresh()


def an_event_that_moves(session: Session) -> None:
    """An event and an answer change their days; no other write hides what is forgotten."""
    mover, _ = _two(session)
    session.refresh()
    mover.apply(
        _to(move_event, session.rng.choice(session.event_ids() or [values.event_id(session.rng)])),
        session.now,
    )
    mover.apply(move_feedback, session.now)
    mover.commit()
    session.refresh()


def feedback_whose_event_goes_and_comes(session: Session) -> None:
    """An event goes and, one refresh later, comes again, on another day."""
    first, second = _two(session)
    first.apply(delete_answered_event, session.now)
    first.commit()
    session.refresh()
    second.apply(bring_back_event, session.now)
    second.commit()
    session.refresh()


def writes_that_no_trigger_sees(session: Session) -> None:
    """Triggers off, a write, triggers on as they were; or a write as a replica."""
    writer, _ = _two(session)
    session.quiet()
    session.refresh()
    writer.begin("READ COMMITTED")
    writer.apply(session.rng.choice((write_unseen, write_as_replica_for_sure)), session.now)
    writer.commit()
    session.refresh()


def a_truncated_table(session: Session) -> None:
    """TRUNCATE, alone or with rows after it."""
    session.quiet()
    session.refresh()
    writer = session.rng.choice(session.writers)
    writer.begin("READ COMMITTED")
    writer.apply(session.rng.choice((truncate_feedback, truncate_and_write)), session.now)
    writer.commit()
    session.refresh()


def a_log_that_is_given_up(session: Session) -> None:
    """Writes, the triggers taken off, and whatever the first scan makes of it."""
    session.quiet()
    session.refresh()
    writer = session.rng.choice(session.writers)
    for operation in (flip_an_event, flip_an_answer, delete_answered_event):
        writer.apply(operation, session.now)
    writer.apply(_untrack(session.rng.choice((EVENTS, FEEDBACK))), session.now)
    session.refresh()
    writer.apply(flip_an_event, session.now)
    writer.apply(flip_an_answer, session.now)
    session.refresh()


def _named(operation: Callable[[Write], None], name: str) -> Callable[[Write], None]:
    operation.__name__ = name
    return operation


def _event_of(row: tuple[object, ...], event_id: str) -> Callable[[Write], None]:
    def insert(w: Write) -> None:
        w.run(
            "INSERT INTO public.suggestion_events (id, txn_id, model_id, candidates, mode, created_at)"
            " SELECT %s, t.id, %s, %s, %s, %s FROM public.transactions AS t ORDER BY t.id LIMIT 1",
            event_id,
            *row[2:],
        )

    return _named(insert, "insert_event")


def _to(operation: Callable[[Write], None], target: str) -> Callable[[Write], None]:
    def move(w: Write) -> None:
        w.run("UPDATE public.suggestion_events SET created_at = %s WHERE id = %s", w.event_time(), target)

    return _named(move, operation.__name__)


def _answer_to(target: str) -> Callable[[Write], None]:
    def answer(w: Write) -> None:
        row = w.feedback()
        w.run(
            "INSERT INTO public.suggestion_feedback (id, event_id, txn_id, action, label, created_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            str(uuid.UUID(int=w.rng.getrandbits(128))),
            target,
            *row[2:],
        )

    return _named(answer, "insert_feedback")


def _untrack(source: str) -> Callable[[Write], None]:
    return _named(lambda w: w.run("SELECT ledgerviews.track(%s, 'none', 1)", source), "untrack")


USUAL: tuple[Callable[[Session], None], ...] = (
    a_writer_over_midnight, a_late_commit_to_a_day_that_is_logged, an_event_that_moves_under_its_feedback,
    an_event_that_moves, feedback_whose_event_goes_and_comes,
)  # fmt: skip
ODD: tuple[Callable[[Session], None], ...] = (
    writes_that_no_trigger_sees, writes_that_no_trigger_sees, a_truncated_table, a_log_that_is_given_up,
)  # fmt: skip
