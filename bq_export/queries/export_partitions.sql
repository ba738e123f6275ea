-- What each partition at the target holds, as far as it is known.
SELECT
    p.partition_key,
    p.fingerprint,
    p.row_count
FROM ledgerviews.export_partition AS p
WHERE p.target = %(target)s AND p.relation = %(relation)s;
