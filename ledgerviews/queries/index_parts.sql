-- A table and its partitions, parents first, each with what stands under a name in its schema.
SELECT
    t.relid AS relation,
    t.parentrelid AS parent,
    n.nspname AS schema_name,
    c.relname AS table_name,
    c.relkind AS kind
FROM pg_catalog.pg_class AS r
INNER JOIN LATERAL (
    SELECT
        r.oid AS relid,
        NULL::oid AS parentrelid,
        0 AS level
    UNION ALL
    SELECT
        p.relid::oid,
        p.parentrelid::oid,
        p.level
    FROM pg_catalog.pg_partition_tree(r.oid) AS p
    WHERE p.level > 0
) AS t ON TRUE
INNER JOIN pg_catalog.pg_class AS c ON t.relid = c.oid
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
WHERE r.oid = %(relation)s
ORDER BY t.level, n.nspname, c.relname;
