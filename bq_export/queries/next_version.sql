-- One more change of the table at the target.
UPDATE ledgerviews.export_table AS t
SET version = t.version + 1, exported_at = pg_catalog.clock_timestamp()
WHERE t.target = %(target)s AND t.relation = %(relation)s;
