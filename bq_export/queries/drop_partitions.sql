-- Partitions that a job took away from the target.
DELETE FROM ledgerviews.export_partition AS p
WHERE
    p.target = %(target)s
    AND p.relation = %(relation)s
    AND (%(whole)s OR p.partition_key = ANY(%(gone)s::text[]));
