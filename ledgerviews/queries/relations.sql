-- The published relations as installed: what stands there now, and their last refresh.
SELECT
    r.schema_name,
    r.relation_name,
    r.kind,
    CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE c.relkind::text END AS found_kind,
    COALESCE(c.relispopulated, FALSE) AS populated,
    CASE WHEN c.relkind = 'm' THEN pg_catalog.pg_total_relation_size(c.oid) END AS size_bytes,
    v.unique_index IS NOT NULL AS has_unique_index,
    x.finished_at AS last_refresh,
    pg_catalog.to_jsonb(r.*) #>> '{declared,exact}' IS NOT NULL AS entity
FROM ledgerviews.relation AS r
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema_name
LEFT JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = n.oid AND c.relname = r.relation_name
LEFT JOIN ledgerviews.materialized_view AS v ON c.oid = v.relation
LEFT JOIN LATERAL (
    SELECT l.finished_at
    FROM ledgerviews.run_relation AS l
    WHERE
        l.schema_name = r.schema_name
        AND l.relation_name = r.relation_name
        AND l.finished_at >= r.installed_at
    ORDER BY l.run_id DESC
    LIMIT 1
) AS x ON TRUE
ORDER BY r.kind DESC, r.schema_name, r.relation_name;
