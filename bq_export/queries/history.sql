-- The latest runs, newest first.
SELECT
    r.run_id,
    r.state,
    r.started_at,
    EXTRACT(EPOCH FROM r.finished_at - r.started_at)::double precision AS seconds,
    r.requested,
    r.full_load,
    r.relations,
    r.partitions,
    r.rows_sent,
    r.bytes_sent,
    r.bytes_billed,
    r.error
FROM ledgerviews.export_run AS r
WHERE r.target = %(target)s
ORDER BY r.run_id DESC
LIMIT %(most)s;
