-- The sources as declared when their revision ran, columns by their names of now, and which triggers are amiss.
SELECT
    s.source,
    pg_catalog.jsonb_build_object(
        'schema', s.schema_name,
        'name', s.table_name,
        'day', COALESCE(k.day, s.day_column),
        'key', COALESCE(k.key, s.key_column),
        'parent', s.parent,
        'indexes', s.wanted_indexes,
        'amiss', CASE
            WHEN s.tracking <> 'none' AND t.oid IS NOT NULL THEN (
                WITH RECURSIVE part AS (
                    SELECT
                        t.oid,
                        t.relkind
                    UNION ALL
                    SELECT
                        c.oid,
                        c.relkind
                    FROM part AS p
                    INNER JOIN pg_catalog.pg_inherits AS h ON p.oid = h.inhparent
                    INNER JOIN pg_catalog.pg_class AS c ON h.inhrelid = c.oid
                    -- What inherits from a plain table takes no triggers on.
                    WHERE p.relkind = 'p'
                )

                SELECT
                    pg_catalog.jsonb_agg(
                        w.name
                        || CASE WHEN p.oid <> t.oid THEN ' on ' || p.oid::pg_catalog.regclass::text ELSE '' END
                        || CASE
                            WHEN g.oid IS NULL THEN ' is gone'
                            WHEN g.tgenabled = 'D' THEN ' is disabled'
                            ELSE ' is not ENABLE ALWAYS'
                        END
                        ORDER BY p.oid <> t.oid, p.oid::pg_catalog.regclass::text, w.name
                    )
                FROM part AS p
                CROSS JOIN (
                    VALUES ('ledgerviews_insert', 5), ('ledgerviews_update', 17), ('ledgerviews_delete', 9)
                ) AS w (name, type)
                LEFT JOIN (pg_catalog.pg_trigger AS g INNER JOIN pg_catalog.pg_proc AS f ON g.tgfoid = f.oid)
                    ON
                        p.oid = g.tgrelid AND w.name = g.tgname AND w.type = g.tgtype AND f.proname = s.stem || '_track'
                        AND f.pronamespace = 'ledgerviews'::pg_catalog.regnamespace
                WHERE g.oid IS NULL OR g.tgenabled <> 'A'
            )
        END
    )::text AS registered
FROM ledgerviews.source AS s
LEFT JOIN pg_catalog.pg_namespace AS n ON s.schema_name = n.nspname
LEFT JOIN pg_catalog.pg_class AS t ON n.oid = t.relnamespace AND s.table_name = t.relname
LEFT JOIN ledgerviews.source_columns() AS k ON s.source = k.source
ORDER BY s.parent IS NOT NULL, s.source;
