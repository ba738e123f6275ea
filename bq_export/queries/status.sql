-- What is known of each table at the target.
SELECT
    t.relation,
    t.version,
    t.exported_at,
    pg_catalog.count(p.partition_key) AS partitions,
    COALESCE(pg_catalog.sum(p.row_count), 0)::bigint AS row_count,
    pg_catalog.count(p.partition_key) FILTER (WHERE p.fingerprint IS NULL) AS unknown
FROM ledgerviews.export_table AS t
LEFT JOIN ledgerviews.export_partition AS p ON t.target = p.target AND t.relation = p.relation
WHERE t.target = %(target)s
GROUP BY t.relation, t.version, t.exported_at
ORDER BY t.relation;
