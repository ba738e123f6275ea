-- The version of the installed engine, NULL where its row is gone; and the version that its tables and functions show.
SELECT
    e.version,
    CASE
        WHEN pg_catalog.to_regprocedure('ledgerviews.restore()') IS NOT NULL THEN 3
        WHEN pg_catalog.to_regclass('ledgerviews.relation_state') IS NOT NULL THEN 2
        ELSE 1
    END AS shown
FROM (SELECT 1 AS one) AS o
LEFT JOIN ledgerviews.engine AS e ON TRUE;
