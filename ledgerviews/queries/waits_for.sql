-- What a session waits for, and who keeps it from that: the relation, if it is one, process, application and role.
SELECT
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS relation,
    b.pid,
    COALESCE(a.application_name, '') AS application_name,
    COALESCE(a.usename, '') AS role
FROM pg_catalog.pg_locks AS l
CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b (pid)
LEFT JOIN pg_catalog.pg_stat_activity AS a ON b.pid = a.pid
LEFT JOIN pg_catalog.pg_class AS c ON l.locktype = 'relation' AND l.relation = c.oid
LEFT JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
WHERE
    l.pid = %(pid)s
    AND NOT l.granted
ORDER BY a.xact_start
LIMIT 3;
