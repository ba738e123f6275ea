-- The last generation of a job that was sent for a change, and how it ended.
SELECT
    j.generation,
    j.state
FROM ledgerviews.export_job AS j
WHERE j.change_id = %(change_id)s AND j.operation = %(operation)s
ORDER BY j.generation DESC
LIMIT 1;
