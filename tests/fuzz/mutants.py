"""Deliberately wrong engines: each makes one mistake that a refresh engine could well make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mutants import Mutant, rewrite

if TYPE_CHECKING:
    import psycopg

_EVENTS_TRACK = "ledgerviews.suggestion_events_track()"
_FEEDBACK_TRACK = "ledgerviews.suggestion_feedback_track()"
_FEEDBACK_TAKEN = "ledgerviews.suggestion_feedback_taken(boolean)"
_PUBLISH = "ledgerviews.publish(bigint, ledgerviews.step, integer, text, date)"
_REFRESH = "ledgerviews.refresh(text[], text, boolean, boolean, boolean, bigint)"


def keep_the_triggers_function(connection: psycopg.Connection) -> None:
    """Have nobody write the function of the triggers anew, as whoever puts them on does."""
    rewrite(
        connection,
        "ledgerviews.write_trigger(text)",
        ("BEGIN\n    SELECT s.*", "BEGIN\n    RETURN;\n    SELECT s.*"),
    )


def logs_new_days_only(connection: psycopg.Connection) -> None:
    """An event that moved leaves its old day as it was."""
    rewrite(
        connection,
        _EVENTS_TRACK,
        ("utc_day(v_old_day), CASE", "utc_day(v_new_day), CASE"),
    )
    keep_the_triggers_function(connection)


def resolves_the_day_in_the_trigger(connection: psycopg.Connection) -> None:
    """Feedback is logged with the day that its event had when it was written."""
    text = """
        CREATE OR REPLACE FUNCTION ledgerviews.suggestion_feedback_track() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF TG_OP <> 'DELETE' THEN
                INSERT INTO ledgerviews.suggestion_feedback_change (day)
                SELECT COALESCE((SELECT ledgerviews.utc_day(e.created_at) FROM public.suggestion_events AS e
                    WHERE e.id = NEW.event_id LIMIT 1), ledgerviews.utc_day(NEW.created_at));
            END IF;
            IF TG_OP <> 'INSERT' THEN
                INSERT INTO ledgerviews.suggestion_feedback_change (day)
                SELECT COALESCE((SELECT ledgerviews.utc_day(e.created_at) FROM public.suggestion_events AS e
                    WHERE e.id = OLD.event_id LIMIT 1), ledgerviews.utc_day(OLD.created_at));
            END IF;
            RETURN NULL;
        END $$"""
    connection.execute(text.encode())
    keep_the_triggers_function(connection)


def forgets_orphans(connection: psycopg.Connection) -> None:
    """Feedback that found its event again still counts on its own day."""
    rewrite(connection, _FEEDBACK_TAKEN, ("(p.id = o.key) AND", "false AND"))


def seeks_parents_in_the_log_only(connection: psycopg.Connection) -> None:
    """Feedback whose event came on an open day, which no log tells, still counts on its own day."""
    rewrite(connection, _FEEDBACK_TAKEN, ("min(t.open_from)", "NULL::date"))


def ignores_keys_that_are_gone(connection: psycopg.Connection) -> None:
    """Feedback whose event went away is not counted on its own day."""
    rewrite(connection, _FEEDBACK_TAKEN, ("(c.key IS NOT NULL)", "false"))


def ignores_running_transactions(connection: psycopg.Connection) -> None:
    """Only today is taken as open, also where a transaction began on a day before."""
    connection.execute(
        "CREATE OR REPLACE FUNCTION ledgerviews.open_since() RETURNS date LANGUAGE sql STABLE"
        " RETURN (fuzz.clock() AT TIME ZONE 'UTC')::date"
    )


def trusts_triggers(connection: psycopg.Connection) -> None:
    """Triggers that were disabled for a while, or are new, are taken to have seen everything."""
    rewrite(
        connection,
        "ledgerviews.doubt(jsonb, jsonb)",
        ("IS DISTINCT FROM (now -> 'triggers'::text)", "IS NULL"),
    )


def trusts_files(connection: psycopg.Connection) -> None:
    """TRUNCATE goes unnoticed."""
    rewrite(
        connection, "ledgerviews.doubt(jsonb, jsonb)", ("IS DISTINCT FROM (now -> 'files'::text)", "IS NULL")
    )


def leaves_triggers_ordinary(connection: psycopg.Connection) -> None:
    """Writes under the role replica fire no trigger, and nobody minds."""
    connection.execute(
        "CREATE OR REPLACE FUNCTION ledgerviews.enable_always(root oid) RETURNS void LANGUAGE sql RETURN NULL"
    )
    row = connection.execute("SELECT pg_get_viewdef('ledgerviews.source_now'::regclass)").fetchone()
    assert row is not None
    view: str = row[0]
    assert "<> 'A'::" in view
    connection.execute(
        ("CREATE OR REPLACE VIEW ledgerviews.source_now AS " + view.replace("<> 'A'::", "= 'D'::")).encode()
    )
    for table in ("suggestion_events", "suggestion_feedback"):
        for name in ("insert", "update", "delete"):
            connection.execute(f"ALTER TABLE public.{table} ENABLE TRIGGER ledgerviews_{name}".encode())


def logs_each_day_once(connection: psycopg.Connection) -> None:
    """A day that stands in the log is not logged again, though a refresh is about to take it away."""
    connection.execute(
        "CREATE UNIQUE INDEX ON ledgerviews.suggestion_events_change (day, key) NULLS NOT DISTINCT;"
        "CREATE UNIQUE INDEX ON ledgerviews.suggestion_feedback_change (day, key) NULLS NOT DISTINCT"
    )
    for function in (_EVENTS_TRACK, _FEEDBACK_TRACK):
        row = connection.execute("SELECT pg_get_functiondef(%s::regprocedure)", [function]).fetchone()
        assert row is not None
        text: str = row[0]
        lines = []
        for line in text.splitlines():
            ends = line.rstrip().endswith(");") and ":=" not in line
            lines.append(line.rstrip().removesuffix(";") + " ON CONFLICT DO NOTHING;" if ends else line)
        assert "ON CONFLICT" in "\n".join(lines)
        connection.execute("\n".join(lines).encode())
    keep_the_triggers_function(connection)


def counts_when_it_scans(connection: psycopg.Connection) -> None:
    """A scan takes a day for unchanged that has as many rows as before."""
    for table in ("suggestion_events", "suggestion_feedback"):
        row = connection.execute(
            f"SELECT pg_get_functiondef('ledgerviews.{table}_scan()'::regprocedure)".encode()
        ).fetchone()
        assert row is not None
        text: str = row[0]
        start = text.index("hashtidextended(")
        end = text.index(") AS sum", start)
        connection.execute((text[:start] + "1::bigint" + text[end:]).encode())


def clears_the_days_of_all(connection: psycopg.Connection) -> None:
    """A refresh of one relation takes the days of the others for done."""
    rewrite(
        connection,
        _PUBLISH,
        (
            "WHERE t.schema_name = step.schema_name AND t.relation_name = step.relation_name;\n    INSERT",
            "WHERE true;\n    INSERT",
        ),
    )


def reads_many_snapshots(connection: psycopg.Connection) -> None:
    """Each statement of a refresh sees what was committed before it."""
    rewrite(connection, _REFRESH, ("ISOLATION LEVEL REPEATABLE READ", "ISOLATION LEVEL READ COMMITTED"))


MUTANTS = (
    Mutant(mutate=logs_new_days_only, seed=5),
    Mutant(mutate=resolves_the_day_in_the_trigger, seed=9),
    Mutant(mutate=forgets_orphans, seed=9),
    Mutant(mutate=seeks_parents_in_the_log_only, seed=9),
    Mutant(mutate=ignores_keys_that_are_gone, seed=9),
    Mutant(mutate=ignores_running_transactions, seed=5),
    Mutant(mutate=trusts_triggers, seed=5),
    Mutant(mutate=trusts_files, seed=9),
    Mutant(mutate=leaves_triggers_ordinary, seed=5),
    Mutant(mutate=logs_each_day_once, seed=21),
    Mutant(mutate=counts_when_it_scans, seed=9),
    Mutant(mutate=clears_the_days_of_all, seed=9),
    Mutant(mutate=reads_many_snapshots, seed=9),
)
