-- Which relations other sessions have locked against others: name, process, application and role; the strongest first.
SELECT
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS relation,
    l.pid,
    COALESCE(a.application_name, '') AS application_name,
    COALESCE(a.usename, '') AS role
FROM pg_catalog.pg_locks AS l
INNER JOIN pg_catalog.pg_class AS c ON l.relation = c.oid
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
LEFT JOIN pg_catalog.pg_stat_activity AS a ON l.pid = a.pid
WHERE
    l.granted
    AND l.locktype = 'relation'
    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
    AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
    AND l.database = (
        SELECT d.oid
        FROM pg_catalog.pg_database AS d
        WHERE d.datname = pg_catalog.current_database()
    )
    AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
    AND n.nspname !~ '^pg_'
ORDER BY
    pg_catalog.array_position(
        ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock'], l.mode
    ) NULLS LAST,
    a.xact_start,
    c.oid
LIMIT 3;
