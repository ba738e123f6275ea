-- Partitions of which a job that may still end one day makes the content unknown.
INSERT INTO ledgerviews.export_partition (
    target, relation, partition_key, fingerprint, row_count, job_id
)
SELECT
    %(target)s,
    %(relation)s,
    u.partition_key,
    NULL::text AS fingerprint,
    0 AS row_count,
    %(job_id)s
FROM (
    SELECT k.partition_key FROM pg_catalog.unnest(%(keys)s::text[]) AS k (partition_key)
    UNION
    SELECT p.partition_key
    FROM ledgerviews.export_partition AS p
    WHERE %(whole)s AND p.target = %(target)s AND p.relation = %(relation)s
) AS u
ON CONFLICT (target, relation, partition_key) DO UPDATE
    SET fingerprint = NULL, job_id = excluded.job_id;
