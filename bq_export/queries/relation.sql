-- A relation to export: its kind, whether it can be read, how many pages it has, its comment.
SELECT
    c.oid::bigint AS relation_id,
    c.relkind::text AS kind,
    c.relispopulated AS populated,
    pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
    CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) / 8192 ELSE 0 END AS pages,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
WHERE
    n.nspname = %(schema)s
    AND c.relname = %(name)s
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
