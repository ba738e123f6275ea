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
FULL JOIN unlinked USING (created_date);
