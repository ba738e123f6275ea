-- The publishing jobs that may have been done or not, oldest first.
SELECT
    j.job_id,
    j.relation,
    j.operation,
    j.change_id,
    j.generation,
    j.changes,
    j.staging,
    j.state
FROM ledgerviews.export_job AS j
WHERE
    j.target = %(target)s
    AND j.relation = %(relation)s
    AND j.operation IN ('publish', 'replace')
    AND j.state IN ('sent', 'stuck')
ORDER BY j.sent_at, j.job_id;
