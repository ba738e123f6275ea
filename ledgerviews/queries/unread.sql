-- What materialized views that are not by day read themselves and this role may not: if a mart, and which right lacks.
SELECT DISTINCT
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS relation,
    (n.nspname, c.relname) IN (
        SELECT
            r.schema_name,
            r.relation_name
        FROM ledgerviews.relation AS r
        WHERE r.kind = 'materialized view'
    ) AS mart,
    CASE
        WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN pg_catalog.quote_ident(n.nspname)
    END AS unused_schema,
    pg_catalog.has_table_privilege(c.oid, 'SELECT') AS selectable
FROM ledgerviews.relation AS p
INNER JOIN pg_catalog.pg_namespace AS s ON p.schema_name = s.nspname
INNER JOIN pg_catalog.pg_class AS m ON s.oid = m.relnamespace AND p.relation_name = m.relname
INNER JOIN pg_catalog.pg_rewrite AS w ON m.oid = w.ev_class
INNER JOIN pg_catalog.pg_depend AS d
    ON
        w.oid = d.objid
        AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.refobjid <> m.oid
INNER JOIN pg_catalog.pg_class AS c ON d.refobjid = c.oid
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
WHERE
    m.relkind = 'm'
    AND p.rollup IS NULL
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
ORDER BY relation;
