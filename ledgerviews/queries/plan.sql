-- What a refresh would do, in order; ranges of days by their first and last, an open end being NULL.
SELECT
    p.schema_name,
    p.relation_name,
    p.scope,
    p.days,
    p.reason,
    p.tentative,
    ARRAY(
        SELECT pg_catalog.lower(d.days)::text
        FROM pg_catalog.unnest(p.ranges) AS d (days)
        ORDER BY d.days
    ) AS first_days,
    ARRAY(
        SELECT CASE WHEN pg_catalog.upper(d.days) < date '10000-01-01' THEN (pg_catalog.upper(d.days) - 1)::text END
        FROM pg_catalog.unnest(p.ranges) AS d (days)
        ORDER BY d.days
    ) AS last_days
FROM ledgerviews.plan(%(relations)s::text[], %(mode)s::text, %(upstream)s::boolean) AS p
ORDER BY p.position;
