-- The run that a session called the last: its number, its state, and whether the session is still there.
SELECT
    r.run_id,
    r.state,
    a.pid IS NOT NULL AS lives
FROM ledgerviews.run AS r
LEFT JOIN pg_catalog.pg_stat_activity AS a
    ON
        r.backend_pid = a.pid
        AND (r.backend_started_at IS NULL OR a.backend_start IS NULL OR r.backend_started_at = a.backend_start)
WHERE
    r.backend_pid = %(pid)s
    -- A process id may have been another session's before, and a minute is for what the two clocks differ in.
    AND r.started_at > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(seconds)s + 60.0)
ORDER BY r.run_id DESC
LIMIT 1;
