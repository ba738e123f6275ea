-- Engine version 2: recompute what a plan says, publish it, and check it.

-- The planner would hash all of a child source for the few rows of some days; the loop reads only theirs. The
-- clause ends with the function: REFRESH ... CONCURRENTLY under it would never end. Starting workers takes longer
-- than they save on a day of some thousand rows, the more so on a busy server; past some ten thousand they help.
CREATE FUNCTION ledgerviews.fill_nested(rollup text, lo date, hi date) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
SET parallel_setup_cost = 100000
AS $body$
BEGIN
    EXECUTE pg_catalog.format('INSERT INTO pg_temp.ledgerviews_fresh SELECT * FROM ledgerviews.%I($1, $2)', rollup || '_days')
    USING lo, hi;
END
$body$;
COMMENT ON FUNCTION ledgerviews.fill_nested(text, date, date) IS
'Compute a rollup''s rows of some days into pg_temp.ledgerviews_fresh, by nested loops over the sources'' indexes.';

CREATE FUNCTION ledgerviews.drop_temporary(name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- DROP TABLE IF EXISTS would tell the caller each time that there is none.
    IF pg_catalog.to_regclass('pg_temp.' || pg_catalog.quote_ident(name)) IS NOT NULL THEN
        EXECUTE pg_catalog.format('DROP TABLE pg_temp.%I', name);
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.drop_temporary(text) IS 'Drop a temporary table of this session, where there is one.';

CREATE FUNCTION ledgerviews.fill(rollup text, lo date, hi date, nested boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF nested THEN
        PERFORM ledgerviews.fill_nested(rollup, lo, hi);
    ELSE
        EXECUTE pg_catalog.format('INSERT INTO pg_temp.ledgerviews_fresh SELECT * FROM ledgerviews.%I($1, $2)', rollup || '_days')
        USING lo, hi;
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.fill(text, date, date, boolean) IS 'Compute a rollup''s rows of some days into pg_temp.ledgerviews_fresh.';

CREATE FUNCTION ledgerviews.indexed(sources text[]) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN NOT EXISTS (
    SELECT FROM pg_catalog.unnest(sources) AS s (source)
    WHERE pg_catalog.cardinality(ledgerviews.missing_indexes(s.source)) > 0
);
COMMENT ON FUNCTION ledgerviews.indexed(text[]) IS 'Whether the sources have all indexes that they want.';

CREATE FUNCTION ledgerviews.key_condition(columns text[], first text, second text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT pg_catalog.string_agg(pg_catalog.format('%s.%I = %s.%I', first, k.name, second, k.name), ' AND ' ORDER BY k.ordinality)
    FROM pg_catalog.unnest(columns) WITH ORDINALITY AS k (name, ordinality)
);
COMMENT ON FUNCTION ledgerviews.key_condition(text[], text, text) IS 'SQL that says that two aliases have the same key.';

CREATE FUNCTION ledgerviews.refuse_difference(begins text, lo date, hi date, whole text, by_day text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_found record;
    v_line record;
BEGIN
    SELECT c.row_count, c.sample INTO v_found FROM ledgerviews.compare(whole, by_day) AS c;
    IF v_found.row_count = 0 THEN
        RETURN;
    END IF;
    SELECT e.key, e.value INTO v_line FROM pg_catalog.jsonb_each_text(v_found.sample -> 0) AS e;
    RAISE EXCEPTION USING
        ERRCODE = 'data_exception',
        MESSAGE = pg_catalog.format(
            '%s is not the same computed by day: of %s %s, the first only where it is computed %s: %s.', begins,
            lo || CASE WHEN hi > lo + 1 THEN ' to ' || hi - 1 ELSE '' END,
            v_found.row_count || CASE v_found.row_count WHEN 1 THEN ' row differs' ELSE ' rows differ' END,
            CASE v_line.key WHEN 'missing' THEN 'as a whole' ELSE 'by day' END, v_line.value),
        HINT = 'Its day column, or the day_rows of a source, are not what is declared; or it sums floats, or takes rows in no order.'
            ' Mend the declaration, or leave the day out, and install the revision that says so.';
END
$body$;
COMMENT ON FUNCTION ledgerviews.refuse_difference(text, date, date, text, text) IS
'Raise an error where two queries differ: some days of a relation computed as a whole, and the same computed alone.';

CREATE FUNCTION ledgerviews.refuse_other_days(schema_name text, relation_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_mart record;
    v_last date;
    v_next date;
    v_days record;
BEGIN
    SELECT r.rollup, r.day_column, r.sources, COALESCE(t.scrubbed_to, '0001-01-01') AS scrubbed_to
    INTO v_mart
    FROM ledgerviews.relation AS r
    JOIN ledgerviews.relation_state AS t ON t.schema_name = r.schema_name AND t.relation_name = r.relation_name
    WHERE r.schema_name = refuse_other_days.schema_name AND r.relation_name = refuse_other_days.relation_name;
    PERFORM ledgerviews.drop_temporary('ledgerviews_all');
    ALTER TABLE pg_temp.ledgerviews_fresh RENAME TO ledgerviews_all;
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.max(a.%1$I), pg_catalog.min(a.%1$I) FILTER (WHERE a.%1$I >= $1) FROM pg_temp.ledgerviews_all AS a'
        ' WHERE a.%1$I >= ''0001-01-01'' AND a.%1$I < ''10000-01-01''', v_mart.day_column)
    INTO v_last, v_next
    USING v_mart.scrubbed_to;
    -- The last day, which each refresh recomputes, and the days that the scrub looks at next, where it may just have found drift.
    FOR v_days IN
        SELECT d.lo, d.hi
        FROM (VALUES (v_mart.scrubbed_to, v_next + 1), (v_last, v_last + 1)) AS d (lo, hi)
        WHERE d.hi IS NOT NULL
    LOOP
        EXECUTE pg_catalog.format(
            'CREATE TEMPORARY TABLE ledgerviews_fresh ON COMMIT DROP AS SELECT * FROM ledgerviews.%I WITH NO DATA', v_mart.rollup);
        PERFORM ledgerviews.fill(v_mart.rollup, v_days.lo, v_days.hi, ledgerviews.indexed(v_mart.sources));
        BEGIN
            PERFORM ledgerviews.refuse_difference(
                schema_name || '.' || relation_name, v_days.lo, v_days.hi,
                pg_catalog.format('SELECT * FROM pg_temp.ledgerviews_all AS a WHERE a.%1$I >= %2$L AND a.%1$I < %3$L',
                    v_mart.day_column, v_days.lo, v_days.hi),
                'SELECT * FROM pg_temp.ledgerviews_fresh');
        EXCEPTION WHEN data_exception THEN
            PERFORM ledgerviews.refuse_rewritten(
                ARRAY[pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema_name, relation_name))::oid]);
            RAISE;
        END;
        DROP TABLE pg_temp.ledgerviews_fresh;
    END LOOP;
    ALTER TABLE pg_temp.ledgerviews_all RENAME TO ledgerviews_fresh;
END
$body$;
COMMENT ON FUNCTION ledgerviews.refuse_other_days(text, text) IS
'Raise an error where some days of pg_temp.ledgerviews_fresh, which holds all, are not what the function of single days gives.';

CREATE TYPE ledgerviews.difference AS (inserted bigint, updated bigint, deleted bigint);

CREATE FUNCTION ledgerviews.apply(schema_name text, relation_name text, ranges datemultirange) RETURNS ledgerviews.difference
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_mart ledgerviews.relation;
    v_same text;
    v_set text;
    v_stray bigint;
    v_line text;
    v_key text;
    v_difference ledgerviews.difference;
BEGIN
    SELECT r.* INTO v_mart FROM ledgerviews.relation AS r
    WHERE r.schema_name = apply.schema_name AND r.relation_name = apply.relation_name;
    v_same := ledgerviews.key_condition(v_mart.unique_key, 'f', 't');
    IF ranges IS NOT NULL THEN
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.count(*), pg_catalog.min(pg_catalog.to_jsonb(f.*)::text)'
            ' FROM pg_temp.ledgerviews_fresh AS f WHERE (f.%1$I <@ $1) IS NOT TRUE', v_mart.day_column)
        INTO v_stray, v_line
        USING ranges;
        IF v_stray > 0 THEN
            RAISE EXCEPTION USING
                ERRCODE = 'data_exception',
                MESSAGE = pg_catalog.format(
                    '%s.%s computes %s for some days that %s on other days%s: %s.', schema_name, relation_name,
                    v_stray || CASE v_stray WHEN 1 THEN ' row' ELSE ' rows' END, CASE v_stray WHEN 1 THEN 'stands' ELSE 'stand' END,
                    CASE v_stray WHEN 1 THEN '' ELSE ', among them' END, v_line),
                HINT = 'Its day column, or the day_rows of a source, are not what is declared. Mend the declaration, or leave the day out.';
        END IF;
    END IF;
    -- Of two rows with one key the UPDATE below would keep either, and say nothing.
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.to_jsonb(d.*)::text FROM (SELECT %1$s, pg_catalog.count(*) AS rows FROM pg_temp.ledgerviews_fresh AS f'
        ' WHERE ROW(%1$s) IS NOT NULL GROUP BY %1$s HAVING pg_catalog.count(*) > 1 LIMIT 1) AS d',
        (SELECT pg_catalog.string_agg(pg_catalog.format('f.%I', k.name), ', ' ORDER BY k.ordinality)
         FROM pg_catalog.unnest(v_mart.unique_key) WITH ORDINALITY AS k (name, ordinality)))
    INTO v_key;
    IF v_key IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'cardinality_violation',
            MESSAGE = pg_catalog.format('%s.%s has more than one row with the same key: %s.', schema_name, relation_name, v_key),
            HINT = 'Its grain is not what it declares: mend the SELECT or the grain, and install the revision that says so.';
    END IF;
    -- Three statements on rows that exclude each other; the rows that stay as they are are not touched.
    EXECUTE pg_catalog.format('DELETE FROM ledgerviews.%I AS t', v_mart.rollup)
        || CASE WHEN ranges IS NULL THEN ' WHERE' ELSE
            pg_catalog.format(
                ' USING pg_catalog.unnest($1) AS r (days)'
                ' WHERE t.%1$I >= pg_catalog.lower(r.days) AND t.%1$I < pg_catalog.upper(r.days) AND', v_mart.day_column) END
        || ' NOT EXISTS (SELECT FROM pg_temp.ledgerviews_fresh AS f WHERE ' || v_same || ')'
    USING ranges;
    GET DIAGNOSTICS v_difference.deleted = ROW_COUNT;
    SELECT pg_catalog.string_agg(pg_catalog.format('%1$I = f.%1$I', a.attname), ', ' ORDER BY a.attnum) INTO v_set
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = pg_catalog.format('ledgerviews.%I', v_mart.rollup)::pg_catalog.regclass
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (v_mart.unique_key);
    v_difference.updated := 0;
    IF v_set IS NOT NULL THEN
        -- The bounds say nothing new: they keep the planner from reading the whole rollup for some of its days.
        EXECUTE pg_catalog.format(
            'UPDATE ledgerviews.%I AS t SET %s FROM pg_temp.ledgerviews_fresh AS f WHERE %s AND f.* OPERATOR(pg_catalog.*<>) t.*',
            v_mart.rollup, v_set, v_same)
            || CASE WHEN ranges IS NULL THEN '' ELSE
                pg_catalog.format(
                    ' AND t.%1$I >= %2$L::pg_catalog.date AND t.%1$I < %3$L::pg_catalog.date', v_mart.day_column,
                    COALESCE(pg_catalog.lower(ranges), '-infinity'), COALESCE(pg_catalog.upper(ranges), 'infinity')) END;
        GET DIAGNOSTICS v_difference.updated = ROW_COUNT;
    END IF;
    EXECUTE pg_catalog.format(
        'INSERT INTO ledgerviews.%1$I SELECT f.* FROM pg_temp.ledgerviews_fresh AS f'
        ' WHERE NOT EXISTS (SELECT FROM ledgerviews.%1$I AS t WHERE %2$s)',
        v_mart.rollup, v_same);
    GET DIAGNOSTICS v_difference.inserted = ROW_COUNT;
    RETURN v_difference;
END
$body$;
COMMENT ON FUNCTION ledgerviews.apply(text, text, datemultirange) IS
'Make a rollup, or its days in ranges, the same as pg_temp.ledgerviews_fresh.';

CREATE FUNCTION ledgerviews.recompute(schema_name text, relation_name text, scope text, ranges datemultirange)
RETURNS ledgerviews.difference
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_mart ledgerviews.relation;
    v_nested boolean;
    v_chunk record;
    v_told timestamptz := pg_catalog.clock_timestamp();
    v_began timestamptz := pg_catalog.clock_timestamp();
    v_difference ledgerviews.difference;
BEGIN
    SELECT r.* INTO v_mart FROM ledgerviews.relation AS r
    WHERE r.schema_name = recompute.schema_name AND r.relation_name = recompute.relation_name;
    PERFORM ledgerviews.drop_temporary('ledgerviews_fresh');
    IF scope = 'all' THEN
        -- CREATE TABLE AS may use parallel workers; INSERT may not.
        EXECUTE pg_catalog.format(
            'CREATE TEMPORARY TABLE ledgerviews_fresh ON COMMIT DROP AS SELECT * FROM ledgerviews.%I', v_mart.rollup || '_whole');
        PERFORM ledgerviews.refuse_other_days(schema_name, relation_name);
    ELSE
        EXECUTE pg_catalog.format(
            'CREATE TEMPORARY TABLE ledgerviews_fresh ON COMMIT DROP AS SELECT * FROM ledgerviews.%I WITH NO DATA', v_mart.rollup);
        v_nested := ledgerviews.indexed(v_mart.sources);
        FOR v_chunk IN
            SELECT
                c.lo,
                LEAST(c.lo + 31, pg_catalog.upper(r.days)) AS hi,
                pg_catalog.count(*) OVER () AS chunks,
                pg_catalog.row_number() OVER (ORDER BY c.lo) AS chunk
            FROM pg_catalog.unnest(ranges) AS r (days)
            CROSS JOIN LATERAL (
                -- An open range is one piece: what lies ahead holds few rows or none.
                SELECT pg_catalog.lower(r.days) AS lo
                WHERE pg_catalog.upper(r.days) >= date '10000-01-01'
                UNION ALL
                SELECT pg_catalog.lower(r.days) + n.step
                FROM pg_catalog.generate_series(0, pg_catalog.upper(r.days) - pg_catalog.lower(r.days) - 1, 31) AS n (step)
                WHERE pg_catalog.upper(r.days) < date '10000-01-01'
            ) AS c
            ORDER BY c.lo
        LOOP
            PERFORM ledgerviews.fill(
                v_mart.rollup,
                v_chunk.lo,
                (SELECT CASE WHEN pg_catalog.upper(r.days) >= date '10000-01-01' THEN pg_catalog.upper(r.days) ELSE v_chunk.hi END
                 FROM pg_catalog.unnest(ranges) AS r (days) WHERE v_chunk.lo <@ r.days),
                v_nested);
            IF pg_catalog.clock_timestamp() > v_told + interval '2 seconds' AND v_chunk.chunk < v_chunk.chunks THEN
                v_told := pg_catalog.clock_timestamp();
                RAISE NOTICE '      %.%: days to %, % of % parts, about % s left',
                    schema_name, relation_name, v_chunk.hi - 1, v_chunk.chunk, v_chunk.chunks,
                    pg_catalog.ceil(EXTRACT(EPOCH FROM v_told - v_began) * (v_chunk.chunks - v_chunk.chunk) / v_chunk.chunk);
            END IF;
        END LOOP;
    END IF;
    v_difference := ledgerviews.apply(schema_name, relation_name, CASE WHEN scope = 'days' THEN ranges END);
    PERFORM ledgerviews.drop_temporary('ledgerviews_fresh');
    RETURN v_difference;
END
$body$;
COMMENT ON FUNCTION ledgerviews.recompute(text, text, text, datemultirange) IS
'Recompute a rollup as a whole, or the days in ranges, from the sources.';

-- Publishing ----------------------------------------------------------------------------------------------

CREATE FUNCTION ledgerviews.last_took(schema_name text, relation_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT pg_catalog.format('; the last time it took %s s', pg_catalog.round(EXTRACT(EPOCH FROM p.finished_at - p.started_at), 1))
    FROM ledgerviews.run_relation AS p
    WHERE p.schema_name = last_took.schema_name AND p.relation_name = last_took.relation_name
        AND p.scope = 'all' AND p.finished_at - p.started_at > interval '1 second'
    ORDER BY p.run_id DESC
    LIMIT 1
);
COMMENT ON FUNCTION ledgerviews.last_took(text, text) IS 'How long it took when the relation was last computed as a whole, in words.';

-- Whoever calls it, the rows that it computes are the same.
CREATE FUNCTION ledgerviews.publish(run_id bigint, step ledgerviews.step, steps integer, mode text, open_since date) RETURNS void
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
    v_name text := step.schema_name || '.' || step.relation_name;
    v_began timestamptz := pg_catalog.clock_timestamp();
    v_recomputed timestamptz;
    v_difference ledgerviews.difference := ROW(0, 0, 0);
    v_method text;
    v_key text;
    v_before bigint;
    v_after bigint;
    v_written bigint;
    v_removed bigint;
    v_checked ledgerviews.step := step;
BEGIN
    SELECT m.*, r.unique_key, t.row_count, t.followed, t.unchecked
    INTO v_mart
    FROM ledgerviews.materialized_view AS m
    JOIN ledgerviews.relation AS r ON r.schema_name = m.schema_name AND r.relation_name = m.relation_name
    JOIN ledgerviews.relation_state AS t ON t.schema_name = m.schema_name AND t.relation_name = m.relation_name
    WHERE m.relation = step.relation;
    IF v_mart.unique_index IS NULL AND mode <> 'blocking' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('Cannot refresh %s concurrently: it has no unique index on columns only.', v_name),
            HINT = CASE
                WHEN pg_catalog.cardinality(v_mart.unique_key) = 0 THEN 'Declare its grain and install the revision that says so'
                ELSE pg_catalog.format(
                    'Run CREATE UNIQUE INDEX ON %I.%I (%s)', step.schema_name, step.relation_name,
                    (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(k.name), ', ' ORDER BY k.ordinality)
                     FROM pg_catalog.unnest(v_mart.unique_key) WITH ORDINALITY AS k (name, ordinality)))
            END || ', or pass --blocking (mode => ''blocking'').';
    END IF;
    -- What it reads may have turned out to be as it was.
    IF step.tentative AND v_mart.followed = ledgerviews.upstream_changes(v_mart.upstream) THEN
        step.scope := 'none';
        step.reason := 'nothing that it reads changed';
    END IF;
    v_method := CASE
        WHEN NOT v_mart.populated THEN 'first fill'
        WHEN mode = 'blocking' THEN 'blocking'
        WHEN step.scope = 'none' THEN 'unchanged'
        ELSE 'concurrently'
    END;
    RAISE NOTICE '[%/%] %: %', step.position, steps, v_name,
        CASE
            WHEN step.scope = 'none' THEN 'unchanged'
            WHEN step.scope = 'days' THEN step.days || CASE step.days WHEN 1 THEN ' day' ELSE ' days' END
            WHEN v_method = 'first fill' THEN 'first fill'
            ELSE 'all days' || COALESCE(ledgerviews.last_took(step.schema_name, step.relation_name), '')
        END || ' (' || step.reason || ')' || CASE v_method WHEN 'blocking' THEN ', by a REFRESH that its readers wait for' ELSE '' END;

    IF v_mart.rollup IS NOT NULL THEN
        IF step.scope <> 'none' THEN
            v_difference := ledgerviews.recompute(step.schema_name, step.relation_name, step.scope, step.ranges);
        END IF;
        v_recomputed := pg_catalog.clock_timestamp();
        v_before := v_mart.row_count;
        v_after := v_before + v_difference.inserted - v_difference.deleted;
        IF step.scope = 'all' THEN
            -- Also right where somebody's hand was in the rollup.
            EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM ledgerviews.%I', v_mart.rollup) INTO v_after;
            v_before := v_after - v_difference.inserted + v_difference.deleted;
        END IF;
        -- A full refresh also renews a view that is not what its rollup holds, however that came about.
        IF v_method = 'concurrently' AND mode <> 'full' AND v_difference = ROW(0, 0, 0)::ledgerviews.difference THEN
            v_method := 'unchanged';
        END IF;
    ELSIF v_method <> 'unchanged' THEN
        -- Rows are told apart by the unique index's columns; without one (blocking only) by the whole row.
        SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.ordinality)
        INTO v_key
        FROM pg_catalog.pg_index AS i
        CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indexrelid = v_mart.unique_index AND k.ordinality <= i.indnkeyatts;
        v_before := 0;
        PERFORM ledgerviews.drop_temporary('ledgerviews_before');
        IF v_mart.populated THEN
            EXECUTE pg_catalog.format(
                'CREATE TEMPORARY TABLE ledgerviews_before ON COMMIT DROP AS SELECT %s%s FROM %I.%I AS m',
                COALESCE(v_key, 'ROW(m.*)::pg_catalog.text AS ledgerviews_whole'),
                CASE WHEN v_method = 'blocking' THEN ', ROW(m.*)::pg_catalog.text AS ledgerviews_row' ELSE '' END,
                step.schema_name, step.relation_name);
            GET DIAGNOSTICS v_before = ROW_COUNT;
        END IF;
        v_written := pg_catalog.pg_stat_get_xact_tuples_inserted(step.relation);
        v_removed := pg_catalog.pg_stat_get_xact_tuples_deleted(step.relation);
    END IF;

    IF v_method <> 'unchanged' THEN
        EXECUTE pg_catalog.format(
            'REFRESH MATERIALIZED VIEW %s %I.%I',
            CASE WHEN v_method = 'concurrently' THEN 'CONCURRENTLY' ELSE '' END,
            step.schema_name, step.relation_name);
    END IF;

    IF v_mart.rollup IS NOT NULL THEN
        IF v_method = 'first fill' THEN
            v_before := 0;
            EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM ledgerviews.%I', v_mart.rollup) INTO v_after;
            v_difference := ROW(v_after, 0, 0);
        END IF;
    ELSIF v_method = 'unchanged' THEN
        v_before := v_mart.row_count;
        v_after := v_mart.row_count;
    ELSE
        EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %I.%I', step.schema_name, step.relation_name) INTO v_after;
        v_written := pg_catalog.pg_stat_get_xact_tuples_inserted(step.relation) - v_written;
        v_removed := pg_catalog.pg_stat_get_xact_tuples_deleted(step.relation) - v_removed;
        IF NOT v_mart.populated THEN
            v_difference.inserted := v_after;
        ELSIF v_method <> 'concurrently' OR v_written > 0 OR v_removed > 0
            OR NOT pg_catalog.current_setting('track_counts')::boolean THEN
            EXECUTE pg_catalog.format(
                'SELECT pg_catalog.count(*) FILTER (WHERE o.ledgerviews_old IS NULL), %s '
                'FROM (SELECT %s, ROW(m.*)::pg_catalog.text AS ledgerviews_row FROM %I.%I AS m) AS n '
                'LEFT JOIN (SELECT *, true AS ledgerviews_old FROM pg_temp.ledgerviews_before) AS o USING (%s)',
                CASE
                    WHEN v_method = 'blocking'
                        THEN 'pg_catalog.count(*) FILTER (WHERE o.ledgerviews_row <> n.ledgerviews_row)'
                    ELSE 'NULL::bigint'
                END,
                COALESCE(v_key, 'ROW(m.*)::pg_catalog.text AS ledgerviews_whole'),
                step.schema_name, step.relation_name,
                COALESCE(v_key, 'ledgerviews_whole'))
            INTO v_difference.inserted, v_difference.updated;
            IF v_method = 'concurrently' AND pg_catalog.current_setting('track_counts')::boolean THEN
                v_difference.updated := v_written - v_difference.inserted;
            END IF;
            v_difference.deleted := v_before - (v_after - v_difference.inserted);
        END IF;
        PERFORM ledgerviews.drop_temporary('ledgerviews_before');
    END IF;
    IF v_method <> 'unchanged' OR v_mart.unchecked THEN
        v_checked.scope := CASE WHEN v_mart.unchecked THEN 'all' ELSE step.scope END;
        PERFORM ledgerviews.check_relation(run_id, v_checked);
    END IF;

    UPDATE ledgerviews.relation_state AS t
    SET dirty = '{}',
        open_from = CASE WHEN v_mart.rollup IS NOT NULL THEN publish.open_since END,
        rebuild = NULL,
        row_count = v_after,
        rollup_file = (
            SELECT c.relfilenode FROM pg_catalog.pg_class AS c
            WHERE c.oid = pg_catalog.to_regclass('ledgerviews.' || pg_catalog.quote_ident(v_mart.rollup))
        ),
        changes = t.changes + CASE WHEN v_method = 'unchanged' THEN 0 ELSE 1 END,
        followed = ledgerviews.upstream_changes(v_mart.upstream),
        refreshed_at = pg_catalog.now(),
        unchecked = false
    WHERE t.schema_name = step.schema_name AND t.relation_name = step.relation_name;
    INSERT INTO ledgerviews.run_relation (
        run_id, position, schema_name, relation_name, scope, days, reason, method, started_at, recomputed_at, finished_at,
        rows_before, rows_after, rows_inserted, rows_updated, rows_deleted
    ) VALUES (
        publish.run_id, step.position, step.schema_name, step.relation_name, step.scope, step.days, step.reason, v_method,
        v_began, v_recomputed, pg_catalog.clock_timestamp(),
        v_before, v_after, v_difference.inserted, v_difference.updated, v_difference.deleted
    );
END
$body$;
COMMENT ON FUNCTION ledgerviews.publish(bigint, ledgerviews.step, integer, text, date) IS
'Do one step of a plan: recompute, refresh the materialized view, check it, and note all that.';

CREATE FUNCTION ledgerviews.upstream_changes(upstream oid[]) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT pg_catalog.sum(t.changes)::bigint
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN ledgerviews.relation_state AS t ON t.schema_name = n.nspname AND t.relation_name = c.relname
    WHERE c.oid = ANY (upstream)
);
COMMENT ON FUNCTION ledgerviews.upstream_changes(oid[]) IS 'How often the relations have changed, added up.';

-- Checks --------------------------------------------------------------------------------------------------

CREATE FUNCTION ledgerviews.check_relation(run_id bigint, step ledgerviews.step) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_check record;
    v_rows text;
    v_failing text;
    v_count bigint;
    v_sample jsonb;
    v_failures jsonb := jsonb '[]';
    v_failed text[] := '{}'::text[];
    v_sqlstate text;
    v_message text;
BEGIN
    FOR v_check IN
        SELECT c.*, r.unique_key, r.day_column
        FROM ledgerviews.relation_check AS c
        JOIN ledgerviews.relation AS r ON r.schema_name = c.schema_name AND r.relation_name = c.relation_name
        WHERE c.schema_name = step.schema_name AND c.relation_name = step.relation_name
        ORDER BY c.check_name
    LOOP
        -- A row that was not recomputed was checked when it was; uniqueness without the day looks at all.
        v_rows := pg_catalog.format('%I.%I AS m', step.schema_name, step.relation_name);
        IF step.scope = 'days' AND (v_check.kind <> 'unique' OR v_check.day_column = ANY (v_check.columns)) THEN
            v_rows := pg_catalog.format(
                'pg_catalog.unnest($1) AS ledgerviews_range (ledgerviews_days) JOIN %s'
                ' ON m.%2$I >= pg_catalog.lower(ledgerviews_range.ledgerviews_days) AND m.%2$I < pg_catalog.upper(ledgerviews_range.ledgerviews_days)',
                v_rows, v_check.day_column);
        END IF;
        v_failing := CASE v_check.kind
            WHEN 'not_null' THEN (
                SELECT pg_catalog.format('SELECT m.* FROM %s WHERE ', v_rows)
                    || pg_catalog.string_agg(pg_catalog.format('m.%I IS NULL', k.name), ' OR ')
                FROM pg_catalog.unnest(v_check.columns) AS k (name)
            )
            WHEN 'unique' THEN (
                SELECT pg_catalog.format(
                    'SELECT %1$s, pg_catalog.count(*) AS rows FROM %2$s GROUP BY %1$s HAVING pg_catalog.count(*) > 1',
                    pg_catalog.string_agg(pg_catalog.format('m.%I', k.name), ', ' ORDER BY k.ordinality), v_rows)
                FROM pg_catalog.unnest(v_check.columns) WITH ORDINALITY AS k (name, ordinality)
            )
            -- The bracket stands on a line of its own, because an expression may end in a comment.
            ELSE pg_catalog.format(E'SELECT m.* FROM %s WHERE NOT (%s\n)', v_rows, v_check.expression)
        END;
        BEGIN
            EXECUTE pg_catalog.format(
                'WITH failing AS MATERIALIZED (%s)'
                ' SELECT (SELECT pg_catalog.count(*) FROM failing),'
                ' (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(s.*)) FROM (SELECT * FROM failing LIMIT 10) AS s)',
                v_failing)
            INTO v_count, v_sample
            USING step.ranges;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT;
            RAISE EXCEPTION USING
                ERRCODE = v_sqlstate,
                MESSAGE = pg_catalog.format(
                    'Check %s of %s.%s cannot be run: %s', v_check.check_name, step.schema_name, step.relation_name, v_message),
                HINT = 'Nothing was published. Mend the check, and install the revision that says so.';
        END;
        IF v_count > 0 THEN
            v_failures := v_failures || pg_catalog.jsonb_build_object(
                'schema', step.schema_name, 'relation', step.relation_name, 'check', v_check.check_name,
                'severity', v_check.severity, 'failed_rows', v_count, 'sample', v_sample);
            IF v_check.severity = 'error' THEN
                v_failed := v_failed || pg_catalog.format('%s (%s %s)', v_check.check_name, v_count, CASE v_count WHEN 1 THEN 'row' ELSE 'rows' END);
            ELSE
                RAISE WARNING 'Check % of %.% fails for % %, the first: %',
                    v_check.check_name, step.schema_name, step.relation_name, v_count,
                    CASE v_count WHEN 1 THEN 'row' ELSE 'rows' END, v_sample -> 0;
            END IF;
        END IF;
    END LOOP;
    IF pg_catalog.cardinality(v_failed) > 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'LV001',
            MESSAGE = pg_catalog.format(
                'Nothing was published: of %s.%s these checks fail: %s.',
                step.schema_name, step.relation_name, pg_catalog.array_to_string(v_failed, ', ')),
            DETAIL = v_failures::text,
            HINT = 'Readers go on seeing the figures of before. Mend the rows or the check, and refresh again.';
    END IF;
    IF v_failures <> '[]' THEN
        INSERT INTO ledgerviews.run_check (run_id, schema_name, relation_name, check_name, severity, failed_rows, sample)
        SELECT
            check_relation.run_id, f.value ->> 'schema', f.value ->> 'relation',
            f.value ->> 'check', f.value ->> 'severity', (f.value ->> 'failed_rows')::bigint, f.value -> 'sample'
        FROM pg_catalog.jsonb_array_elements(v_failures) AS f (value);
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.check_relation(bigint, ledgerviews.step) IS
'Run the checks of a relation on what a step recomputed; a failing error raises LV001 with the rows in its detail.';
