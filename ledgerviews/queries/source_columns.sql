-- The columns of the named tables: their types, and whether this role may read them.
SELECT
    n.nspname AS schema_name,
    c.relname AS table_name,
    a.attname AS column_name,
    pg_catalog.format_type(a.atttypid, NULL) AS type_name,
    CASE WHEN t.typtype = 'd' THEN b.typname ELSE t.typname END AS base_type,
    CASE WHEN t.typtype = 'd' THEN b.typtype ELSE t.typtype END AS type_kind,
    CASE WHEN t.typtype = 'd' THEN b.typcategory ELSE t.typcategory END AS type_category,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type AS b ON b.oid = t.typbasetype
WHERE
    c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.relname = ANY(%(names)s::text [])
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY n.nspname, c.relname, a.attnum;
