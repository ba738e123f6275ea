-- A job that is about to be sent; the same one sent again is in doubt again.
INSERT INTO ledgerviews.export_job (
    job_id, run_id, target, relation, operation, change_id, generation, state, changes, staging
)
VALUES (
    %(job_id)s,
    %(run_id)s,
    %(target)s,
    %(relation)s,
    %(operation)s,
    %(change_id)s,
    %(generation)s,
    'sent',
    %(changes)s,
    %(staging)s
)
ON CONFLICT (job_id) DO UPDATE SET run_id = excluded.run_id, state = 'sent', finished_at = NULL, error = NULL;
