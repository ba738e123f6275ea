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
        CASE
            WHEN pg_catalog.bool_or(p.scope = 'all') THEN 'all'
            ELSE COALESCE(pg_catalog.max(p.days), 0)::text
        END AS days
    FROM ledgerviews.run_relation AS p
    WHERE p.run_id = r.run_id
) AS x ON TRUE
ORDER BY r.run_id DESC
LIMIT %(most)s;
