-- Engine version 3: what the measurements at 10 million events, and PostgreSQL 18, changed in the refresh.

-- Two workers for the open days, whose rows the planner can only guess at, took twice as long as none: their nested
-- loops read what one process finds in its own cache. docs/decisions/0018-days-without-workers.md has the figures.
ALTER FUNCTION ledgerviews.fill_nested(text, date, date) SET max_parallel_workers_per_gather = 0;
ALTER FUNCTION ledgerviews.fill_nested(text, date, date) RESET parallel_setup_cost;

-- A trigger is given a row whose virtual generated columns (PostgreSQL 18) are not computed, so it logs a wrong day.
DROP FUNCTION ledgerviews.doubt(jsonb, jsonb);
CREATE FUNCTION ledgerviews.doubt(seen jsonb, now jsonb) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN seen IS NULL THEN 'tracking begins'
    WHEN seen -> 'cluster' <> now -> 'cluster' OR seen -> 'database' <> now -> 'database' THEN 'the database was restored or copied'
    WHEN seen -> 'tracking' <> now -> 'tracking' THEN 'tracking begins'
    WHEN ARRAY(SELECT pg_catalog.jsonb_object_keys(seen -> 'files')) <> ARRAY(SELECT pg_catalog.jsonb_object_keys(now -> 'files'))
        THEN 'it was made anew, or its partitions are others'
    WHEN seen -> 'files' IS DISTINCT FROM now -> 'files' THEN 'it was truncated or rewritten'
    WHEN seen -> 'triggers' IS DISTINCT FROM now -> 'triggers' THEN 'its triggers were altered, so writes may have gone unseen'
    WHEN seen -> 'labels' IS DISTINCT FROM now -> 'labels' THEN 'an enumerated type that it uses was altered'
    WHEN seen -> 'log' IS DISTINCT FROM now -> 'log' THEN 'its log was emptied or rewritten'
    WHEN EXISTS (
        SELECT
        FROM ledgerviews.source AS s
        JOIN pg_catalog.pg_proc AS f
            ON f.pronamespace = 'ledgerviews'::pg_catalog.regnamespace AND f.proname IN (s.stem || '_day', s.stem || '_link')
        JOIN pg_catalog.pg_depend AS d
            ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attgenerated = 'v'
        WHERE now -> 'files' ? a.attrelid::text
    ) THEN 'its day or its key is a virtual generated column, which no trigger sees'
END;
COMMENT ON FUNCTION ledgerviews.doubt(jsonb, jsonb) IS 'Why the log since a source was last seen does not tell all that changed; NULL where it does.';
