-- How many load jobs were sent for each relation in the last 24 hours, the failed ones with them.
SELECT
    j.relation,
    pg_catalog.count(*) AS jobs
FROM ledgerviews.export_job AS j
WHERE
    j.target = %(target)s
    AND j.operation IN ('stage', 'replace')
    AND j.sent_at > pg_catalog.clock_timestamp() - interval '24 hours'
GROUP BY j.relation;
