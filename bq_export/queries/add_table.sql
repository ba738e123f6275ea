-- A table that is new at the target.
INSERT INTO ledgerviews.export_table (target, relation, table_created)
VALUES (%(target)s, %(relation)s, %(created)s);
