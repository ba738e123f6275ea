-- The log of a source's writes: the day, and of a parent the key that is gone, of a child the parent's key.
CREATE TABLE {change} AS
SELECT ledgerviews.utc_day(t.{day}) AS day, t.{key} AS key FROM {table} AS t WITH NO DATA;
-- Its rows are deleted, which a publication of all tables refuses where it cannot name them.
ALTER TABLE {change} REPLICA IDENTITY FULL;
