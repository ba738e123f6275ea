-- Engine version 2: prove that what is published is what the sources say.

CREATE FUNCTION ledgerviews.compare(first text, second text) RETURNS TABLE (row_count bigint, sample jsonb)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET extra_float_digits = 1
AS $body$
BEGIN
    -- As jsonb, because a row may hold a type that cannot be compared, and 1.0 is 1.00; twice the same row counts twice.
    EXECUTE pg_catalog.format(
        'WITH expected AS (SELECT pg_catalog.to_jsonb(e.*) AS line FROM (%1$s) AS e),'
        ' found AS (SELECT pg_catalog.to_jsonb(f.*) AS line FROM (%2$s) AS f),'
        ' differing AS MATERIALIZED ('
        '   (SELECT ''missing'' AS state, m.line FROM (TABLE expected EXCEPT ALL TABLE found) AS m)'
        '   UNION ALL'
        '   (SELECT ''wrong'', w.line FROM (TABLE found EXCEPT ALL TABLE expected) AS w))'
        ' SELECT pg_catalog.count(*), (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(s.state, s.line))'
        '   FROM (SELECT * FROM differing AS d ORDER BY d.line::text, d.state LIMIT 10) AS s) FROM differing',
        first, second)
    INTO row_count, sample;
    RETURN NEXT;
END
$body$;
COMMENT ON FUNCTION ledgerviews.compare(text, text) IS
'Rows of two queries that differ: those of the first that are missing from the second, and those of the second that are wrong.';

CREATE FUNCTION ledgerviews.verify_relation(step ledgerviews.step) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_rollup text;
    v_result record;
    v_of_rollup boolean := false;
    v_published text := pg_catalog.format('SELECT * FROM %I.%I', step.schema_name, step.relation_name);
BEGIN
    SELECT r.rollup INTO v_rollup FROM ledgerviews.relation AS r
    WHERE r.schema_name = step.schema_name AND r.relation_name = step.relation_name;
    SELECT c.* INTO v_result
    FROM ledgerviews.compare(
        CASE
            WHEN v_rollup IS NULL THEN pg_catalog.rtrim(pg_catalog.pg_get_viewdef(step.relation), ';')
            ELSE pg_catalog.format('SELECT * FROM ledgerviews.%I', v_rollup || '_whole')
        END,
        v_published) AS c;
    IF v_result.row_count = 0 AND v_rollup IS NOT NULL THEN
        -- What the next refresh would publish.
        v_of_rollup := true;
        SELECT c.* INTO v_result
        FROM ledgerviews.compare(v_published, pg_catalog.format('SELECT * FROM ledgerviews.%I', v_rollup)) AS c;
    END IF;
    IF v_result.row_count = 0 THEN
        RETURN NULL;
    END IF;
    RETURN pg_catalog.jsonb_build_object(
        'schema', step.schema_name, 'relation', step.relation_name,
        'differing_rows', v_result.row_count, 'sample', v_result.sample, 'published', NOT v_of_rollup);
END
$body$;
COMMENT ON FUNCTION ledgerviews.verify_relation(ledgerviews.step) IS
'Compare a published materialized view row by row with a full recompute in this snapshot; NULL where they agree.';

-- Whoever calls it, the rows that it computes are the same.
CREATE FUNCTION ledgerviews.verify(steps ledgerviews.step[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
AS $body$
DECLARE
    v_step ledgerviews.step;
    v_found jsonb;
    v_drift jsonb := jsonb '[]';
BEGIN
    FOREACH v_step IN ARRAY steps LOOP
        RAISE NOTICE '[%/%] %.%: comparing with a full recompute%',
            v_step.position, pg_catalog.cardinality(steps), v_step.schema_name, v_step.relation_name,
            COALESCE(ledgerviews.last_took(v_step.schema_name, v_step.relation_name), '');
        v_found := ledgerviews.verify_relation(v_step);
        IF v_found IS NOT NULL THEN
            v_drift := v_drift || v_found;
        END IF;
    END LOOP;
    IF v_drift <> '[]' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'LV002',
            MESSAGE = (
                SELECT CASE WHEN pg_catalog.bool_or((d.value ->> 'published')::boolean) THEN 'Published rows' ELSE 'Rows that the next refresh would publish' END
                    || ' are not what the sources give: ' || pg_catalog.string_agg(
                    pg_catalog.format('%s.%s (%s %s)', d.value ->> 'schema', d.value ->> 'relation', d.value ->> 'differing_rows',
                        CASE d.value ->> 'differing_rows' WHEN '1' THEN 'row' ELSE 'rows' END
                            || CASE WHEN (d.value ->> 'published')::boolean THEN '' ELSE ' of its rollup' END), ', ')
                FROM pg_catalog.jsonb_array_elements(v_drift) AS d (value)
            ) || '.',
            DETAIL = v_drift::text,
            HINT = 'Nothing was published. The next refresh recomputes these relations as a whole; what reads them may be wrong until then.';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.verify(ledgerviews.step[]) IS
'Compare the relations row by row with a full recompute in this snapshot; LV002 tells in its detail the rows that differ.';

CREATE FUNCTION ledgerviews.pending(schema_name text, relation_name text) RETURNS datemultirange
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_days datemultirange;
BEGIN
    -- The logs are emptied to see what they tell, and the exception puts it all back.
    BEGIN
        PERFORM ledgerviews.observe_sources();
        SELECT
            CASE WHEN t.rebuild IS NOT NULL THEN '{(,)}'::datemultirange ELSE t.dirty END
            + pg_catalog.datemultirange(pg_catalog.daterange(COALESCE(t.open_from, '10000-01-01'), NULL))
        INTO v_days
        FROM ledgerviews.relation_state AS t
        WHERE t.schema_name = pending.schema_name AND t.relation_name = pending.relation_name;
        RAISE EXCEPTION USING ERRCODE = 'LV000';
    EXCEPTION WHEN SQLSTATE 'LV000' THEN
        RETURN v_days;
    END;
END
$body$;
COMMENT ON FUNCTION ledgerviews.pending(text, text) IS 'The days that the next refresh of a relation would recompute; changes nothing.';

-- Whoever calls it, the rows that it computes are the same.
CREATE FUNCTION ledgerviews.scrub_relation(schema_name text, relation_name text) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
AS $body$
DECLARE
    v_mart record;
    v_lo date;
    v_next date;
    v_hi date;
    v_differing bigint := 0;
    v_sample jsonb;
    v_pending datemultirange;
BEGIN
    SELECT r.day_column, r.rollup, r.sources, t.scrubbed_to, t.open_from, t.rebuild
    INTO v_mart
    FROM ledgerviews.relation AS r
    JOIN ledgerviews.relation_state AS t ON t.schema_name = r.schema_name AND t.relation_name = r.relation_name
    WHERE r.schema_name = scrub_relation.schema_name AND r.relation_name = scrub_relation.relation_name;
    IF v_mart.rollup IS NULL OR v_mart.rebuild IS NOT NULL THEN
        RETURN NULL;
    END IF;
    -- From where the last one ended to the end of the next day that has rows: days without any belong to it.
    v_lo := COALESCE(v_mart.scrubbed_to, '0001-01-01');
    EXECUTE pg_catalog.format('SELECT pg_catalog.min(t.%I) FROM ledgerviews.%I AS t WHERE t.%I >= $1',
        v_mart.day_column, v_mart.rollup, v_mart.day_column)
    INTO v_next
    USING v_lo;
    v_hi := LEAST(v_next + 1, v_mart.open_from, date '10000-01-01');
    IF v_hi > v_lo THEN
        PERFORM ledgerviews.drop_temporary('ledgerviews_fresh');
        EXECUTE pg_catalog.format(
            'CREATE TEMPORARY TABLE ledgerviews_fresh ON COMMIT DROP AS SELECT * FROM ledgerviews.%I WITH NO DATA', v_mart.rollup);
        PERFORM ledgerviews.fill(v_mart.rollup, v_lo, v_hi, ledgerviews.indexed(v_mart.sources));
        SELECT c.row_count, c.sample INTO v_differing, v_sample
        FROM ledgerviews.compare(
            'SELECT * FROM pg_temp.ledgerviews_fresh',
            pg_catalog.format('SELECT * FROM %I.%I AS t WHERE t.%I >= %L AND t.%I < %L',
                schema_name, relation_name, v_mart.day_column, v_lo, v_mart.day_column, v_hi)) AS c;
        PERFORM ledgerviews.drop_temporary('ledgerviews_fresh');
        IF v_differing > 0 THEN
            v_pending := ledgerviews.pending(schema_name, relation_name);
            IF NOT EXISTS (
                SELECT FROM pg_catalog.jsonb_array_elements(v_sample) AS s (value)
                CROSS JOIN LATERAL pg_catalog.jsonb_each(s.value) AS e (state, line)
                WHERE NOT (e.line ->> v_mart.day_column)::date <@ v_pending
            ) THEN
                v_differing := 0;
            END IF;
        END IF;
    END IF;
    IF v_differing > 0 THEN
        UPDATE ledgerviews.relation_state AS t
        SET rebuild = pg_catalog.format('the scrub found rows of %s to %s that the sources do not give', v_lo, v_hi - 1)
        WHERE t.schema_name = scrub_relation.schema_name AND t.relation_name = scrub_relation.relation_name;
        RETURN pg_catalog.format('%s.%s, days %s to %s: %s from the sources, the first: %s',
            schema_name, relation_name, v_lo, v_hi - 1,
            v_differing || CASE v_differing WHEN 1 THEN ' row differs' ELSE ' rows differ' END, v_sample -> 0);
    END IF;
    UPDATE ledgerviews.relation_state AS t
    SET scrubbed_to = CASE WHEN v_hi > v_lo AND v_hi < COALESCE(v_mart.open_from, '10000-01-01') THEN v_hi END,
        scrubbed_at = pg_catalog.clock_timestamp()
    WHERE t.schema_name = scrub_relation.schema_name AND t.relation_name = scrub_relation.relation_name;
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION ledgerviews.scrub_relation(text, text) IS
'Verify the day that was verified the longest ago; what differs is told, and has the next refresh rebuild the relation.';

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
    FOR v_mart IN
        SELECT m.schema_name, m.relation_name FROM ledgerviews.materialized_view AS m
        WHERE m.rollup IS NOT NULL AND m.populated
        ORDER BY m.schema_name, m.relation_name
    LOOP
        v_found := ledgerviews.scrub_relation(v_mart.schema_name, v_mart.relation_name);
        IF v_found IS NOT NULL THEN
            RAISE WARNING 'Drift: %. The next refresh recomputes it as a whole.', v_found;
            v_drift := pg_catalog.concat_ws('; ', v_drift, v_found);
        END IF;
    END LOOP;
    UPDATE ledgerviews.run AS r
    SET drift = v_drift, scrub_seconds = EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - v_began)
    WHERE r.run_id = scrub.run_id;
END
$body$;
COMMENT ON FUNCTION ledgerviews.scrub(bigint) IS 'Verify one day of every relation that is computed by day, after a run.';
