-- Takes engine version 3 back to 2.
DO $body$
BEGIN
    IF EXISTS (SELECT FROM ledgerviews.released) THEN
        RAISE EXCEPTION 'A table is released.' USING HINT = 'Restore first: ledgerviews restore.';
    END IF;
END
$body$;
DROP TRIGGER refuse_released ON ledgerviews.run;
DROP FUNCTION ledgerviews.refuse_released();
DROP FUNCTION ledgerviews.released_tables();
DROP FUNCTION ledgerviews.restore();
DROP FUNCTION ledgerviews.put_back(integer);
DROP FUNCTION ledgerviews.put_back_one(ledgerviews.released_object);
DROP FUNCTION ledgerviews.retype_rollup(integer, text, text);
DROP FUNCTION ledgerviews.retype_log(text, text);
DROP FUNCTION ledgerviews.line_of(text, text);
DROP FUNCTION ledgerviews.altered();
DROP FUNCTION ledgerviews.release(text[], integer);
DROP FUNCTION ledgerviews.take_off(integer, oid[], integer);
DROP FUNCTION ledgerviews.note_tracking(oid[]);
DROP FUNCTION ledgerviews.note_function(integer, integer, oid);
DROP FUNCTION ledgerviews.note_relation(integer, integer, oid);
DROP FUNCTION ledgerviews.table_columns(regclass);
DROP FUNCTION ledgerviews.refuse_uncarried(oid[]);
DROP TABLE ledgerviews.released_object;
DROP TABLE ledgerviews.released;
DROP FUNCTION ledgerviews.swap(boolean, integer, integer, text[], text, text[]);
DROP FUNCTION ledgerviews.follow_renames();
DROP FUNCTION ledgerviews.source_columns();
DROP FUNCTION ledgerviews.exchange(boolean);
DROP FUNCTION ledgerviews.drop_old(ledgerviews.member);
DROP FUNCTION ledgerviews.settle();
DROP FUNCTION ledgerviews.rename(ledgerviews.staged);
DROP FUNCTION ledgerviews.register_checks(ledgerviews.staged);
DROP FUNCTION ledgerviews.register(ledgerviews.staged);
DROP FUNCTION ledgerviews.build(boolean);
DROP FUNCTION ledgerviews.drop_kept();
DROP FUNCTION ledgerviews.hold(oid, text);
DROP FUNCTION ledgerviews.foresee();
DROP FUNCTION ledgerviews.decide();
DROP FUNCTION ledgerviews.build_member(ledgerviews.member, jsonb);
DROP FUNCTION ledgerviews.make_key(ledgerviews.staged, text);
DROP FUNCTION ledgerviews.listed(jsonb);
DROP FUNCTION ledgerviews.grant_defaults(ledgerviews.member);
DROP FUNCTION ledgerviews.hang(ledgerviews.member, boolean);
DROP FUNCTION ledgerviews.refused(ledgerviews.member, text, text, text, text);
DROP FUNCTION ledgerviews.enlist();
DROP FUNCTION ledgerviews.enlist_dependents();
DROP FUNCTION ledgerviews.enlist_part(ledgerviews.staged, text, boolean);
DROP FUNCTION ledgerviews.probed(text);
DROP FUNCTION ledgerviews.probe();
DROP FUNCTION ledgerviews.rollup_is_whole(oid, text, text[], text);
DROP FUNCTION ledgerviews.path_beside(text);
DROP FUNCTION ledgerviews.make_next(text);
DROP FUNCTION ledgerviews.columns_of(oid);
DROP FUNCTION ledgerviews.stage_drop(text, text);
DROP FUNCTION ledgerviews.stage(text, text, text, text, text, text, jsonb, text[], text[], text[], text, boolean, boolean);
DROP FUNCTION ledgerviews.replace_begin(text);
DROP FUNCTION ledgerviews.run_under(text, text);
DROP FUNCTION ledgerviews.finally(text);
DROP FUNCTION ledgerviews.resolved(text, boolean);
DROP FUNCTION ledgerviews.object_reads(oid, oid);
DROP FUNCTION ledgerviews.privileges_differ(jsonb, jsonb);
DROP FUNCTION ledgerviews.privileges(oid, text);
DROP FUNCTION ledgerviews.old_schema(text);
DROP FUNCTION ledgerviews.next_schema(text);
DROP TABLE ledgerviews.member;
DROP TABLE ledgerviews.staged;
DROP FUNCTION ledgerviews.captured_function(oid, text);
DROP FUNCTION ledgerviews.captured(oid, text, text);
DROP FUNCTION ledgerviews.grants(aclitem[], oid, text, aclitem[]);
DROP FUNCTION ledgerviews.clear_grants(regprocedure);
DROP FUNCTION ledgerviews.clear_grants(regclass);
DROP FUNCTION ledgerviews.run_as(name, text);
DROP FUNCTION ledgerviews.dependents(oid[]);
DROP FUNCTION ledgerviews.moved(text, jsonb);
DROP FUNCTION ledgerviews.tokens(text);
DROP FUNCTION ledgerviews.printed_days(text, text);
DROP FUNCTION ledgerviews.printed(text, text);
DROP TABLE ledgerviews.unrefreshed;
ALTER TABLE ledgerviews.relation
    DROP COLUMN body,
    DROP COLUMN day_body,
    DROP COLUMN printed,
    DROP COLUMN printed_days,
    DROP COLUMN declared,
    DROP COLUMN history;
ALTER TABLE ledgerviews.engine DROP COLUMN printed;
ALTER FUNCTION ledgerviews.fill_nested(text, date, date) RESET max_parallel_workers_per_gather;
ALTER FUNCTION ledgerviews.fill_nested(text, date, date) SET parallel_setup_cost = 100000;
DROP FUNCTION ledgerviews.doubt(jsonb, jsonb);
CREATE FUNCTION ledgerviews.doubt(seen jsonb, now jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
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
CREATE OR REPLACE FUNCTION ledgerviews.json_salvage(value json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE
AS $body$
DECLARE
    v_text text := value::text;
BEGIN
    BEGIN
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    BEGIN
        -- Whole surrogate pairs step aside, marked by control characters, which stand raw in no json; what is left
        -- is half a pair. No lookbehind: its time grows with the square of the length, or worse.
        v_text := pg_catalog.regexp_replace(
            v_text, '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})',
            pg_catalog.chr(1) || '\1' || pg_catalog.chr(2) || '\2', 'g');
        v_text := pg_catalog.regexp_replace(v_text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g');
        v_text := pg_catalog.replace(pg_catalog.replace(v_text, pg_catalog.chr(1), '\u'), pg_catalog.chr(2), '\u');
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    BEGIN
        -- A long fraction is cut, a number too small is 0, one too large is null. A regular expression of
        -- PostgreSQL repeats at most 255 times.
        v_text := pg_catalog.regexp_replace(v_text, '(\.[0-9]{250})[0-9]+', '\1', 'g');
        v_text := pg_catalog.regexp_replace(v_text, '-?[0-9]+(\.[0-9]+)?[eE]-[0-9]{4,}', '0', 'g');
        v_text := pg_catalog.regexp_replace(
            v_text,
            '-?[0-9]+(\.[0-9]+)?[eE][+]?[0-9]{4,}|-?[0-9]{250}[0-9]{60,}(\.[0-9]+)?([eE][-+]?[0-9]+)?',
            'null', 'g');
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        RETURN NULL;
    END;
END
$body$;
COMMENT ON FUNCTION ledgerviews.json_salvage(json) IS
'The value as jsonb with what jsonb cannot hold replaced; NULL where that is not enough. Never raises.';
UPDATE ledgerviews.engine SET version = 2, installed_at = pg_catalog.now();
