-- The latest run that was begun, whatever became of it.
SELECT
    r.run_id,
    r.state,
    r.started_at,
    r.finished_at,
    r.error
FROM ledgerviews.run AS r
ORDER BY r.run_id DESC
LIMIT 1;
