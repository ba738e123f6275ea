-- Engine version 3, replacing: one relation built beside, with all that hangs on it.

CREATE FUNCTION ledgerviews.refused(member ledgerviews.member, sqlstate text, message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = sqlstate,
        MESSAGE = CASE
            WHEN member.changed THEN pg_catalog.format('%s cannot be built: %s; nothing was changed.', COALESCE(member.staged_schema || '.' || member.staged_name, member.key), pg_catalog.rtrim(message, '.'))
            ELSE pg_catalog.format('%s depends on what is replaced and cannot follow: %s; nothing was changed.', COALESCE(member.old_name, member.key), pg_catalog.rtrim(message, '.'))
        END,
        DETAIL = COALESCE(detail, ''),
        HINT = CASE
            WHEN hint <> '' THEN hint
            WHEN member.changed THEN 'Mend its SELECT or its declaration, and the revision that holds them.'
            ELSE 'Change or drop it in the same revision or before, or keep for it what it reads.'
        END;
END
$body$;
COMMENT ON FUNCTION ledgerviews.refused(ledgerviews.member, text, text, text, text) IS 'Raise why a relation cannot be built, by its name.';

CREATE FUNCTION ledgerviews.hang(member ledgerviews.member, before boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $body$
DECLARE
    v_captured record;
    v_next text := ledgerviews.next_schema(member.schema_name);
    v_columns text[];
    v_gone text[];
    v_word text := CASE member.kind WHEN 'materialized view' THEN 'MATERIALIZED VIEW' WHEN 'table' THEN 'TABLE' ELSE 'VIEW' END;
    v_was "char" := (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = member.old);
    v_other boolean := v_was IS DISTINCT FROM (CASE member.kind WHEN 'materialized view' THEN 'm' WHEN 'table' THEN 'r' ELSE 'v' END)::"char";
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_hint text;
BEGIN
    IF member.old IS NULL THEN
        RETURN;
    END IF;
    SELECT COALESCE(pg_catalog.array_agg(a.attname::text), '{}') INTO v_columns
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = member.new AND a.attnum > 0 AND NOT a.attisdropped;
    SELECT s.gone_indexes
        || CASE WHEN s.registered ->> 'key_index' IS NOT NULL AND NOT s.has_key THEN ARRAY[s.registered ->> 'key_index'] ELSE '{}' END
        || CASE WHEN s.renamed_from IS NOT NULL THEN ARRAY[s.registered ->> 'key_index_was'] ELSE '{}' END
    INTO v_gone
    FROM ledgerviews.staged AS s
    WHERE s.schema_name = member.staged_schema AND s.relation_name = member.staged_name;
    IF member.part = 'rollup' AND member.changed THEN
        -- Its own two indexes are made anew.
        v_gone := ARRAY(
            SELECT s.rollup_was || x.suffix
            FROM ledgerviews.staged AS s
            CROSS JOIN (VALUES ('_key'), ('_day')) AS x (suffix)
            WHERE s.schema_name = member.staged_schema AND s.relation_name = member.staged_name);
    END IF;
    FOR v_captured IN
        SELECT c.kind, c.object, c.columns, c.statement
        FROM ledgerviews.captured(member.old, v_next, member.name) AS c
        WHERE before = (c.kind = 'storage')
        ORDER BY c.place
    LOOP
        IF v_other AND v_captured.kind NOT IN ('comment', 'label', 'owner', 'grant')
            OR v_captured.kind IN ('index', 'replica identity') AND v_captured.object = ANY (v_gone)
        THEN
            CONTINUE;
        END IF;
        IF NOT v_captured.columns <@ v_columns AND v_captured.kind IN ('rule', 'trigger') THEN
            RAISE EXCEPTION USING
                ERRCODE = 'undefined_column',
                MESSAGE = (
                    SELECT pg_catalog.format('it needs the column %s, which is gone', pg_catalog.string_agg(n.name, ', ' ORDER BY n.name))
                    FROM pg_catalog.unnest(v_captured.columns) AS n (name)
                    WHERE n.name <> ALL (v_columns)),
                HINT = pg_catalog.format('Drop the %s, or make it anew without, before this revision.', v_captured.kind);
        END IF;
        IF NOT v_captured.columns <@ v_columns THEN
            IF v_captured.kind IN ('index', 'statistics') AND v_captured.statement LIKE 'CREATE %' THEN
                RAISE WARNING '% % goes with a column of %.%.', pg_catalog.initcap(v_captured.kind), v_captured.object, member.schema_name, member.name;
            END IF;
            CONTINUE;
        END IF;
        EXECUTE pg_catalog.regexp_replace(
            v_captured.statement, '^(ALTER|COMMENT ON|SECURITY LABEL FOR \S+ ON) (?:MATERIALIZED )?VIEW ', '\1 ' || v_word || ' ');
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS
        v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
    IF v_sqlstate ~ '^(40|55)' THEN
        RAISE;
    END IF;
    PERFORM ledgerviews.refused(
        member, v_sqlstate,
        pg_catalog.concat_ws(' ', 'its', v_captured.kind, CASE v_captured.kind WHEN 'grant' THEN 'to' END, v_captured.object) || ': ' || v_message,
        v_detail, v_hint);
END
$body$;
COMMENT ON FUNCTION ledgerviews.hang(ledgerviews.member, boolean) IS
'Give what was built beside all that hangs on the one that it replaces: storage before it is filled, the rest after.';

CREATE FUNCTION ledgerviews.grant_defaults(member ledgerviews.member) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT
            a.privilege_type, a.is_grantable,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS grantee
        FROM pg_catalog.pg_default_acl AS d
        JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace AND n.nspname = member.schema_name
        CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) AS a
        WHERE d.defaclrole = CURRENT_USER::pg_catalog.regrole AND d.defaclobjtype = CASE member.kind WHEN 'function' THEN 'f' ELSE 'r' END
            AND a.grantee <> d.defaclrole
    LOOP
        EXECUTE pg_catalog.format(
            'GRANT %s ON %s %I.%I TO %s%s', v_grant.privilege_type,
            CASE member.kind WHEN 'function' THEN 'FUNCTION' ELSE 'TABLE' END,
            ledgerviews.next_schema(member.schema_name), member.name, v_grant.grantee,
            CASE WHEN v_grant.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.grant_defaults(ledgerviews.member) IS
'Give something new what the default privileges of its schema would have given it there.';

CREATE FUNCTION ledgerviews.goes_back() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN COALESCE(pg_catalog.current_setting('ledgerviews.backwards', true), '') = 'on';
COMMENT ON FUNCTION ledgerviews.goes_back() IS 'Whether a revision is taken back in this transaction.';

CREATE FUNCTION ledgerviews.refuse_built_days(days ledgerviews.member) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_next text := ledgerviews.next_schema(days.schema_name);
    v_rollup text;
    v_day text;
    v_begins text;
    v_whole text;
    v_at date;
BEGIN
    SELECT
        m.name,
        -- What only follows is not staged, but known.
        COALESCE(s.registered ->> 'day', r.day_column),
        CASE WHEN s.relation_name IS NULL THEN r.schema_name || '.' || r.relation_name ELSE 'it' END
    INTO v_rollup, v_day, v_begins
    FROM ledgerviews.member AS m
    LEFT JOIN ledgerviews.staged AS s ON s.schema_name = m.staged_schema AND s.relation_name = m.staged_name
    LEFT JOIN ledgerviews.relation AS r ON r.rollup = m.name
    WHERE m.schema_name = days.schema_name AND m.name || '_days' = days.name
        AND m.part = 'rollup' AND m.needed AND m.new IS NOT NULL;
    IF v_day IS NULL THEN
        RETURN;
    END IF;
    -- Where each statement has its own snapshot, both are computed in one, so that no write comes between.
    v_whole := v_rollup || CASE pg_catalog.current_setting('transaction_isolation') WHEN 'read committed' THEN '_whole' ELSE '' END;
    -- The first day is what the scrub looks at next, the last what each refresh recomputes.
    FOR v_at IN EXECUTE pg_catalog.format(
        'SELECT pg_catalog.min(a.%1$I) FROM %2$I.%3$I AS a WHERE a.%1$I >= ''0001-01-01'' AND a.%1$I < ''10000-01-01'''
        ' UNION SELECT pg_catalog.max(a.%1$I) FROM %2$I.%3$I AS a WHERE a.%1$I >= ''0001-01-01'' AND a.%1$I < ''10000-01-01''',
        v_day, v_next, v_rollup)
    LOOP
        CONTINUE WHEN v_at IS NULL;
        PERFORM ledgerviews.refuse_difference(
            v_begins, v_at, v_at + 1,
            pg_catalog.format('SELECT * FROM %I.%I AS a WHERE a.%I = %L', v_next, v_whole, v_day, v_at),
            pg_catalog.format('SELECT * FROM %I.%I(%L, %L)', v_next, days.name, v_at, v_at + 1));
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.refuse_built_days(ledgerviews.member) IS
'Raise an error where the first or last day of a rollup built beside is not what the function of single days built with it gives.';

CREATE FUNCTION ledgerviews.build_member(member ledgerviews.member, names jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
SET client_min_messages = warning
AS $body$
DECLARE
    v_staged ledgerviews.staged;
    v_next text := ledgerviews.make_next(member.schema_name);
    v_target text := pg_catalog.format('%I.%I', ledgerviews.next_schema(member.schema_name), member.name);
    v_text text;
    v_line text;
    v_rows bigint;
    v_created boolean := false;
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_hint text;
BEGIN
    SELECT s.* INTO v_staged
    FROM ledgerviews.staged AS s
    WHERE s.schema_name = member.staged_schema AND s.relation_name = member.staged_name;
    BEGIN
        IF member.kind = 'table' THEN
            EXECUTE pg_catalog.format(
                'CREATE TABLE %s AS SELECT * FROM %I.%I WITH %sDATA', v_target, v_next, member.name || '_whole',
                CASE WHEN member.needed THEN '' ELSE 'NO ' END);
            EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL', v_target);
            IF member.changed THEN
                PERFORM ledgerviews.refuse_undated('its', v_target::pg_catalog.regclass, v_staged.registered ->> 'day');
            END IF;
        ELSIF member.kind = 'function' AND member.changed THEN
            EXECUTE pg_catalog.format(
                E'CREATE FUNCTION %s(lo date, hi date) RETURNS SETOF %I.%I\n'
                'LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp STABLE BEGIN ATOMIC\n%s;\nEND',
                v_target, v_next, v_staged.registered ->> 'rollup', ledgerviews.resolved(member.body, true));
            EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s(date, date) FROM PUBLIC', v_target);
        ELSIF member.kind = 'function' THEN
            v_text := ledgerviews.moved(
                pg_catalog.pg_get_functiondef(member.old),
                names || pg_catalog.jsonb_build_object(member.old_name, v_target));
            EXECUTE v_text;
        ELSE
            v_text := CASE
                WHEN member.changed THEN ledgerviews.resolved(member.body, true)
                ELSE ledgerviews.moved(pg_catalog.rtrim(pg_catalog.pg_get_viewdef(member.old, false), ';'), names)
            END;
            PERFORM ledgerviews.run_under(
                CASE WHEN member.as_is AND member.changed THEN ledgerviews.path_beside(v_staged.search_path) ELSE 'pg_catalog, pg_temp' END,
                pg_catalog.format(
                    E'CREATE %s %s AS\n%s\n%s', CASE member.kind WHEN 'view' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, v_target, v_text,
                    CASE member.kind WHEN 'view' THEN '' ELSE 'WITH NO DATA' END));
        END IF;
        v_created := true;
        IF member.kind = 'function' THEN
            SELECT p.oid INTO member.new
            FROM pg_catalog.pg_proc AS p
            WHERE p.pronamespace = pg_catalog.to_regnamespace(v_next) AND p.proname = member.name
            ORDER BY p.oid DESC
            LIMIT 1;
            IF member.old IS NULL THEN
                PERFORM ledgerviews.grant_defaults(member);
            END IF;
            FOR v_line IN
                SELECT c.statement
                FROM ledgerviews.captured_function(member.old, member.new::pg_catalog.regprocedure::text) AS c
                WHERE member.old IS NOT NULL
                ORDER BY c.place
            LOOP
                EXECUTE v_line;
            END LOOP;
            -- It runs with its owner's rights: whoever owns the rollup, not whoever somebody gave the function to.
            IF member.old IS NOT NULL AND member.changed AND member.part = 'days' THEN
                SELECT pg_catalog.format('ALTER FUNCTION %s OWNER TO %I', member.new::pg_catalog.regprocedure, pg_catalog.pg_get_userbyid(c.relowner))
                INTO v_line
                FROM pg_catalog.pg_class AS c
                WHERE c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', v_next, v_staged.registered ->> 'rollup'));
                EXECUTE v_line;
            END IF;
            -- A revision that was wrong can only be left behind by going back over it; what it brings is computed anew.
            IF member.part = 'days' AND NOT ledgerviews.goes_back() THEN
                PERFORM ledgerviews.refuse_built_days(member);
            END IF;
        ELSE
            member.new := pg_catalog.to_regclass(v_target);
            -- What somebody else wrote is filled and indexed with the rights of its owner.
            IF member.kind = 'materialized view' AND member.part IS NULL THEN
                SELECT pg_catalog.format(
                    'GRANT CREATE ON SCHEMA %1$I TO %2$I; ALTER MATERIALIZED VIEW %3$s OWNER TO %2$I;'
                    ' REVOKE CREATE ON SCHEMA %1$I FROM %2$I', v_next,
                    pg_catalog.pg_get_userbyid(c.relowner), v_target)
                INTO v_line
                FROM pg_catalog.pg_class AS c
                WHERE c.oid = member.old AND pg_catalog.pg_get_userbyid(c.relowner) <> CURRENT_USER;
                IF v_line IS NOT NULL THEN
                    EXECUTE v_line;
                END IF;
            END IF;
            PERFORM ledgerviews.hang(member, true);
            IF member.kind = 'materialized view' AND member.needed THEN
                EXECUTE pg_catalog.format('REFRESH MATERIALIZED VIEW %s', v_target);
            END IF;
            IF member.kind = 'table' AND member.changed THEN
                EXECUTE pg_catalog.format('CREATE UNIQUE INDEX %I ON %s (%s)', member.name || '_key', v_target, ledgerviews.listed(v_staged.registered -> 'unique_key'));
                IF v_staged.registered #>> '{unique_key,0}' <> v_staged.registered ->> 'day' THEN
                    EXECUTE pg_catalog.format('CREATE INDEX %I ON %s (%I)', member.name || '_day', v_target, v_staged.registered ->> 'day');
                END IF;
            END IF;
            PERFORM ledgerviews.hang(member, false);
            IF member.old IS NULL THEN
                PERFORM ledgerviews.grant_defaults(member);
            END IF;
            IF member.kind <> 'table' AND v_staged.relation_name IS NOT NULL AND COALESCE(member.part, 'relation') = 'relation' THEN
                PERFORM ledgerviews.make_key(v_staged, v_next);
                FOREACH v_line IN ARRAY v_staged.prepare || v_staged.finish LOOP
                    -- An index that is declared no more was not built beside: this would take that of the live one.
                    CONTINUE WHEN v_line LIKE 'DROP INDEX %';
                    EXECUTE ledgerviews.resolved(v_line, true);
                END LOOP;
            END IF;
            IF member.kind <> 'view' AND member.needed THEN
                EXECUTE pg_catalog.format('ANALYZE %s', v_target);
                EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %s', v_target) INTO v_rows;
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS
            v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
        -- A conflict with another session is no fault of the relation; a fault in its text keeps its line; what says
        -- its name already goes on as it is.
        IF v_sqlstate ~ '^(40|55)' OR member.changed AND v_sqlstate LIKE '42%' AND NOT v_created OR v_message LIKE '%; nothing was changed.' THEN
            RAISE;
        END IF;
        PERFORM ledgerviews.refused(member, v_sqlstate, v_message, v_detail, v_hint);
    END;
    UPDATE ledgerviews.member AS m SET new = member.new, row_count = v_rows WHERE m.key = member.key;
END
$body$;
COMMENT ON FUNCTION ledgerviews.build_member(ledgerviews.member, jsonb) IS
'Build one relation beside, with all that hangs on it, filled and analysed.';

CREATE FUNCTION ledgerviews.listed(names jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n.name), ', ' ORDER BY n.ordinality)
    FROM pg_catalog.jsonb_array_elements_text(names) WITH ORDINALITY AS n (name, ordinality)
);
COMMENT ON FUNCTION ledgerviews.listed(jsonb) IS 'Columns, quoted, with commas between.';

CREATE FUNCTION ledgerviews.make_key(staged ledgerviews.staged, schema_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $body$
DECLARE
    v_index text := staged.registered ->> 'key_index';
BEGIN
    IF v_index IS NULL OR EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.relname = v_index AND c.relkind = 'i' AND c.relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident(schema_name))
    ) OR (staged.has_key AND schema_name = staged.schema_name)
    THEN
        RETURN;
    END IF;
    EXECUTE pg_catalog.format(
        'CREATE UNIQUE INDEX %I ON %I.%I (%s)', v_index, schema_name, staged.relation_name, ledgerviews.listed(staged.registered -> 'unique_key'));
END
$body$;
COMMENT ON FUNCTION ledgerviews.make_key(ledgerviews.staged, text) IS 'Make the unique index that a declared key asks for, where it is missing.';
