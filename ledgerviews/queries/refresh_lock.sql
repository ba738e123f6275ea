-- Who holds the lock of refreshes: their process, application and role, and the run that it is, if it is one.
SELECT
    l.pid,
    COALESCE(a.application_name, '') AS application_name,
    COALESCE(a.usename, '') AS role,
    r.run_id
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON l.pid = a.pid
LEFT JOIN ledgerviews.run AS r ON l.pid = r.backend_pid AND r.state = 'running'
WHERE
    l.granted
    -- A dump holds the least of them, which keeps nobody out.
    AND l.mode <> 'AccessShareLock'
    AND l.locktype = 'relation'
    AND l.relation = 'ledgerviews.refresh_lock'::pg_catalog.regclass
    AND l.database = (
        SELECT d.oid
        FROM pg_catalog.pg_database AS d
        WHERE d.datname = pg_catalog.current_database()
    )
ORDER BY r.run_id DESC NULLS LAST
LIMIT 1;
