-- What each day of a source looks like. A row that was written anew has another place or another writer, so
-- nothing of its content has to be read.
CREATE FUNCTION {scan}() RETURNS TABLE (day date, row_count bigint, fingerprint numeric)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp STABLE BEGIN ATOMIC
SELECT
    ledgerviews.utc_day(t.{day}),
    pg_catalog.count(*),
    pg_catalog.sum(pg_catalog.hashtidextended(t.ctid, (t.xmin::text::bigint << 32) | t.tableoid::bigint))
FROM {table} AS t
GROUP BY 1;
END;
REVOKE ALL ON FUNCTION {scan}() FROM PUBLIC;
