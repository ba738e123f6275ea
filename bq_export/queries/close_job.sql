-- How a job ended.
UPDATE ledgerviews.export_job AS j
SET state = %(state)s, error = %(error)s, finished_at = pg_catalog.clock_timestamp()
WHERE j.job_id = %(job_id)s;
