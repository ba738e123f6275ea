"""The four relations on the quality of category suggestions.

Frozen: the text below is what this revision installs, whatever the models say later.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

import ledgerviews.schema  # noqa: F401  (registers op.ledgerviews_*)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What the relations below read. Checked, with that of all pending revisions, before anything is created.
source_contract = {
    "public.suggestion_events": {
        "id": "uuid",
        "txn_id": "integer",
        "model_id": "text",
        "features_hash": "text",
        "candidates": "jsonb | json",
        "mode": "text",
        "created_at": "timestamp | timestamptz",
    },
    "public.suggestion_feedback": {
        "event_id": "uuid",
        "action": "text | enum",
        "label": "text",
        "created_at": "timestamptz | timestamp",
    },
}

STG_SUGGESTION_EVENTS = """\
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
FROM public.suggestion_events AS e
"""

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


def upgrade() -> None:
    op.ledgerviews_create_view(
        "stg_suggestion_events",
        STG_SUGGESTION_EVENTS,
        comment="One row per category suggestion event, with its UTC day and what its candidates say.",
        columns={
            "event_id": "The event's id.",
            "txn_id": "The transaction that the suggestion was made for.",
            "model_id": "What was asked: heuristic@v1, lgbm@<sha>; NULL when unknown.",
            "features_hash": "Hash of the features that the model saw.",
            "candidates": "The suggested categories as the application wrote them, best first.",
            "mode": "The mode requested: heuristic, model or auto; not what answered.",
            "created_at": "When the suggestion was made, UTC.",
            "created_date": "UTC day of created_at; 0001-01-01 where that is no time in the years 1 to 9999.",
            "candidate_count": "Number of candidates; 0 where candidates is not an array.",
            "top_confidence": "Confidence of the first candidate, where it has a numeric one.",
            "top_label": "Label of the first candidate, where it has a textual one.",
            "effective_mode": "What answered, model or heuristic: by the first candidate's source, else by model_id, else by the mode requested (auto without a model is the heuristic).",
        },
    )
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_daily",
        MART_SUGGESTIONS_DAILY,
        unique_key=["created_date", "mode", "model_id"],
        reads=["stg_suggestion_events"],
        comment="Suggestion events by UTC day, requested mode and model.",
        columns={
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
        },
    )
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_feedback_daily",
        MART_SUGGESTIONS_FEEDBACK_DAILY,
        unique_key=["created_date", "mode", "model_id"],
        reads=["stg_suggestion_events"],
        comment="Feedback by UTC day, requested mode and model of the suggestion event that it is about.",
        columns={
            "created_date": "UTC day of the event, so late feedback counts for the event's day; the feedback's own day where its event is unknown.",
            "mode": "The mode requested by the event; (none) when unknown, (unlinked) without an event.",
            "model_id": "The model asked by the event; (none) when unknown, (unlinked) without an event.",
            "events": "Distinct events, with or without feedback; 0 for unlinked feedback.",
            "accepts": "Feedback rows that accept a suggestion.",
            "rejects": "Feedback rows that reject one.",
            "undos": "Feedback rows that take an answer back.",
            "accept_rate": "accepts / (accepts + rejects); NULL where there are neither.",
            "feedback_late": "Feedback rows that came more than 24 hours after their event.",
            "feedback_other": "Feedback rows with any other action.",
        },
    )
    op.ledgerviews_create_materialized_view(
        "mart_suggestions_kpis",
        MART_SUGGESTIONS_KPIS,
        unique_key=["created_date"],
        reads=["mart_suggestions_daily", "mart_suggestions_feedback_daily"],
        comment="How good the category suggestions were, one row per UTC day, over the two daily marts.",
        columns={
            "created_date": "UTC day; one row for every day that stands in either daily mart.",
            "events_total": "Suggestion events.",
            "events_model": "Events whose requested mode was model.",
            "events_heuristic": "Events whose requested mode was heuristic.",
            "avg_candidate_count_overall": "Candidates over events; NULL on a day with feedback only.",
            "accept_rate_overall": "accepts / (accepts + rejects) of feedback whose event is known; NULL where there is neither.",
            "events_auto": "Events whose requested mode was auto.",
            "answered_by_model": "Events that a model answered.",
            "answered_by_heuristic": "Events that the heuristic answered.",
            "feedback_unlinked": "Feedback rows of this day whose event is unknown.",
        },
    )


def downgrade() -> None:
    op.ledgerviews_drop_materialized_view("mart_suggestions_kpis")
    op.ledgerviews_drop_materialized_view("mart_suggestions_feedback_daily")
    op.ledgerviews_drop_materialized_view("mart_suggestions_daily")
    op.ledgerviews_drop_view("stg_suggestion_events")
