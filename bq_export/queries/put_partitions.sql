-- What the partitions hold that a job gave to the target: their keys with fingerprint and number of rows.
INSERT INTO ledgerviews.export_partition (
    target, relation, partition_key, fingerprint, row_count, job_id
)
SELECT
    %(target)s,
    %(relation)s,
    u.partition_key,
    u.change ->> 0 AS fingerprint,
    (u.change ->> 1)::bigint AS row_count,
    %(job_id)s
FROM pg_catalog.jsonb_each(%(kept)s) AS u (partition_key, change)
ON CONFLICT (target, relation, partition_key) DO UPDATE
    SET
        fingerprint = excluded.fingerprint,
        row_count = excluded.row_count,
        job_id = excluded.job_id,
        exported_at = excluded.exported_at;
