"""What hides writes from triggers, or rewrites what they stand on: in a transaction, or between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz.worlds import EVENTS, FEEDBACK
from tests.fuzz.writes import USUAL, Write, flip_an_answer, flip_an_event

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIGGERS = ("ledgerviews_insert", "ledgerviews_update", "ledgerviews_delete")


def _usual(w: Write, count: int = 1) -> None:
    for _ in range(count):
        w.rng.choice(USUAL)(w)


def _source(w: Write) -> str:
    return w.rng.choice((EVENTS, FEEDBACK))


def write_as_replica(w: Write) -> None:
    """A write under the role that fires no ordinary trigger, foreign keys' included."""
    w.run("SET session_replication_role = replica")
    _usual(w)
    w.run("SET session_replication_role = origin")


def truncate_feedback(w: Write) -> None:
    w.run(f"TRUNCATE {FEEDBACK}")


def truncate_and_write(w: Write) -> None:
    w.run(f"TRUNCATE {EVENTS} CASCADE")
    _usual(w, 3)


def write_without_triggers(w: Write) -> None:
    """Triggers off, writes, triggers on: as ALTER TABLE … ENABLE TRIGGER ALL leaves them, or as they were."""
    source = _source(w)
    w.run(f"ALTER TABLE {source} DISABLE TRIGGER USER")
    _usual(w, 2)
    if w.rng.random() < 0.4:
        w.run(f"ALTER TABLE {source} ENABLE TRIGGER USER")
    else:
        found = w.connection.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass", [source])
        for name in sorted({row[0] for row in found} & set(_TRIGGERS)):
            w.run(f"ALTER TABLE {source} ENABLE ALWAYS TRIGGER {name}")


def write_unseen(w: Write) -> None:
    """A write that changes something for sure while the triggers are off; then they stand as before."""
    source, write = w.rng.choice(((EVENTS, flip_an_event), (FEEDBACK, flip_an_answer)))
    w.run(f"ALTER TABLE {source} DISABLE TRIGGER USER")
    write(w)
    found = w.connection.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass", [source])
    for name in sorted({row[0] for row in found} & set(_TRIGGERS)):
        w.run(f"ALTER TABLE {source} ENABLE ALWAYS TRIGGER {name}")


def write_as_replica_for_sure(w: Write) -> None:
    """A write that changes something for sure."""
    w.run("SET LOCAL session_replication_role = replica")
    w.rng.choice((flip_an_event, flip_an_answer))(w)
    w.run("SET LOCAL session_replication_role = origin")


def drop_a_trigger(w: Write) -> None:
    w.run(f"DROP TRIGGER IF EXISTS {w.rng.choice(_TRIGGERS)} ON {_source(w)}")
    _usual(w, 2)


def track(w: Write) -> None:
    """Whatever the tracking is, another one, or the same anew."""
    w.run(
        "SELECT ledgerviews.track(%s, %s, 1)",
        _source(w),
        w.rng.choice(("closed days", "every write", "none")),
    )


def track_as_before(w: Write) -> None:
    w.run(
        "SELECT ledgerviews.track(s.source, s.tracking, 1) FROM ledgerviews.source AS s"
        " WHERE s.tracking <> 'none'"
    )


def vacuum_full(w: Write) -> None:
    w.run(f"VACUUM FULL {_source(w)}")


def vacuum_freeze(w: Write) -> None:
    w.run(f"VACUUM (FREEZE) {_source(w)}")


def cluster(w: Write) -> None:
    """Rewrite a table in the order of its key."""
    if w.world.shape in {"current", "older"}:
        source = _source(w)
        w.run(f"CLUSTER {source} USING {source.removeprefix('public.')}_pkey")


def rewrite(w: Write) -> None:
    """A column whose default differs from row to row."""
    source = _source(w)
    w.run(f"ALTER TABLE {source} DROP COLUMN IF EXISTS noise")
    w.run(f"ALTER TABLE {source} ADD COLUMN noise double precision DEFAULT random()")


def toggle_index(w: Write) -> None:
    if w.rng.random() < 0.5:
        w.run("DROP INDEX IF EXISTS public.feedback_event")
    else:
        w.run(f"CREATE INDEX IF NOT EXISTS feedback_event ON {FEEDBACK} (event_id)")


def forget_old_runs(w: Write) -> None:
    """Also all of them: the horizon of open days must do without."""
    w.run(
        "DELETE FROM ledgerviews.run WHERE run_id < (SELECT max(run_id) FROM ledgerviews.run) - %s"
        " AND finished_at IS NOT NULL",
        w.rng.randint(-1, 3),
    )


def empty_a_mart(w: Write) -> None:
    w.run("REFRESH MATERIALIZED VIEW public.mart_suggestions_feedback_daily WITH NO DATA")


def partitions(w: Write) -> None:
    """Detach a partition, write to it, and attach it again; or only the write that goes by no parent."""
    if w.world.shape == "hash":
        name, bounds = w.rng.choice(
            (("events_0", "WITH (MODULUS 2, REMAINDER 0)"), ("events_1", "WITH (MODULUS 2, REMAINDER 1)"))
        )
    elif w.world.shape == "range":
        name, bounds = w.rng.choice(
            (
                ("events_old", "FROM (MINVALUE) TO ('2000-01-01')"),
                ("events_new", "FROM ('2100-01-01') TO (MAXVALUE)"),
            )
        )
    else:
        return
    w.run(f"UPDATE public.{name} SET mode = 'model'")
    if w.rng.random() < 0.3:
        return
    w.run(f"ALTER TABLE {EVENTS} DETACH PARTITION public.{name}")
    w.run(f"UPDATE public.{name} SET mode = 'auto'")
    w.run(f"DELETE FROM public.{name} WHERE txn_id = 1")
    w.run(f"ALTER TABLE {EVENTS} ATTACH PARTITION public.{name} FOR VALUES {bounds}")


def new_partition(w: Write) -> None:
    """A day of its own for today's events, out of the default partition."""
    if w.world.shape != "range":
        return
    day = w.now.date()
    name = f"public.events_{day:%Y%m%d}"
    w.run(
        f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {EVENTS}"
        f" FOR VALUES FROM ('{day}') TO (date '{day}' + 1)"
    )
    w.run(f"UPDATE {name} SET mode = 'auto'")


IN_A_TRANSACTION: tuple[Callable[[Write], None], ...] = (
    write_as_replica, write_as_replica, write_as_replica, truncate_feedback, truncate_and_write,
    write_without_triggers, write_without_triggers, drop_a_trigger, partitions, partitions, new_partition,
)  # fmt: skip
ALONE: tuple[Callable[[Write], None], ...] = (
    *IN_A_TRANSACTION, track, track, track, track, track_as_before, track_as_before, track_as_before,
    vacuum_full, vacuum_freeze, cluster, rewrite, toggle_index, forget_old_runs, empty_a_mart,
)  # fmt: skip
