-- Who holds the lock of refreshes: process, application, role and prepared transaction; and the run, if it is one.
WITH prepared AS (
    -- No process holds the locks of a prepared transaction, but one of them is on its own number.
    SELECT
        l.virtualtransaction,
        p.gid,
        p.owner
    FROM pg_catalog.pg_prepared_xacts AS p
    INNER JOIN pg_catalog.pg_locks AS l ON p.transaction = l.transactionid
    WHERE l.pid IS NULL
)

SELECT
    l.pid,
    COALESCE(a.application_name, '') AS application_name,
    COALESCE(a.usename, p.owner, '') AS role,
    p.gid,
    r.run_id
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON l.pid = a.pid
LEFT JOIN prepared AS p ON l.pid IS NULL AND l.virtualtransaction = p.virtualtransaction
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
