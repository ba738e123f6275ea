-- One run: who asked for what, when it began, how long it took (seconds), how it ended.
SELECT
    r.run_id,
    r.state,
    r.mode,
    r.requested,
    r.requested_by,
    r.application_name,
    r.started_at,
    EXTRACT(EPOCH FROM r.finished_at - r.started_at)::double precision AS seconds,
    r.failed_relation,
    r.error,
    r.drift,
    r.scrub_seconds
FROM ledgerviews.run AS r
WHERE r.run_id = %(run_id)s;
