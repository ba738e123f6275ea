-- Suggestion events by UTC day, requested mode and model.
SELECT
    s.created_date,
    COALESCE(s.mode, '(none)')::text AS mode,
    COALESCE(s.model_id, '(none)')::text AS model_id,
    COUNT(*) AS events,
    SUM(s.candidate_count)::double precision / COUNT(*) AS avg_candidate_count,
    SUM(s.candidate_count)::bigint AS candidates_total,
    COUNT(DISTINCT s.txn_id) AS txns,
    COUNT(*) FILTER (WHERE s.candidate_count > 0) AS covered_events,
    COUNT(*) FILTER (WHERE s.candidate_count = 0) AS empty_events,
    COUNT(*) FILTER (WHERE s.effective_mode = 'model') AS answered_by_model,
    COUNT(*) FILTER (WHERE s.effective_mode = 'heuristic') AS answered_by_heuristic
FROM public.stg_suggestion_events AS s
GROUP BY 1, 2, 3;
