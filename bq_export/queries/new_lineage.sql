-- The jobs to come are none of those that were sent before, remembered or not.
UPDATE ledgerviews.export_table AS t
SET lineage = pg_catalog.gen_random_uuid()
WHERE t.target = %(target)s AND t.relation = %(relation)s;
