-- What a session waits for, if it is a relation, and who keeps it from that: process, application, role, prepared one.
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

SELECT DISTINCT
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS relation,
    b.pid,
    COALESCE(a.application_name, '') AS application_name,
    COALESCE(a.usename, p.owner, '') AS role,
    p.gid,
    a.xact_start
FROM pg_catalog.pg_locks AS l
CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b (pid)
LEFT JOIN pg_catalog.pg_stat_activity AS a ON b.pid = a.pid
LEFT JOIN pg_catalog.pg_class AS c ON l.locktype = 'relation' AND l.relation = c.oid
LEFT JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
-- pg_blocking_pids gives 0 for each prepared transaction: it is one that holds the same.
LEFT JOIN pg_catalog.pg_locks AS h
    ON
        b.pid = 0
        AND h.pid IS NULL
        AND h.granted
        AND (h.locktype, h.database, h.relation, h.transactionid, h.classid, h.objid, h.objsubid)
        IS NOT DISTINCT FROM
        (l.locktype, l.database, l.relation, l.transactionid, l.classid, l.objid, l.objsubid)
LEFT JOIN prepared AS p ON h.virtualtransaction = p.virtualtransaction
WHERE
    l.pid = %(pid)s
    AND NOT l.granted
ORDER BY a.xact_start
LIMIT 3;
