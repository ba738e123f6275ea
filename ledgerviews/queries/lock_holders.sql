-- Which relations others have locked, and who: of ours by what keeps out, else by anything; of the rest where none is.
WITH held AS (
    SELECT
        c.oid,
        l.pid,
        l.virtualtransaction,
        n.nspname = 'ledgerviews' OR c.oid = ANY(%(ours)s::oid[]) AS ours,
        pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS relation,
        pg_catalog.min(
            pg_catalog.array_position(
                ARRAY[
                    'AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock',
                    'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock', 'AccessShareLock'
                ],
                l.mode
            )
        ) AS weakness
    FROM pg_catalog.pg_locks AS l
    INNER JOIN pg_catalog.pg_class AS c ON l.relation = c.oid
    INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
    WHERE
        l.granted
        AND l.locktype = 'relation'
        AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
        AND l.database = (
            SELECT d.oid
            FROM pg_catalog.pg_database AS d
            WHERE d.datname = pg_catalog.current_database()
        )
        AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
        AND n.nspname !~ '^pg_'
    GROUP BY c.oid, l.pid, l.virtualtransaction, n.nspname, c.relname
),

ranked AS (
    SELECT
        h.*,
        -- Readers and writers keep only migrations out, so they are named where nobody holds more.
        pg_catalog.rank() OVER (
            ORDER BY CASE WHEN h.ours AND h.weakness <= 4 THEN 1 WHEN h.ours THEN 2 ELSE 3 END
        ) AS place
    FROM held AS h
    WHERE h.ours OR h.weakness <= 4
),

prepared AS (
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
    r.relation,
    r.pid,
    COALESCE(a.application_name, '') AS application_name,
    COALESCE(a.usename, p.owner, '') AS role,
    p.gid
FROM ranked AS r
LEFT JOIN pg_catalog.pg_stat_activity AS a ON r.pid = a.pid
LEFT JOIN prepared AS p ON r.pid IS NULL AND r.virtualtransaction = p.virtualtransaction
WHERE r.place = 1
ORDER BY r.weakness, a.xact_start, r.oid
LIMIT 3;
