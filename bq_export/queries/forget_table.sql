-- Forget a table that is no longer the one that was exported to, its partitions with it.
DELETE FROM ledgerviews.export_table AS t
WHERE t.target = %(target)s AND t.relation = %(relation)s;
