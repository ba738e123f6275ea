-- A table that was replaced by us carries another time of creation.
UPDATE ledgerviews.export_table AS t
SET table_created = %(created)s
WHERE t.target = %(target)s AND t.relation = %(relation)s;
