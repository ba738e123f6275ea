-- What is known of a relation's table at the target.
SELECT
    t.lineage,
    t.version,
    t.table_created
FROM ledgerviews.export_table AS t
WHERE t.target = %(target)s AND t.relation = %(relation)s;
