-- Engine version 3, replacing: what is exchanged and what is replaced in place; and build(), which does all that readers do not notice.

CREATE FUNCTION ledgerviews.decide() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
AS $body$
DECLARE
    v_member ledgerviews.member;
    v_fits boolean;
    v_names jsonb;
    v_name text;
    v_other text;
BEGIN
    -- Who is read by one that is exchanged is exchanged, too: what is built beside must go on reading it.
    FOR v_member IN
        SELECT m.* FROM ledgerviews.member AS m WHERE m.action IS NULL ORDER BY m.place DESC
    LOOP
        v_fits := v_member.old IS NOT NULL
            AND CASE v_member.kind
                WHEN 'view' THEN
                    v_member.old_name = v_member.key
                    AND (SELECT c.relkind = 'v' FROM pg_catalog.pg_class AS c WHERE c.oid = v_member.old)
                    AND ledgerviews.columns_of(v_member.old)
                    = (ledgerviews.columns_of(v_member.new))[1:pg_catalog.cardinality(ledgerviews.columns_of(v_member.old))]
                WHEN 'function' THEN (
                    SELECT o.prorettype = n.prorettype AND o.proargtypes = n.proargtypes AND o.proallargtypes IS NOT DISTINCT FROM n.proallargtypes
                    FROM pg_catalog.pg_proc AS o
                    JOIN pg_catalog.pg_proc AS n ON n.oid = v_member.new
                    WHERE o.oid = v_member.old
                )
                ELSE false
            END;
        UPDATE ledgerviews.member AS m
        SET action = CASE
            WHEN NOT v_fits OR EXISTS (
                SELECT FROM ledgerviews.member AS r
                WHERE r.action = 'swap' AND r.key <> m.key AND (m.key = ANY (r.reads) OR m.old = ANY (r.reads_oids))
            ) THEN 'swap'
            WHEN m.changed THEN 'replace'
            ELSE 'none'
        END
        WHERE m.key = v_member.key;
    END LOOP;
    -- Functions of one name are exchanged together: texts that call them are moved by name.
    LOOP
        UPDATE ledgerviews.member AS m
        SET action = 'swap'
        WHERE m.action IN ('replace', 'none')
            AND EXISTS (
                SELECT FROM ledgerviews.member AS r
                WHERE r.action = 'swap'
                    AND (
                        m.kind = 'function' AND r.kind = 'function' AND r.old_name = m.old_name
                        OR r.key <> m.key AND (m.key = ANY (r.reads) OR m.old = ANY (r.reads_oids))
                    )
            );
        EXIT WHEN NOT FOUND;
    END LOOP;
    UPDATE ledgerviews.member AS m
    SET action = 'replace'
    WHERE m.action = 'none'
        AND EXISTS (
            SELECT FROM ledgerviews.member AS r
            WHERE r.action = 'swap' AND (r.key = ANY (m.reads) OR r.old = ANY (m.reads_oids))
        );

    -- What hangs on one that is exchanged must be among us, or nothing can carry it over.
    SELECT m.key, pg_catalog.pg_describe_object(d.classid, d.objid, 0) INTO v_name, v_other
    FROM ledgerviews.member AS m
    CROSS JOIN LATERAL ledgerviews.dependents(ARRAY[m.old]) AS d
    WHERE m.action = 'swap' AND m.old IS NOT NULL AND m.kind IN ('view', 'materialized view') AND d.direct
        AND (d.kind NOT IN ('relation', 'function') OR NOT EXISTS (SELECT FROM ledgerviews.member AS o WHERE o.old = d.objid))
    ORDER BY 1, 2
    LIMIT 1;
    IF v_name IS NULL THEN
        SELECT m.key, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) INTO v_name, v_other
        FROM ledgerviews.member AS m
        JOIN pg_catalog.pg_depend AS d
            ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = m.old AND d.deptype IN ('n', 'a')
        LEFT JOIN pg_catalog.pg_rewrite AS w ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid
        WHERE m.action = 'swap' AND m.kind = 'function'
            AND NOT EXISTS (SELECT FROM ledgerviews.member AS o WHERE o.old = COALESCE(w.ev_class, d.objid))
        ORDER BY 1, 2
        LIMIT 1;
    END IF;
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = pg_catalog.format('%s cannot be replaced: %s depends on it and cannot be carried over; nothing was changed.', v_name, v_other),
            HINT = 'Take it off before this revision, and put it back after it.';
    END IF;

    -- What stays in place was built beside to see whether it can be, and to build on it.
    FOR v_member IN
        SELECT m.* FROM ledgerviews.member AS m WHERE m.action IN ('replace', 'none') ORDER BY m.place DESC
    LOOP
        IF v_member.kind = 'function' THEN
            EXECUTE 'DROP ROUTINE ' || v_member.new::pg_catalog.regprocedure::text;
        ELSE
            EXECUTE pg_catalog.format('DROP VIEW %I.%I', ledgerviews.next_schema(v_member.schema_name), v_member.name);
        END IF;
    END LOOP;
    SELECT COALESCE(pg_catalog.jsonb_object_agg(m.old_name, pg_catalog.format('%I.%I', ledgerviews.next_schema(m.schema_name), m.name)), '{}')
    INTO v_names
    FROM ledgerviews.member AS m
    WHERE m.action = 'swap' AND m.old IS NOT NULL;
    UPDATE ledgerviews.member AS m
    SET body = CASE
            WHEN m.action = 'swap' THEN NULL
            WHEN m.kind = 'function' THEN ledgerviews.moved(pg_catalog.pg_get_functiondef(m.old), v_names)
            ELSE pg_catalog.format(
                E'CREATE OR REPLACE VIEW %I.%I%s AS\n%s', m.schema_name, m.name,
                ' WITH (' || (
                    SELECT pg_catalog.string_agg(pg_catalog.format('%I = %L', o.option_name, o.option_value), ', ')
                    FROM pg_catalog.pg_class AS c
                    CROSS JOIN LATERAL pg_catalog.pg_options_to_table(c.reloptions) AS o
                    WHERE c.oid = m.old
                ) || ')',
                CASE
                    WHEN m.changed THEN ledgerviews.resolved(m.body, false)
                    ELSE ledgerviews.moved(pg_catalog.rtrim(pg_catalog.pg_get_viewdef(m.old, false), ';'), v_names)
                END)
        END
    WHERE m.action IN ('replace', 'swap');
    PERFORM ledgerviews.foresee();
END
$body$;
COMMENT ON FUNCTION ledgerviews.decide() IS
'Which ones are exchanged and which are replaced in place, where they keep their identity; and what the swap then runs.';

CREATE FUNCTION ledgerviews.foresee() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
AS $body$
DECLARE
    v_names jsonb;
BEGIN
    SELECT COALESCE(pg_catalog.jsonb_object_agg(
        pg_catalog.format('%I.%I', ledgerviews.next_schema(m.schema_name), m.name), pg_catalog.format('%I.%I', m.schema_name, m.name)), '{}')
    INTO v_names
    FROM ledgerviews.member AS m
    WHERE m.action = 'swap';
    UPDATE ledgerviews.staged AS s
    SET printed = ledgerviews.moved(pg_catalog.pg_get_viewdef(m.new, false), v_names),
        printed_days = (
            SELECT ledgerviews.moved(pg_catalog.pg_get_functiondef(d.new), v_names)
            FROM ledgerviews.member AS d
            WHERE d.staged_schema = s.schema_name AND d.staged_name = s.relation_name AND d.part = 'days' AND d.action = 'swap'
        )
    FROM ledgerviews.member AS m
    WHERE m.staged_schema = s.schema_name AND m.staged_name = s.relation_name AND m.action = 'swap'
        AND COALESCE(m.part, 'relation') = CASE WHEN s.registered ? 'rollup' THEN 'whole' ELSE 'relation' END;
    UPDATE ledgerviews.staged AS s
    SET sources_were = COALESCE((
        SELECT r.sources FROM ledgerviews.relation AS r
        WHERE r.schema_name = s.schema_name AND r.relation_name = COALESCE(s.renamed_from, s.relation_name)
    ), '{}');
    -- What is carried along may be printed otherwise, where a type changed that it reads; and a rename changes what is
    -- printed of all that read it, names of columns too: it is printed anew in the end.
    UPDATE ledgerviews.relation AS r
    SET printed = NULL, printed_days = NULL
    WHERE r.body IS NOT NULL
        AND (EXISTS (
            SELECT FROM ledgerviews.member AS m
            WHERE m.action IN ('swap', 'replace') AND NOT m.changed
                AND (
                    m.schema_name = r.schema_name AND m.name = r.relation_name
                    OR m.schema_name = 'ledgerviews' AND m.name = r.rollup || '_whole'
                )
        )
        OR (r.schema_name, r.relation_name) IN (
            SELECT n.nspname, c.relname
            FROM ledgerviews.dependents(ARRAY(SELECT s.stands FROM ledgerviews.staged AS s WHERE s.renamed_from IS NOT NULL)) AS d
            JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE d.kind = 'relation'
        ))
        AND r.printed IS NOT DISTINCT FROM ledgerviews.printed(r.schema_name, r.relation_name)
        AND r.printed_days IS NOT DISTINCT FROM ledgerviews.printed_days(r.schema_name, r.relation_name);
    UPDATE ledgerviews.staged AS s
    SET printed = NULL, printed_days = NULL
    WHERE EXISTS (SELECT FROM ledgerviews.staged AS o WHERE o.renamed_from IS NOT NULL);
    UPDATE ledgerviews.member AS m
    SET statistics = COALESCE((
        SELECT pg_catalog.jsonb_object_agg('ledgerviews_' || s.oid, pg_catalog.jsonb_build_array(n.nspname, s.stxname))
        FROM pg_catalog.pg_statistic_ext AS s
        JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
        JOIN pg_catalog.pg_class AS c ON c.oid = s.stxrelid AND c.relnamespace <> s.stxnamespace
        WHERE s.stxrelid = m.old
    ), '{}')
    WHERE m.action = 'swap' AND m.kind IN ('materialized view', 'table');
    -- The published materialized views that each new one reads, at any depth, as ledgerviews.materialized_view finds them.
    UPDATE ledgerviews.member AS m
    SET upstream = ARRAY(
        WITH RECURSIVE reaches AS (
            SELECT m.new AS relation
            UNION
            SELECT d.refobjid
            FROM reaches AS p
            JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = p.relation
            JOIN pg_catalog.pg_depend AS d
                ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                AND d.objid = w.oid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.deptype = 'n'
                AND d.refobjid <> w.ev_class
        )

        SELECT DISTINCT pg_catalog.format('%I.%I', COALESCE(o.schema_name, n.nspname), COALESCE(o.name, c.relname))
        FROM reaches AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = p.relation AND c.relkind = 'm' AND c.oid <> m.new
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN ledgerviews.member AS o ON o.new = c.oid
    )
    WHERE m.action = 'swap' AND m.kind = 'materialized view';
END
$body$;
COMMENT ON FUNCTION ledgerviews.foresee() IS 'Find out beforehand what is noted in the end, so that readers need not wait for it.';

CREATE FUNCTION ledgerviews.hold(oid oid, kind text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- No reader notices SHARE UPDATE EXCLUSIVE; vacuum, analyze, index builds and other changes wait for us.
    IF kind = 'table' THEN
        EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', oid::pg_catalog.regclass);
    ELSIF kind <> 'function' THEN
        EXECUTE pg_catalog.format(
            'COMMENT ON %s %s IS %L',
            (SELECT CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END FROM pg_catalog.pg_class AS c WHERE c.oid = hold.oid),
            oid::pg_catalog.regclass, pg_catalog.obj_description(oid, 'pg_class'));
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.hold(oid, text) IS
'Keep what is going to be replaced as it is; LOCK TABLE refuses materialized views and goes through views, so its own comment is put on it again.';

CREATE FUNCTION ledgerviews.drop_kept() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $body$
DECLARE
    v_name text;
    v_other text;
BEGIN
    SELECT pg_catalog.string_agg(d.name, ', ' ORDER BY d.name) INTO v_other
    FROM ledgerviews.dependents(ARRAY(
        SELECT c.oid FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname ~ '^ledgerviews_old_[0-9a-f]{8}$' AND c.relkind IN ('r', 'v', 'm'))) AS d
    LEFT JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IS NULL OR n.nspname !~ '^ledgerviews_old_[0-9a-f]{8}$';
    IF v_other IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = pg_catalog.format('The relations that the last replacement kept cannot go: %s depends on them; nothing was changed.', v_other),
            HINT = 'Have it read the present ones.';
    END IF;
    FOR v_name IN SELECT n.nspname FROM pg_catalog.pg_namespace AS n WHERE n.nspname ~ '^ledgerviews_old_[0-9a-f]{8}$' LOOP
        EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', v_name);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.drop_kept() IS 'Drop what the last replacement kept, unless somebody reads it.';

-- Whoever calls it, the rows that it computes are the same.
CREATE FUNCTION ledgerviews.build(populate boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
AS $body$
DECLARE
    v_member ledgerviews.member;
    v_staged ledgerviews.staged;
    v_names jsonb;
    v_place integer;
    v_line text;
    v_count bigint;
    v_done bigint := 0;
BEGIN
    PERFORM ledgerviews.drop_kept();
    PERFORM ledgerviews.probe();
    PERFORM ledgerviews.enlist();
    FOR v_member IN
        SELECT m.* FROM ledgerviews.member AS m WHERE m.old IS NOT NULL ORDER BY m.old_place DESC, m.key
    LOOP
        PERFORM ledgerviews.hold(v_member.old, v_member.kind);
    END LOOP;

    UPDATE ledgerviews.member AS m
    SET needed = CASE
        WHEN m.old IS NULL THEN populate OR EXISTS (
            SELECT FROM ledgerviews.staged AS s
            WHERE s.schema_name = m.staged_schema AND s.relation_name = m.staged_name AND s.registered ? 'fill')
        WHEN m.kind = 'materialized view' THEN (SELECT c.relkind = 'v' OR c.relispopulated FROM pg_catalog.pg_class AS c WHERE c.oid = m.old)
        ELSE false
    END
    WHERE m.action IS NULL;
    -- A part of one that stands is new where it is computed by day from now on: its relation says whether it is filled.
    UPDATE ledgerviews.member AS m
    SET needed = false
    FROM ledgerviews.staged AS s
    WHERE s.schema_name = m.staged_schema AND s.relation_name = m.staged_name AND s.stands IS NOT NULL
        AND m.part IN ('whole', 'rollup', 'days') AND m.action IS NULL;
    FOR v_place IN SELECT DISTINCT m.place FROM ledgerviews.member AS m WHERE m.action IS NULL ORDER BY 1 DESC LOOP
        UPDATE ledgerviews.member AS m
        SET needed = true
        WHERE m.action IS NULL AND NOT m.needed AND EXISTS (
            SELECT FROM ledgerviews.member AS r
            WHERE r.needed AND r.place = v_place AND (m.key = ANY (r.reads) OR m.old = ANY (r.reads_oids))
        );
    END LOOP;

    SELECT COALESCE(pg_catalog.jsonb_object_agg(m.old_name, pg_catalog.format('%I.%I', ledgerviews.next_schema(m.schema_name), m.name)), '{}')
    INTO v_names
    FROM ledgerviews.member AS m
    WHERE m.action IS NULL AND m.old IS NOT NULL AND m.kind <> 'function';
    SELECT v_names || COALESCE(pg_catalog.jsonb_object_agg(m.old_name, pg_catalog.format('%I.%I', ledgerviews.next_schema(m.schema_name), m.name)), '{}')
    INTO v_names
    FROM ledgerviews.member AS m
    WHERE m.action IS NULL AND m.old IS NOT NULL AND m.kind = 'function' AND NOT v_names ? m.old_name;
    -- Before all that is built: what a later snapshot does not show either.
    PERFORM pg_catalog.set_config('ledgerviews.replace_open', ledgerviews.open_since()::text, true);
    SELECT pg_catalog.count(*) INTO v_count FROM ledgerviews.member AS m WHERE m.action IS NULL AND m.kind = 'materialized view' AND m.needed;
    FOR v_member IN
        SELECT m.* FROM ledgerviews.member AS m WHERE m.action IS NULL ORDER BY m.place, m.key
    LOOP
        IF v_member.kind = 'materialized view' AND v_member.needed THEN
            v_done := v_done + 1;
            RAISE NOTICE '[%/%] building %', v_done, v_count, v_member.key;
        END IF;
        PERFORM ledgerviews.build_member(v_member, v_names);
    END LOOP;
    PERFORM ledgerviews.decide();
    -- Indexes of what is not rebuilt: readers read on while they are built.
    FOR v_staged IN
        SELECT s.* FROM ledgerviews.staged AS s
        WHERE s.change = 'none'
            AND NOT EXISTS (
                SELECT FROM ledgerviews.member AS m
                WHERE m.staged_schema = s.schema_name AND m.staged_name = s.relation_name AND m.action = 'swap'
            )
        ORDER BY s.place
    LOOP
        PERFORM ledgerviews.make_key(v_staged, v_staged.schema_name);
        FOREACH v_line IN ARRAY v_staged.prepare LOOP
            PERFORM ledgerviews.run_under('pg_catalog, pg_temp', ledgerviews.finally(v_line));
        END LOOP;
    END LOOP;
    -- The WAL writer takes 200 ms at most to write out what was built; then the commit has little to wait for.
    IF v_done > 0 THEN
        PERFORM pg_catalog.pg_sleep(0.25);
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.build(boolean) IS
'Build all that changes, and all that depends on it, beside what stands, without a lock that a reader would notice.';
