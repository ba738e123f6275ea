-- Our jobs for a database, as far as this role sees them, each with its latest run.
SELECT
    j.jobname AS name,
    j.schedule,
    j.command,
    j.database,
    j.username,
    j.active,
    d.status,
    d.return_message AS message,
    d.start_time AS started_at,
    d.end_time AS finished_at
FROM cron.job AS j
LEFT JOIN LATERAL (
    SELECT
        r.status,
        r.return_message,
        r.start_time,
        r.end_time
    FROM cron.job_run_details AS r
    WHERE r.jobid = j.jobid
    ORDER BY r.runid DESC
    LIMIT 1
) AS d ON TRUE
WHERE j.jobname = ANY(%(names)s::text[])
ORDER BY j.jobname DESC, j.username;
