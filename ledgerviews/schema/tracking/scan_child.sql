-- What each day of a child looks like, each row on the day of its parent where there is one.
CREATE FUNCTION {scan}() RETURNS TABLE (day date, row_count bigint, fingerprint numeric)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp STABLE BEGIN ATOMIC
SELECT
    CASE WHEN p.{parent_key} IS NULL THEN ledgerviews.utc_day(t.{day}) ELSE ledgerviews.utc_day(p.{parent_day}) END,
    pg_catalog.count(*),
    pg_catalog.sum(pg_catalog.hashtidextended(t.ctid, (t.xmin::text::bigint << 32) | t.tableoid::bigint))
FROM {table} AS t
LEFT JOIN {parent} AS p ON p.{parent_key} = t.{key}
GROUP BY 1;
END;
REVOKE ALL ON FUNCTION {scan}() FROM PUBLIC;
