-- Which rows of a child had no parent at the last refresh.
CREATE TABLE {orphan} AS
SELECT t.{key} AS key, ledgerviews.utc_day(t.{day}) AS day FROM {table} AS t WITH NO DATA;
DO $body$
BEGIN
    -- A key may be longer than what a btree takes, where some bug wrote it.
    CREATE INDEX {orphan_index} ON {orphan} USING hash (key);
EXCEPTION WHEN undefined_object THEN
    CREATE INDEX {orphan_index} ON {orphan} (key);
END
$body$;
ALTER TABLE {orphan} REPLICA IDENTITY FULL;
COMMENT ON TABLE {orphan} IS 'Rows, by the key they point at and their own day, whose parent did not exist at the last refresh.';
