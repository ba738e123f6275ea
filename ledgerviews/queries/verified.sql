-- The latest run that compared all, and the latest whose scrub found drift.
SELECT
    v.run_id AS verified_run,
    v.finished_at AS verified_at,
    d.run_id AS drift_run,
    d.finished_at AS drift_at,
    d.drift
FROM (SELECT 1 AS one) AS o
LEFT JOIN LATERAL (
    SELECT
        r.run_id,
        r.finished_at
    FROM ledgerviews.run AS r
    WHERE r.mode = 'verify' AND r.state = 'succeeded' AND r.requested IS NULL
    ORDER BY r.run_id DESC
    LIMIT 1
) AS v ON TRUE
LEFT JOIN LATERAL (
    SELECT
        r.run_id,
        r.finished_at,
        r.drift
    FROM ledgerviews.run AS r
    WHERE r.drift IS NOT NULL
    ORDER BY r.run_id DESC
    LIMIT 1
) AS d ON TRUE;
