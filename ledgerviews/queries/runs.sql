-- The latest runs, newest first, each with what became of its relations and rows.
SELECT
    r.run_id,
    r.state,
    r.mode,
    r.requested_by,
    r.application_name,
    r.started_at,
    EXTRACT(EPOCH FROM r.finished_at - r.started_at)::double precision AS seconds,
    x.relations,
    x.changed,
    x.rows,
    x.days,
    r.failed_relation,
    r.error,
    r.drift
FROM ledgerviews.run AS r
LEFT JOIN LATERAL (
    SELECT
        pg_catalog.count(*) AS relations,
        pg_catalog.count(*) FILTER (WHERE p.method <> 'unchanged') AS changed,
        pg_catalog.sum(p.rows_inserted + COALESCE(p.rows_updated, 0) + p.rows_deleted)::bigint AS rows,
        -- What is not by day is recomputed as a whole with every change, and says nothing of the days.
        CASE
            WHEN pg_catalog.bool_or(p.scope = 'all' AND n.day_column IS NOT NULL) THEN 'all'
            WHEN pg_catalog.max(p.days) IS NOT NULL THEN pg_catalog.max(p.days)::text
            WHEN pg_catalog.bool_or(p.scope = 'all') THEN 'all'
            ELSE '0'
        END AS days
    FROM ledgerviews.run_relation AS p
    LEFT JOIN ledgerviews.relation AS n ON p.schema_name = n.schema_name AND p.relation_name = n.relation_name
    WHERE p.run_id = r.run_id
) AS x ON TRUE
ORDER BY r.run_id DESC
LIMIT %(most)s;
