-- The run that is going on, else the latest that was not kept out by another, nor called with a name that is none.
SELECT
    r.run_id,
    r.state,
    r.started_at,
    r.finished_at,
    r.error
FROM ledgerviews.run AS r
LEFT JOIN pg_catalog.pg_stat_activity AS a
    ON
        r.backend_pid = a.pid
        AND (r.backend_started_at IS NULL OR a.backend_start IS NULL OR r.backend_started_at = a.backend_start)
ORDER BY
    (r.state = 'running' AND a.pid IS NOT NULL) DESC,
    r.state IN ('waiting', 'locked')
    -- As the engine says it, which has a failed_relation of what it begins to refresh.
    OR (
        r.state = 'failed' AND r.failed_relation IS NULL
        AND pg_catalog.strpos(COALESCE(r.error, ''), ' is no published materialized view') > 0
    ),
    r.run_id DESC
LIMIT 1;
