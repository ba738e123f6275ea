-- How many load jobs were sent for each relation in the last 24 hours, the failed ones with them, and how many
-- changes of partitions its publishing made: a transaction deletes and inserts, a load does both in one.
SELECT
    j.relation,
    pg_catalog.count(*) FILTER (WHERE j.operation IN ('stage', 'replace')) AS jobs,
    COALESCE(
        pg_catalog.sum(
            CASE j.operation WHEN 'publish' THEN 2 WHEN 'replace' THEN 1 ELSE 0 END
            * (SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_object_keys(j.changes -> 'partitions'))
        ),
        0
    )::bigint AS changes
FROM ledgerviews.export_job AS j
WHERE
    j.target = %(target)s
    AND j.sent_at > pg_catalog.clock_timestamp() - interval '24 hours'
GROUP BY j.relation;
