"""Compute the marts by day: rollups, the engine's version 2, and the tracking of the sources.

Frozen: the text below is what this revision installs, whatever the models say later. The triggers come last,
so that the locks on the application's tables are held for a moment only.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

import ledgerviews.schema  # noqa: F401  (registers op.ledgerviews_*)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MART_SUGGESTIONS_DAILY = """\
-- Suggestion events by UTC day, requested mode and model.
-- OFFSET 0 has each event's candidates read once, before the sort, which would otherwise carry them along
-- (a quarter quicker on one core than the plain form on two).
SELECT
    s.created_date,
    s.mode,
    s.model_id,
    COUNT(*) AS events,
    SUM(s.candidate_count)::double precision / COUNT(*) AS avg_candidate_count,
    SUM(s.candidate_count)::bigint AS candidates_total,
    COUNT(DISTINCT s.txn_id) AS txns,
    COUNT(*) FILTER (WHERE s.candidate_count > 0) AS covered_events,
    COUNT(*) FILTER (WHERE s.candidate_count = 0) AS empty_events,
    COUNT(*) FILTER (WHERE s.effective_mode = 'model') AS answered_by_model,
    COUNT(*) FILTER (WHERE s.effective_mode = 'heuristic') AS answered_by_heuristic
FROM (
    SELECT
        e.created_date,
        ledgerviews.key_text(e.mode) AS mode,
        ledgerviews.key_text(e.model_id) AS model_id,
        e.txn_id,
        e.candidate_count,
        e.effective_mode
    FROM public.stg_suggestion_events AS e
    OFFSET 0
) AS s
GROUP BY s.created_date, s.mode, s.model_id
"""

MART_SUGGESTIONS_DAILY_OF_DAYS = """\
-- Suggestion events by UTC day, requested mode and model.
-- OFFSET 0 has each event's candidates read once, before the sort, which would otherwise carry them along
-- (a quarter quicker on one core than the plain form on two).
SELECT
    s.created_date,
    s.mode,
    s.model_id,
    COUNT(*) AS events,
    SUM(s.candidate_count)::double precision / COUNT(*) AS avg_candidate_count,
    SUM(s.candidate_count)::bigint AS candidates_total,
    COUNT(DISTINCT s.txn_id) AS txns,
    COUNT(*) FILTER (WHERE s.candidate_count > 0) AS covered_events,
    COUNT(*) FILTER (WHERE s.candidate_count = 0) AS empty_events,
    COUNT(*) FILTER (WHERE s.effective_mode = 'model') AS answered_by_model,
    COUNT(*) FILTER (WHERE s.effective_mode = 'heuristic') AS answered_by_heuristic
FROM (
    SELECT
        e.created_date,
        ledgerviews.key_text(e.mode) AS mode,
        ledgerviews.key_text(e.model_id) AS model_id,
        e.txn_id,
        e.candidate_count,
        e.effective_mode
    FROM (
-- One row per suggestion event, with what the marts need worked out once.
-- candidates may be json or jsonb and may hold anything that a bug once wrote; the ledgerviews.* functions
-- read either and never raise.
SELECT
    e.id AS event_id,
    e.txn_id,
    e.model_id,
    e.features_hash,
    e.candidates,
    e.mode,
    ledgerviews.utc(e.created_at) AS created_at,
    ledgerviews.utc_day(e.created_at) AS created_date,
    ledgerviews.json_array_size(e.candidates) AS candidate_count,
    ledgerviews.json_number(ledgerviews.json_first(e.candidates), 'confidence') AS top_confidence,
    ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'label') AS top_label,
    CASE
        WHEN ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'source') IN ('model', 'heuristic')
            THEN ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'source')
        WHEN pg_catalog.split_part(e.model_id, '@', 1) = 'heuristic' THEN 'heuristic'
        WHEN e.model_id <> '' THEN 'model'
        WHEN e.mode = 'model' THEN 'model'
        ELSE 'heuristic'
    END AS effective_mode
FROM (
SELECT "suggestion_events"."id", "suggestion_events"."txn_id", "suggestion_events"."model_id", "suggestion_events"."features_hash", "suggestion_events"."candidates", "suggestion_events"."mode", "suggestion_events"."created_at" FROM "public"."suggestion_events" WHERE ledgerviews.in_days(suggestion_events.created_at, $1, $2)
) AS e
) AS e
    OFFSET 0
) AS s
GROUP BY s.created_date, s.mode, s.model_id
"""

MART_SUGGESTIONS_DAILY_COLUMNS = {
    "created_date": "UTC day of the events; 0001-01-01 holds events without a usable time.",
    "mode": "The mode requested: heuristic, model or auto; (none) when unknown.",
    "model_id": "The model asked; (none) when unknown, shortened beyond 1,000 bytes.",
    "events": "Number of suggestion events.",
    "avg_candidate_count": "candidates_total / events.",
    "candidates_total": "Candidates over all events.",
    "txns": "Distinct transactions; not additive over rows.",
    "covered_events": "Events with at least one candidate.",
    "empty_events": "Events without a candidate.",
    "answered_by_model": "Events that a model answered.",
    "answered_by_heuristic": "Events that the heuristic answered.",
}

MART_SUGGESTIONS_DAILY_CHECKS = [
    {
        "name": "not_null_created_date_mode_model_id_events",
        "kind": "not_null",
        "columns": ("created_date", "mode", "model_id", "events"),
        "expression": None,
        "severity": "error",
    },
    {
        "name": "covered_and_empty_make_events",
        "kind": "expression",
        "columns": (),
        "expression": "covered_events + empty_events = events",
        "severity": "error",
    },
    {
        "name": "answered_makes_events",
        "kind": "expression",
        "columns": (),
        "expression": "answered_by_model + answered_by_heuristic = events",
        "severity": "error",
    },
]

MART_SUGGESTIONS_FEEDBACK_DAILY = """\
-- Feedback by UTC day, mode and model of the event that it is about, beside the number of those events.
-- Feedback whose event is unknown stands under (unlinked) on its own UTC day, so that every row of the
-- table is counted exactly once.
WITH feedback AS (
    SELECT
        e.event_id IS NOT NULL AS linked,
        e.created_date AS event_date,
        e.mode,
        e.model_id,
        ledgerviews.utc_day(f.created_at) AS feedback_date,
        -- A past migration turned actions into 'reject' and left the true one in label.
        CASE WHEN f.label IN ('accept', 'reject', 'undo') THEN f.label ELSE f.action::text END AS action,
        ledgerviews.utc_or_null(f.created_at)
        > ledgerviews.utc_or_null(e.created_at) + interval '24 hours' AS late
    FROM public.suggestion_feedback AS f
    LEFT JOIN public.stg_suggestion_events AS e ON f.event_id = e.event_id
),

answers AS (
    SELECT
        CASE WHEN linked THEN event_date ELSE feedback_date END AS created_date,
        CASE WHEN linked THEN ledgerviews.key_text(mode) ELSE '(unlinked)' END::text AS mode,
        CASE WHEN linked THEN ledgerviews.key_text(model_id) ELSE '(unlinked)' END::text AS model_id,
        COUNT(*) AS answers,
        COUNT(*) FILTER (WHERE action = 'accept') AS accepts,
        COUNT(*) FILTER (WHERE action = 'reject') AS rejects,
        COUNT(*) FILTER (WHERE action = 'undo') AS undos,
        COUNT(*) FILTER (WHERE late) AS feedback_late
    FROM feedback
    GROUP BY 1, 2, 3
),

asked AS (
    SELECT
        s.created_date,
        ledgerviews.key_text(s.mode) AS mode,
        ledgerviews.key_text(s.model_id) AS model_id,
        COUNT(*) AS events
    FROM public.stg_suggestion_events AS s
    GROUP BY 1, 2, 3
)

SELECT
    created_date,
    mode,
    model_id,
    COALESCE(asked.events, 0) AS events,
    COALESCE(answers.accepts, 0) AS accepts,
    COALESCE(answers.rejects, 0) AS rejects,
    COALESCE(answers.undos, 0) AS undos,
    answers.accepts::double precision / NULLIF(answers.accepts + answers.rejects, 0) AS accept_rate,
    COALESCE(answers.feedback_late, 0) AS feedback_late,
    COALESCE(answers.answers - answers.accepts - answers.rejects - answers.undos, 0) AS feedback_other
FROM asked
FULL JOIN answers USING (created_date, mode, model_id)
"""

MART_SUGGESTIONS_FEEDBACK_DAILY_OF_DAYS = """\
-- Feedback by UTC day, mode and model of the event that it is about, beside the number of those events.
-- Feedback whose event is unknown stands under (unlinked) on its own UTC day, so that every row of the
-- table is counted exactly once.
WITH feedback AS (
    SELECT
        e.event_id IS NOT NULL AS linked,
        e.created_date AS event_date,
        e.mode,
        e.model_id,
        ledgerviews.utc_day(f.created_at) AS feedback_date,
        -- A past migration turned actions into 'reject' and left the true one in label.
        CASE WHEN f.label IN ('accept', 'reject', 'undo') THEN f.label ELSE f.action::text END AS action,
        ledgerviews.utc_or_null(f.created_at)
        > ledgerviews.utc_or_null(e.created_at) + interval '24 hours' AS late
    FROM (
SELECT "suggestion_feedback"."event_id", "suggestion_feedback"."action", "suggestion_feedback"."label", "suggestion_feedback"."created_at" FROM "public"."suggestion_feedback" WHERE EXISTS (
                SELECT FROM public.suggestion_events
                WHERE suggestion_events.id = suggestion_feedback.event_id
                    AND ledgerviews.in_days(suggestion_events.created_at, $1, $2)
            )
UNION ALL
SELECT "suggestion_feedback"."event_id", "suggestion_feedback"."action", "suggestion_feedback"."label", "suggestion_feedback"."created_at" FROM "public"."suggestion_feedback" WHERE ledgerviews.in_days(suggestion_feedback.created_at, $1, $2)
            AND NOT EXISTS (
                SELECT FROM public.suggestion_events
                WHERE suggestion_events.id = suggestion_feedback.event_id
            )
) AS f
    LEFT JOIN (
-- One row per suggestion event, with what the marts need worked out once.
-- candidates may be json or jsonb and may hold anything that a bug once wrote; the ledgerviews.* functions
-- read either and never raise.
SELECT
    e.id AS event_id,
    e.txn_id,
    e.model_id,
    e.features_hash,
    e.candidates,
    e.mode,
    ledgerviews.utc(e.created_at) AS created_at,
    ledgerviews.utc_day(e.created_at) AS created_date,
    ledgerviews.json_array_size(e.candidates) AS candidate_count,
    ledgerviews.json_number(ledgerviews.json_first(e.candidates), 'confidence') AS top_confidence,
    ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'label') AS top_label,
    CASE
        WHEN ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'source') IN ('model', 'heuristic')
            THEN ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'source')
        WHEN pg_catalog.split_part(e.model_id, '@', 1) = 'heuristic' THEN 'heuristic'
        WHEN e.model_id <> '' THEN 'model'
        WHEN e.mode = 'model' THEN 'model'
        ELSE 'heuristic'
    END AS effective_mode
FROM (
SELECT "suggestion_events"."id", "suggestion_events"."txn_id", "suggestion_events"."model_id", "suggestion_events"."features_hash", "suggestion_events"."candidates", "suggestion_events"."mode", "suggestion_events"."created_at" FROM "public"."suggestion_events" WHERE ledgerviews.in_days(suggestion_events.created_at, $1, $2)
) AS e
) AS e ON f.event_id = e.event_id
),

answers AS (
    SELECT
        CASE WHEN linked THEN event_date ELSE feedback_date END AS created_date,
        CASE WHEN linked THEN ledgerviews.key_text(mode) ELSE '(unlinked)' END::text AS mode,
        CASE WHEN linked THEN ledgerviews.key_text(model_id) ELSE '(unlinked)' END::text AS model_id,
        COUNT(*) AS answers,
        COUNT(*) FILTER (WHERE action = 'accept') AS accepts,
        COUNT(*) FILTER (WHERE action = 'reject') AS rejects,
        COUNT(*) FILTER (WHERE action = 'undo') AS undos,
        COUNT(*) FILTER (WHERE late) AS feedback_late
    FROM feedback
    GROUP BY 1, 2, 3
),

asked AS (
    SELECT
        s.created_date,
        ledgerviews.key_text(s.mode) AS mode,
        ledgerviews.key_text(s.model_id) AS model_id,
        COUNT(*) AS events
    FROM (
-- One row per suggestion event, with what the marts need worked out once.
-- candidates may be json or jsonb and may hold anything that a bug once wrote; the ledgerviews.* functions
-- read either and never raise.
SELECT
    e.id AS event_id,
    e.txn_id,
    e.model_id,
    e.features_hash,
    e.candidates,
    e.mode,
    ledgerviews.utc(e.created_at) AS created_at,
    ledgerviews.utc_day(e.created_at) AS created_date,
    ledgerviews.json_array_size(e.candidates) AS candidate_count,
    ledgerviews.json_number(ledgerviews.json_first(e.candidates), 'confidence') AS top_confidence,
    ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'label') AS top_label,
    CASE
        WHEN ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'source') IN ('model', 'heuristic')
            THEN ledgerviews.json_text(ledgerviews.json_first(e.candidates), 'source')
        WHEN pg_catalog.split_part(e.model_id, '@', 1) = 'heuristic' THEN 'heuristic'
        WHEN e.model_id <> '' THEN 'model'
        WHEN e.mode = 'model' THEN 'model'
        ELSE 'heuristic'
    END AS effective_mode
FROM (
SELECT "suggestion_events"."id", "suggestion_events"."txn_id", "suggestion_events"."model_id", "suggestion_events"."features_hash", "suggestion_events"."candidates", "suggestion_events"."mode", "suggestion_events"."created_at" FROM "public"."suggestion_events" WHERE ledgerviews.in_days(suggestion_events.created_at, $1, $2)
) AS e
) AS s
    GROUP BY 1, 2, 3
)

SELECT
    created_date,
    mode,
    model_id,
    COALESCE(asked.events, 0) AS events,
    COALESCE(answers.accepts, 0) AS accepts,
    COALESCE(answers.rejects, 0) AS rejects,
    COALESCE(answers.undos, 0) AS undos,
    answers.accepts::double precision / NULLIF(answers.accepts + answers.rejects, 0) AS accept_rate,
    COALESCE(answers.feedback_late, 0) AS feedback_late,
    COALESCE(answers.answers - answers.accepts - answers.rejects - answers.undos, 0) AS feedback_other
FROM asked
FULL JOIN answers USING (created_date, mode, model_id)
"""

MART_SUGGESTIONS_FEEDBACK_DAILY_COLUMNS = {
    "created_date": "UTC day of the event, so late feedback counts for the "
    "event's day; the feedback's own day where its event is "
    "unknown.",
    "mode": "The mode requested by the event; (none) when unknown, (unlinked) without an event.",
    "model_id": "The model asked by the event; (none) when unknown, (unlinked) without an event.",
    "events": "Distinct events, with or without feedback; 0 for unlinked feedback.",
    "accepts": "Feedback rows that accept a suggestion.",
    "rejects": "Feedback rows that reject one.",
    "undos": "Feedback rows that take an answer back.",
    "accept_rate": "accepts / (accepts + rejects); NULL where there are neither.",
    "feedback_late": "Feedback rows that came more than 24 hours after their event.",
    "feedback_other": "Feedback rows with any other action.",
}

MART_SUGGESTIONS_FEEDBACK_DAILY_CHECKS = [
    {
        "name": "not_null_created_date_mode_model_id_events",
        "kind": "not_null",
        "columns": ("created_date", "mode", "model_id", "events"),
        "expression": None,
        "severity": "error",
    },
    {
        "name": "accept_rate_is_a_rate",
        "kind": "expression",
        "columns": (),
        "expression": "accept_rate BETWEEN 0 AND 1",
        "severity": "error",
    },
]

MART_SUGGESTIONS_KPIS = """\
-- One row a day over both daily marts; rates are sums over sums.
WITH asked AS (
    SELECT
        d.created_date,
        SUM(d.events)::bigint AS events_total,
        SUM(d.events) FILTER (WHERE d.mode = 'model')::bigint AS events_model,
        SUM(d.events) FILTER (WHERE d.mode = 'heuristic')::bigint AS events_heuristic,
        SUM(d.events) FILTER (WHERE d.mode = 'auto')::bigint AS events_auto,
        SUM(d.candidates_total)::double precision / SUM(d.events)::double precision AS avg_candidate_count,
        SUM(d.answered_by_model)::bigint AS answered_by_model,
        SUM(d.answered_by_heuristic)::bigint AS answered_by_heuristic
    FROM public.mart_suggestions_daily AS d
    GROUP BY d.created_date
),

linked AS (
    SELECT
        f.created_date,
        SUM(f.accepts)::double precision / NULLIF(SUM(f.accepts + f.rejects), 0)::double precision AS accept_rate
    FROM public.mart_suggestions_feedback_daily AS f
    WHERE (f.mode, f.model_id) <> ('(unlinked)', '(unlinked)')
    GROUP BY f.created_date
),

unlinked AS (
    SELECT
        f.created_date,
        SUM(f.accepts + f.rejects + f.undos + f.feedback_other)::bigint AS answers
    FROM public.mart_suggestions_feedback_daily AS f
    WHERE (f.mode, f.model_id) = ('(unlinked)', '(unlinked)')
    GROUP BY f.created_date
)

SELECT
    created_date,
    COALESCE(asked.events_total, 0) AS events_total,
    COALESCE(asked.events_model, 0) AS events_model,
    COALESCE(asked.events_heuristic, 0) AS events_heuristic,
    asked.avg_candidate_count AS avg_candidate_count_overall,
    linked.accept_rate AS accept_rate_overall,
    COALESCE(asked.events_auto, 0) AS events_auto,
    COALESCE(asked.answered_by_model, 0) AS answered_by_model,
    COALESCE(asked.answered_by_heuristic, 0) AS answered_by_heuristic,
    COALESCE(unlinked.answers, 0) AS feedback_unlinked
FROM asked
FULL JOIN linked USING (created_date)
FULL JOIN unlinked USING (created_date)
"""

MART_SUGGESTIONS_KPIS_COLUMNS = {
    "created_date": "UTC day; one row for every day that stands in either daily mart.",
    "events_total": "Suggestion events.",
    "events_model": "Events whose requested mode was model.",
    "events_heuristic": "Events whose requested mode was heuristic.",
    "avg_candidate_count_overall": "Candidates over events; NULL on a day with feedback only.",
    "accept_rate_overall": "accepts / (accepts + rejects) of feedback whose event "
    "is known; NULL where there is neither.",
    "events_auto": "Events whose requested mode was auto.",
    "answered_by_model": "Events that a model answered.",
    "answered_by_heuristic": "Events that the heuristic answered.",
    "feedback_unlinked": "Feedback rows of this day whose event is unknown.",
}

MART_SUGGESTIONS_KPIS_CHECKS = [
    {
        "name": "not_null_created_date_events_total",
        "kind": "not_null",
        "columns": ("created_date", "events_total"),
        "expression": None,
        "severity": "error",
    },
    {
        "name": "unique_created_date",
        "kind": "unique",
        "columns": ("created_date",),
        "expression": None,
        "severity": "error",
    },
    {
        "name": "accept_rate_is_a_rate",
        "kind": "expression",
        "columns": (),
        "expression": "accept_rate_overall BETWEEN 0 AND 1",
        "severity": "error",
    },
]


def upgrade() -> None:
    op.ledgerviews_engine(version=2, previous=1)
    op.ledgerviews_drop_materialized_view("mart_suggestions_kpis", set_aside=True)
    op.ledgerviews_drop_materialized_view("mart_suggestions_feedback_daily", set_aside=True)
    op.ledgerviews_drop_materialized_view("mart_suggestions_daily", set_aside=True)
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_daily",
        MART_SUGGESTIONS_DAILY,
        unique_key=["created_date", "mode", "model_id"],
        comment="Suggestion events by UTC day, requested mode and model.",
        columns=MART_SUGGESTIONS_DAILY_COLUMNS,
        reads=["stg_suggestion_events"],
        day="created_date",
        day_definition=MART_SUGGESTIONS_DAILY_OF_DAYS,
        sources=["public.suggestion_events"],
        checks=MART_SUGGESTIONS_DAILY_CHECKS,
        take_up=True,
    )
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_feedback_daily",
        MART_SUGGESTIONS_FEEDBACK_DAILY,
        unique_key=["created_date", "mode", "model_id"],
        comment="Feedback by UTC day, requested mode and model of the suggestion event that it is about.",
        columns=MART_SUGGESTIONS_FEEDBACK_DAILY_COLUMNS,
        reads=["stg_suggestion_events"],
        day="created_date",
        day_definition=MART_SUGGESTIONS_FEEDBACK_DAILY_OF_DAYS,
        sources=["public.suggestion_events", "public.suggestion_feedback"],
        checks=MART_SUGGESTIONS_FEEDBACK_DAILY_CHECKS,
        take_up=True,
    )
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_kpis",
        MART_SUGGESTIONS_KPIS,
        unique_key=["created_date"],
        comment="How good the category suggestions were, one row per UTC day, over the two daily marts.",
        columns=MART_SUGGESTIONS_KPIS_COLUMNS,
        reads=["mart_suggestions_daily", "mart_suggestions_feedback_daily"],
        checks=MART_SUGGESTIONS_KPIS_CHECKS,
        take_up=True,
    )
    op.ledgerviews_create_source(
        "suggestion_events",
        day="created_at",
        key="id",
    )
    op.ledgerviews_create_source(
        "suggestion_feedback",
        day="created_at",
        key="event_id",
        parent={"schema": "public", "name": "suggestion_events", "key": "id", "day": "created_at"},
        indexes=["event_id"],
    )
    op.ledgerviews_track_sources(["public.suggestion_events", "public.suggestion_feedback"])


def downgrade() -> None:
    op.ledgerviews_drop_materialized_view("mart_suggestions_kpis", set_aside=True)
    op.ledgerviews_drop_materialized_view("mart_suggestions_feedback_daily", by_day=True, set_aside=True)
    op.ledgerviews_drop_materialized_view("mart_suggestions_daily", by_day=True, set_aside=True)
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_daily",
        MART_SUGGESTIONS_DAILY,
        unique_key=["created_date", "mode", "model_id"],
        comment="Suggestion events by UTC day, requested mode and model.",
        columns=MART_SUGGESTIONS_DAILY_COLUMNS,
        reads=["stg_suggestion_events"],
        take_up=True,
    )
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_feedback_daily",
        MART_SUGGESTIONS_FEEDBACK_DAILY,
        unique_key=["created_date", "mode", "model_id"],
        comment="Feedback by UTC day, requested mode and model of the suggestion event that it is about.",
        columns=MART_SUGGESTIONS_FEEDBACK_DAILY_COLUMNS,
        reads=["stg_suggestion_events"],
        take_up=True,
    )
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_kpis",
        MART_SUGGESTIONS_KPIS,
        unique_key=["created_date"],
        comment="How good the category suggestions were, one row per UTC day, over the two daily marts.",
        columns=MART_SUGGESTIONS_KPIS_COLUMNS,
        reads=["mart_suggestions_daily", "mart_suggestions_feedback_daily"],
        take_up=True,
    )
    op.ledgerviews_untrack_sources(["public.suggestion_events", "public.suggestion_feedback"])
    op.ledgerviews_drop_source("suggestion_feedback")
    op.ledgerviews_drop_source("suggestion_events")
    op.ledgerviews_engine(version=1, previous=2)
