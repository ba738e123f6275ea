-- The sources as they were declared when their revision ran, and whether the triggers that were put on still stand.
SELECT
    s.source,
    pg_catalog.jsonb_build_object(
        'schema', s.schema_name,
        'name', s.table_name,
        'day', s.day_column,
        'key', s.key_column,
        'parent', s.parent,
        'indexes', s.wanted_indexes,
        'untracked', s.tracking <> 'none' AND t.oid IS NOT NULL AND NOT EXISTS (
            SELECT
            FROM pg_catalog.pg_trigger AS g
            INNER JOIN pg_catalog.pg_proc AS f ON g.tgfoid = f.oid
            WHERE
                g.tgrelid = t.oid AND f.proname = s.stem || '_track'
                AND f.pronamespace = 'ledgerviews'::pg_catalog.regnamespace
        )
    )::text AS registered
FROM ledgerviews.source AS s
LEFT JOIN pg_catalog.pg_namespace AS n ON s.schema_name = n.nspname
LEFT JOIN pg_catalog.pg_class AS t ON n.oid = t.relnamespace AND s.table_name = t.relname
ORDER BY s.parent IS NOT NULL, s.source;
