-- A table is about to get a column that it lacks: what its partitions hold is not what was sent.
UPDATE ledgerviews.export_partition AS p
SET fingerprint = NULL
WHERE p.target = %(target)s AND p.relation = %(relation)s;
