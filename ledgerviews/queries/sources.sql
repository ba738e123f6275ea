-- The sources: how each is tracked, whether scanned, what hinders that, what its next refresh doubts, and who owns it.
SELECT
    s.source,
    s.schema_name,
    s.table_name,
    s.tracking,
    -- Without triggers on its parent nothing else tells which rows of a child lost or found theirs.
    s.tracking = 'none' OR COALESCE(p.tracking = 'none', FALSE) AS scanned,
    n.problem,
    CASE WHEN s.tracking <> 'none' THEN ledgerviews.doubt(s.seen, n.condition) END AS doubt,
    ledgerviews.missing_indexes(s.source) AS missing_indexes,
    o.rolname AS owner,
    COALESCE(pg_catalog.pg_has_role(c.relowner, 'USAGE'), FALSE) AS owned,
    e.rolname AS engine_owner,
    pg_catalog.pg_has_role(e.oid, 'USAGE') AS engine_owned
FROM ledgerviews.source AS s
INNER JOIN ledgerviews.source_now AS n ON s.source = n.source
INNER JOIN pg_catalog.pg_class AS r ON r.oid = 'ledgerviews.source'::pg_catalog.regclass
INNER JOIN pg_catalog.pg_roles AS e ON r.relowner = e.oid
LEFT JOIN ledgerviews.source AS p ON s.parent = p.source
LEFT JOIN pg_catalog.pg_namespace AS m ON s.schema_name = m.nspname
LEFT JOIN pg_catalog.pg_class AS c ON m.oid = c.relnamespace AND s.table_name = c.relname
LEFT JOIN pg_catalog.pg_roles AS o ON c.relowner = o.oid
ORDER BY s.source;
