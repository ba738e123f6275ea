-- What an index's name stands for: whose it is, whether it is valid, and who is building it just now.
SELECT
    i.indrelid AS relation,
    i.indisvalid AS valid,
    (
        SELECT pg_catalog.min(p.pid)
        FROM pg_catalog.pg_stat_progress_create_index AS p
        WHERE p.index_relid = c.oid
    ) AS building
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
LEFT JOIN pg_catalog.pg_index AS i ON c.oid = i.indexrelid
WHERE n.nspname = %(schema)s AND c.relname = %(name)s;
