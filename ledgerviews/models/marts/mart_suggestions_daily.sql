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
GROUP BY s.created_date, s.mode, s.model_id;
