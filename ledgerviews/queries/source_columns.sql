-- The columns of the named tables: their types, down to what domains stand on, and what this role may do with them.
WITH RECURSIVE base AS (
    SELECT
        t.oid AS declared,
        t.oid AS type_id
    FROM pg_catalog.pg_type AS t
    UNION ALL
    SELECT
        b.declared,
        t.typbasetype
    FROM base AS b
    INNER JOIN pg_catalog.pg_type AS t ON t.oid = b.type_id AND t.typtype = 'd'
)

SELECT
    n.nspname AS schema_name,
    c.relname AS table_name,
    a.attname AS column_name,
    pg_catalog.format_type(a.atttypid, NULL) AS type_name,
    t.typname AS base_type,
    t.typtype AS type_kind,
    t.typcategory AS type_category,
    pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usable
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN (base AS b INNER JOIN pg_catalog.pg_type AS t ON t.oid = b.type_id AND t.typtype <> 'd')
    ON b.declared = a.atttypid
WHERE
    c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.relname = ANY(%(names)s::text[])
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY n.nspname, c.relname, a.attnum;
