-- What the registry says of each published relation: how it was installed, and how long all of it took to compute.
SELECT
    r.schema_name,
    r.relation_name,
    pg_catalog.jsonb_build_object(
        'kind', r.kind,
        'definition', r.definition,
        'body', r.body,
        'unique_key', r.unique_key,
        'day', r.day_column,
        'day_definition', r.day_definition,
        'sources', r.sources,
        'rollup', r.rollup,
        'printed', r.printed,
        'printed_days', r.printed_days,
        'declared', r.declared,
        'history', r.history,
        'checks', (
            SELECT
                pg_catalog.jsonb_agg(
                    pg_catalog.jsonb_build_object(
                        'name', c.check_name,
                        'kind', c.kind,
                        'columns', c.columns,
                        'expression', c.expression,
                        'severity', c.severity
                    )
                    ORDER BY c.check_name
                )
            FROM ledgerviews.relation_check AS c
            WHERE c.schema_name = r.schema_name AND c.relation_name = r.relation_name
        ),
        'seconds', (
            SELECT EXTRACT(EPOCH FROM l.finished_at - l.started_at)
            FROM ledgerviews.run_relation AS l
            WHERE l.schema_name = r.schema_name AND l.relation_name = r.relation_name AND l.scope = 'all'
            ORDER BY l.run_id DESC
            LIMIT 1
        )
    )::text AS registered
FROM ledgerviews.relation AS r
UNION ALL
SELECT
    u.schema_name,
    u.relation_name,
    pg_catalog.jsonb_build_object(
        'kind', 'materialized view',
        'definition', u.definition,
        'printed', u.printed,
        'declared', u.declared,
        'history', u.history
    )::text AS registered
FROM ledgerviews.unrefreshed AS u;
