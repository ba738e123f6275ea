-- The log of the writes to a source that is no parent and no child.
CREATE TABLE {change} AS
SELECT ledgerviews.utc_day(t.{day}) AS day, NULL::pg_catalog.text AS key FROM {table} AS t WITH NO DATA;
-- Its rows are deleted, which a publication of all tables refuses where it cannot name them.
ALTER TABLE {change} REPLICA IDENTITY FULL;
