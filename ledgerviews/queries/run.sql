-- One run: when it began, how long it took (seconds), how it ended.
SELECT
    r.started_at,
    EXTRACT(EPOCH FROM r.finished_at - r.started_at)::double precision AS seconds,
    r.state
FROM ledgerviews.run AS r
WHERE r.run_id = %(run_id)s;
