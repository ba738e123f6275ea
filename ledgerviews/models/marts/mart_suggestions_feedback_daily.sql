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
FULL JOIN answers USING (created_date, mode, model_id);
