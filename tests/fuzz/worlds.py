"""The databases that the fuzz works on: shapes of the source tables, and an engine whose clock can be moved.

The engine under test is the installed one but for three lines of instrument: where it reads the clock to
tell open days from closed ones it reads ``fuzz.clock()``, a refresh passes ``fuzz.gate()`` when it has its
snapshot, and three orphans are as many as a thousand. All are exact text replacements that fail loudly when
the engine no longer has that text.
"""

from __future__ import annotations

import importlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from ledgerviews.catalog import load
from ledgerviews.config import Settings
from ledgerviews.models import demo
from tests.mutants import rewrite

if TYPE_CHECKING:
    import random

    from tests.servers import PgServer

GATE = 4711
BEGINNING = datetime(2031, 3, 9, 20, tzinfo=UTC)
MARTS = ("mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis")
SHAPES = ("current", "older", "hash", "range")
EVENTS, FEEDBACK = "public.suggestion_events", "public.suggestion_feedback"

_INSTRUMENT = """
CREATE SCHEMA fuzz;
CREATE SEQUENCE fuzz.hours MINVALUE 0 START 0;
SELECT setval('fuzz.hours', 0);
-- A sequence is the same for every snapshot at once, as a clock is. It stands still unless it is moved, so
-- that a seed does the same at any hour.
CREATE FUNCTION fuzz.clock() RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RETURN timestamptz '2031-03-09 20:00:00+00'
        + (SELECT s.last_value FROM fuzz.hours AS s) * interval '1 hour';
END $$;
CREATE FUNCTION fuzz.utc_text(value timestamp) RETURNS text LANGUAGE sql SET DateStyle = 'ISO'
RETURN value::text;
CREATE FUNCTION fuzz.utc_text(value timestamptz) RETURNS text LANGUAGE sql SET DateStyle = 'ISO'
RETURN (value AT TIME ZONE 'UTC')::text;
CREATE FUNCTION fuzz.gate() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog SET lock_timeout = 0 AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711);
END $$;
"""

_HASH = """
DROP TABLE public.suggestion_feedback, public.suggestion_events;
CREATE TABLE public.suggestion_events (
    id uuid PRIMARY KEY, txn_id integer NOT NULL REFERENCES public.transactions (id) ON DELETE CASCADE,
    model_id varchar, features_hash varchar, candidates jsonb NOT NULL, mode varchar NOT NULL,
    created_at timestamptz DEFAULT now()
) PARTITION BY HASH (id);
CREATE TABLE public.events_0 PARTITION OF public.suggestion_events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.events_1 PARTITION OF public.suggestion_events FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX ON public.suggestion_events (created_at);
CREATE TABLE public.suggestion_feedback (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id uuid REFERENCES public.suggestion_events (id) ON DELETE CASCADE ON UPDATE CASCADE,
    txn_id integer NOT NULL, action varchar NOT NULL, label varchar(128) NOT NULL,
    created_at timestamptz DEFAULT now()
);
CREATE INDEX ON public.suggestion_feedback (event_id);
"""

_RANGE = """
DROP TABLE public.suggestion_feedback, public.suggestion_events;
CREATE TABLE public.suggestion_events (
    id uuid, txn_id integer NOT NULL REFERENCES public.transactions (id) ON DELETE CASCADE,
    model_id varchar, features_hash varchar, candidates jsonb NOT NULL, mode varchar,
    created_at timestamp
) PARTITION BY RANGE (created_at);
CREATE TABLE public.events_old PARTITION OF public.suggestion_events
    FOR VALUES FROM (MINVALUE) TO ('2000-01-01');
CREATE TABLE public.events_new PARTITION OF public.suggestion_events
    FOR VALUES FROM ('2100-01-01') TO (MAXVALUE);
CREATE TABLE public.events_rest PARTITION OF public.suggestion_events DEFAULT;
CREATE INDEX ON public.suggestion_events (created_at);
CREATE INDEX ON public.suggestion_events (id);
CREATE TABLE public.suggestion_feedback (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), event_id uuid,
    txn_id integer NOT NULL, action varchar, label varchar(128), created_at timestamptz
) PARTITION BY HASH (id);
CREATE TABLE public.feedback_0 PARTITION OF public.suggestion_feedback
    FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.feedback_1 PARTITION OF public.suggestion_feedback
    FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """What a seed makes of the source tables.

    Attributes:
        shape: the form of the tables: current, older, or events partitioned by hash or by range.
        linked: the foreign key from feedback to events is there.
        unique: an event's id is unique, so that upserts and MERGE find it.
        indexed: feedback has an index on event_id.
        tracking: how each source is tracked at first.
        busy: how often tables and triggers are altered, from 0 (never).
    """

    shape: str
    linked: bool
    unique: bool
    indexed: bool
    tracking: tuple[str, str]
    busy: float

    def __str__(self) -> str:
        """One line for the log of a run."""
        return (
            f"{self.shape} tables, {'with' if self.linked else 'no'} foreign key, "
            f"{'' if self.indexed else 'no '}index, tracking {' and '.join(self.tracking)}, busy {self.busy}"
        )


def draw(rng: random.Random) -> World:
    """A world of a seed."""
    shape = rng.choice(("current", "current", "current", "older", "hash", "range"))
    linked = shape != "range" and rng.random() < 0.5
    return World(
        shape=shape,
        linked=linked,
        unique=shape != "range",
        indexed=shape == "hash" or rng.random() < 0.6,
        tracking=(
            rng.choice(("closed days", "closed days", "closed days", "every write", "none")),
            rng.choice(("closed days", "closed days", "every write", "none")),
        ),
        busy=rng.choice((0.0, 0.02, 0.02, 0.05)),
    )


def template(server: PgServer, shape: str) -> str:
    """A database with the tables in a shape, all migrations, and the instruments."""
    return server.template(f"fuzz_{shape}", lambda url: build(url, shape))


def build(url: str, shape: str) -> None:
    """Fill an empty database."""
    with psycopg.connect(url) as connection:
        demo.create_tables(connection, form="older" if shape == "older" else "current")
        if shape == "hash":
            connection.execute(_HASH)
        elif shape == "range":
            connection.execute(_RANGE)
    importlib.import_module("ledgerviews.schema.commands").upgrade(Settings(database_url=url))
    with psycopg.connect(url) as connection:
        connection.execute(_INSTRUMENT)
        instrument(connection)
        expected_views(connection)


def instrument(connection: psycopg.Connection) -> None:
    """Put the movable clock and the gate into the installed engine, and the triggers on anew."""
    clock, taken = "pg_catalog.clock_timestamp()", "v_open_since := ledgerviews.open_since();"
    for function in ("ledgerviews.track(text[], text, integer)", "ledgerviews.attach(text, text)"):
        rewrite(connection, function, (clock, "fuzz.clock()"))
    rewrite(
        connection,
        "ledgerviews.refresh(text[], text, boolean, boolean, boolean, bigint)",
        ("v_marked := pg_catalog.now()", "v_marked := fuzz.clock()"),
        (taken, f"{taken} PERFORM fuzz.gate();"),
    )
    rewrite(
        connection,
        "ledgerviews.suggestion_feedback_taken(boolean)",
        ("(count(*) > 1000)", "(count(*) > 2)"),
    )
    connection.execute(
        "SELECT ledgerviews.track(s.source, s.tracking) FROM ledgerviews.source AS s"
        " WHERE s.tracking <> 'none'"
    )


def expected_views(connection: psycopg.Connection) -> None:
    """Views in the schema fuzz of the models' own SELECTs, which read nothing that a refresh writes."""
    catalog = load("ledgerviews.models")
    for name in ("stg_suggestion_events", *MARTS):
        text = catalog[name].sql.strip().rstrip(";")
        text = text.replace("public.stg_", "fuzz.stg_").replace("public.mart_", "fuzz.mart_")
        connection.execute(f"CREATE VIEW fuzz.{name} AS\n{text}".encode())
    connection.execute("CREATE SCHEMA fuzz_published")
    kpis = catalog[MARTS[2]].sql.strip().rstrip(";")
    connection.execute(f"CREATE VIEW fuzz_published.{MARTS[2]} AS\n{kpis}".encode())


def uuid_of(number: int) -> str:
    """The id of that number."""
    return str(uuid.UUID(int=number))


def prepare(connection: psycopg.Connection, world: World) -> None:
    """Bring a clone of the template to what the world says."""
    if not world.linked and world.shape in {"current", "older"}:
        from tests.histories import lift_constraints

        lift_constraints(connection)
    if world.indexed and world.shape != "hash":
        connection.execute("CREATE INDEX feedback_event ON public.suggestion_feedback (event_id)")
    for source, tracking in zip((EVENTS, FEEDBACK), world.tracking, strict=True):
        connection.execute("SELECT ledgerviews.track(%s, %s)", [source, tracking])
