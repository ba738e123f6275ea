-- The columns of a published relation in their order, and those of its key.
SELECT
    (
        SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute AS a
        INNER JOIN pg_catalog.pg_class AS c ON a.attrelid = c.oid
        INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
        WHERE
            n.nspname = r.schema_name AND c.relname = r.relation_name
            AND a.attnum > 0 AND NOT a.attisdropped
    ) AS columns,
    r.unique_key
FROM ledgerviews.relation AS r
WHERE r.schema_name = %(schema)s AND r.relation_name = %(relation)s;
