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
FROM public.suggestion_events AS e;
