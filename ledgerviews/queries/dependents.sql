-- All that reads the relations that are asked for, at any depth, functions too; and how large are the tables they read.
WITH RECURSIVE asked AS (
    SELECT c.oid
    FROM pg_catalog.json_to_recordset(%(wanted)s::json) AS w (schema_name text, relation_name text)
    INNER JOIN pg_catalog.pg_namespace AS n ON w.schema_name = n.nspname
    INNER JOIN pg_catalog.pg_class AS c ON n.oid = c.relnamespace AND w.relation_name = c.relname
),

edge AS (
    SELECT DISTINCT
        w.ev_class AS reader,
        d.refobjid AS read_one
    FROM pg_catalog.pg_depend AS d
    INNER JOIN pg_catalog.pg_rewrite AS w ON d.objid = w.oid
    WHERE
        d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.refobjid <> w.ev_class
    UNION
    -- What a rollup is computed from.
    SELECT
        t.oid AS reader,
        h.oid AS read_one
    FROM pg_catalog.pg_namespace AS n
    INNER JOIN pg_catalog.pg_class AS h ON n.oid = h.relnamespace
    INNER JOIN pg_catalog.pg_class AS t ON n.oid = t.relnamespace
    WHERE n.nspname = 'ledgerviews' AND h.relkind = 'v' AND t.relkind = 'r' AND h.relname = t.relname || '_whole'
    UNION
    -- A function whose body is parsed, as BEGIN ATOMIC is.
    SELECT
        d.objid,
        d.refobjid
    FROM pg_catalog.pg_depend AS d
    INNER JOIN pg_catalog.pg_proc AS f ON d.objid = f.oid
    WHERE
        d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND f.prosqlbody IS NOT NULL AND f.pronamespace <> 'ledgerviews'::pg_catalog.regnamespace
),

above AS (
    SELECT a.oid FROM asked AS a
    UNION
    SELECT e.reader
    FROM above AS u
    INNER JOIN edge AS e ON u.oid = e.read_one
),

below AS (
    SELECT
        u.oid AS reader,
        u.oid
    FROM above AS u
    UNION
    SELECT
        b.reader,
        e.read_one
    FROM below AS b
    INNER JOIN edge AS e ON b.oid = e.reader
)

SELECT
    n.nspname::text AS schema_name,
    c.relname::text AS relation_name,
    CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
    ARRAY(
        SELECT (m.nspname || '.' || r.relname)::text
        FROM edge AS e
        INNER JOIN pg_catalog.pg_class AS r ON e.read_one = r.oid
        INNER JOIN pg_catalog.pg_namespace AS m ON r.relnamespace = m.oid
        WHERE e.reader = c.oid
        ORDER BY 1
    ) AS reads,
    (
        SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_table_size(b.oid)), 0)::bigint
        FROM below AS b
        INNER JOIN pg_catalog.pg_class AS s ON b.oid = s.oid
        WHERE
            b.reader = c.oid AND s.relkind IN ('r', 'm') AND b.oid <> c.oid
            AND s.relnamespace <> 'ledgerviews'::pg_catalog.regnamespace
    ) AS source_bytes
FROM above AS u
INNER JOIN pg_catalog.pg_class AS c ON u.oid = c.oid
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
UNION ALL
SELECT
    n.nspname::text AS schema_name,
    f.proname::text AS relation_name,
    'function' AS kind,
    ARRAY(
        SELECT (m.nspname || '.' || r.relname)::text
        FROM edge AS e
        INNER JOIN pg_catalog.pg_class AS r ON e.read_one = r.oid
        INNER JOIN pg_catalog.pg_namespace AS m ON r.relnamespace = m.oid
        WHERE e.reader = f.oid
        ORDER BY 1
    ) AS reads,
    0 AS source_bytes
FROM above AS u
INNER JOIN pg_catalog.pg_proc AS f ON u.oid = f.oid
INNER JOIN pg_catalog.pg_namespace AS n ON f.pronamespace = n.oid
ORDER BY 1, 2;
