-- What a run did to each relation, in order, and how long the whole took.
SELECT
    x.schema_name,
    x.relation_name,
    x.method,
    x.scope,
    x.days,
    x.reason,
    x.rows_before,
    x.rows_after,
    x.rows_inserted,
    x.rows_updated,
    x.rows_deleted,
    EXTRACT(EPOCH FROM x.finished_at - x.started_at)::double precision AS seconds
FROM ledgerviews.run_relation AS x
WHERE x.run_id = %(run_id)s
ORDER BY x.position;
