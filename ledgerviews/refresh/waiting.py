"""For whom a refresh waits: the session that holds the lock of refreshes, or has locked what it reads."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from ledgerviews import db
from ledgerviews.errors import LedgerviewsError
from ledgerviews.queries import query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledgerviews.config import Settings

LOOK_EVERY_S = 5.0
"""How long a refresh may wait, in seconds, before it is said for whom; and how often that is looked at."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds the lock of refreshes.

    Attributes:
        who: the session, or the prepared transaction, in words.
        mend: what ends a prepared transaction; None for a session.
        run_id: the run that it is; None where it is none.
    """

    who: str
    mend: str | None
    run_id: int | None


def lock_holder(connection: psycopg.Connection) -> Holder | None:
    """Who holds the lock of refreshes, if anybody does."""
    held = connection.execute(query("refresh_lock")).fetchone()
    if held is None:
        return None
    *session, run_id = held
    return Holder(who=db.session_in_words(*session), mend=db.end_of_prepared(session[-1]), run_id=run_id)


def tell_of_the_queue(connection: psycopg.Connection, progress: Callable[[str], None]) -> None:
    """Say for which refresh one that is called now will wait, if for any."""
    holder = lock_holder(connection)
    if holder is None:
        return
    if holder.run_id is not None:
        progress(f"Waiting for run {holder.run_id} ({holder.who}).")
    elif holder.mend is not None:
        progress(f"Waiting for {holder.who}, that holds the lock of refreshes. {holder.mend}")
    else:
        other = "a migration, or somebody's session,"
        progress(f"Waiting for {other} that holds the lock of refreshes ({holder.who}).")


@contextmanager
def watched(
    settings: Settings, connection: psycopg.Connection, progress: Callable[[str], None]
) -> Iterator[None]:
    """While the block runs, say what its session waits for and who has locked that, by another connection."""
    ended = threading.Event()
    pid = connection.info.backend_pid
    thread = threading.Thread(target=_watch, args=(settings, pid, progress, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1.0)  # it may be connecting to a server that does not answer


def _watch(settings: Settings, pid: int, progress: Callable[[str], None], ended: threading.Event) -> None:
    if ended.wait(LOOK_EVERY_S):
        return
    told: list[str] = []
    # What cannot be looked at is left unsaid: the refresh itself tells what is wrong.
    try:
        with closing(db.connect(settings)) as connection:
            while True:
                lines = _waits(connection, pid)
                if lines != told and not ended.is_set():
                    told = lines
                    for line in lines:
                        progress(line)
                if ended.wait(LOOK_EVERY_S):
                    return
    except (LedgerviewsError, psycopg.Error):
        return


def _waits(connection: psycopg.Connection, pid: int) -> list[str]:
    rows = connection.execute(query("waits_for"), {"pid": pid}).fetchall()
    return [
        f"Waiting for {relation or 'a transaction'}, which is held by {db.session_in_words(*session)}."
        + (f" {mend}" if (mend := db.end_of_prepared(session[-1])) else "")
        for relation, *session, _ in rows
        if relation != "ledgerviews.refresh_lock"  # told when it was called
    ]
