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
    WHEN seen -> 'columns' IS DISTINCT FROM now -> 'columns' THEN 'a column that its triggers log was altered'
    WHEN seen -> 'labels' IS DISTINCT FROM now -> 'labels' THEN 'an enumerated type that it uses was altered'
    WHEN seen -> 'generated' IS DISTINCT FROM now -> 'generated' THEN 'a generated column that it has was altered'
    WHEN seen -> 'hidden' IS DISTINCT FROM now -> 'hidden' THEN 'row level security on it was altered'
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

DROP FUNCTION ledgerviews.scrub(bigint);
CREATE FUNCTION ledgerviews.scrub(run_id bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_mart record;
    v_began timestamptz := pg_catalog.clock_timestamp();
    v_found text;
    v_drift text;
BEGIN
    -- A refresh that runs or waits writes the same rows: it would begin again, three times among many, or this would
    -- wait for its end. It goes first; the lock is given back at once.
    BEGIN
        LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE NOWAIT;
        RAISE EXCEPTION USING ERRCODE = 'LV000';
    EXCEPTION
        WHEN SQLSTATE 'LV000' THEN NULL;
        WHEN lock_not_available THEN RETURN;
    END;
    FOR v_mart IN
        SELECT m.relation, m.schema_name, m.relation_name FROM ledgerviews.materialized_view AS m
        WHERE m.rollup IS NOT NULL AND m.populated
        ORDER BY m.schema_name, m.relation_name
    LOOP
        v_found := ledgerviews.scrub_relation(v_mart.schema_name, v_mart.relation_name);
        IF v_found IS NOT NULL THEN
            -- Where a table only looks empty, this raises, and nothing of the scrub is kept.
            PERFORM ledgerviews.refuse_rewritten(ARRAY[v_mart.relation]);
            RAISE WARNING 'Drift: %. The next refresh recomputes it as a whole.', v_found;
            v_drift := pg_catalog.concat_ws('; ', v_drift, v_found);
        END IF;
    END LOOP;
    UPDATE ledgerviews.run AS r
    SET drift = v_drift, scrub_seconds = EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - v_began)
    WHERE r.run_id = scrub.run_id;
END
$body$;
COMMENT ON FUNCTION ledgerviews.scrub(bigint) IS
'Verify one day of every relation that is computed by day, after a run, unless another refresh runs or waits.';
