-- Engine version 3, replacing: what was built is exchanged for what stands, and entered in the registry.

CREATE FUNCTION ledgerviews.register(staged ledgerviews.staged) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_entry jsonb := staged.registered;
    v_sources text[] := ARRAY(SELECT e.source FROM pg_catalog.jsonb_array_elements_text(COALESCE(staged.registered -> 'sources', '[]')) AS e (source));
    v_key text[] := ARRAY(SELECT e.name FROM pg_catalog.jsonb_array_elements_text(COALESCE(staged.registered -> 'unique_key', '[]')) AS e (name));
BEGIN
    IF staged.kind = 'materialized view' AND pg_catalog.cardinality(v_key) = 0 THEN
        -- No refresh of ours can renew it concurrently, so it is not ours to refresh.
        DELETE FROM ledgerviews.relation AS r
        WHERE r.schema_name = staged.schema_name AND (
            r.relation_name = staged.relation_name
            OR r.relation_name = staged.renamed_from AND NOT EXISTS (
                SELECT FROM ledgerviews.staged AS o
                WHERE o.schema_name = r.schema_name AND o.relation_name = r.relation_name AND o.change <> 'drop'
            )
        );
        RETURN;
    END IF;
    IF staged.renamed_from IS NOT NULL THEN
        UPDATE ledgerviews.relation AS r SET rollup = NULL
        WHERE r.schema_name = staged.schema_name AND r.relation_name = staged.renamed_from;
        INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key, sources, day_column)
        SELECT r.schema_name, staged.relation_name, r.kind, r.definition, r.unique_key, r.sources, r.day_column
        FROM ledgerviews.relation AS r
        WHERE r.schema_name = staged.schema_name AND r.relation_name = staged.renamed_from;
        UPDATE ledgerviews.relation_state AS t
        SET dirty = o.dirty, open_from = o.open_from, rebuild = o.rebuild, row_count = o.row_count, changes = o.changes,
            followed = o.followed, refreshed_at = o.refreshed_at, rollup_file = o.rollup_file, scrubbed_to = o.scrubbed_to,
            scrubbed_at = o.scrubbed_at, unchecked = o.unchecked
        FROM ledgerviews.relation_state AS o
        WHERE o.schema_name = staged.schema_name AND o.relation_name = staged.renamed_from
            AND t.schema_name = staged.schema_name AND t.relation_name = staged.relation_name;
        DELETE FROM ledgerviews.relation AS r WHERE r.schema_name = staged.schema_name AND r.relation_name = staged.renamed_from;
    END IF;
    INSERT INTO ledgerviews.relation AS r (
        schema_name, relation_name, kind, definition, unique_key, day_column, rollup, sources, day_definition, body, day_body, declared,
        printed, printed_days
    ) VALUES (
        staged.schema_name, staged.relation_name, staged.kind, v_entry ->> 'definition', v_key, v_entry ->> 'day', v_entry ->> 'rollup',
        v_sources, v_entry ->> 'day_definition', v_entry ->> 'body', v_entry ->> 'day_body', COALESCE(v_entry -> 'declared', '{}'),
        staged.printed, staged.printed_days
    )
    ON CONFLICT (schema_name, relation_name) DO UPDATE
    SET kind = excluded.kind, definition = excluded.definition, unique_key = excluded.unique_key, day_column = excluded.day_column,
        rollup = excluded.rollup, sources = excluded.sources, day_definition = excluded.day_definition, body = excluded.body,
        day_body = excluded.day_body, declared = excluded.declared, history = COALESCE(excluded.history, r.history), printed = excluded.printed, printed_days = excluded.printed_days,
        installed_at = CASE WHEN staged.change IN ('create', 'rebuild') THEN pg_catalog.now() ELSE r.installed_at END;
    IF staged.kind = 'view' THEN
        DELETE FROM ledgerviews.relation_state AS t WHERE t.schema_name = staged.schema_name AND t.relation_name = staged.relation_name;
    ELSE
        INSERT INTO ledgerviews.relation_state (schema_name, relation_name) VALUES (staged.schema_name, staged.relation_name)
        ON CONFLICT (schema_name, relation_name) DO NOTHING;
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.register(ledgerviews.staged) IS 'Enter a staged relation into the registry; under its new name if it has one.';

CREATE FUNCTION ledgerviews.register_checks(staged ledgerviews.staged) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_entry jsonb := staged.registered;
BEGIN
    IF staged.kind = 'materialized view' AND NOT staged.registered ? 'key_index' THEN
        RETURN;
    END IF;
    DELETE FROM ledgerviews.relation_check AS c
    WHERE c.schema_name = staged.schema_name AND c.relation_name = staged.relation_name
        AND NOT EXISTS (
            SELECT FROM pg_catalog.jsonb_array_elements(COALESCE(v_entry -> 'checks', '[]')) AS e (value)
            WHERE e.value ->> 'name' = c.check_name
        );
    INSERT INTO ledgerviews.relation_check AS c (schema_name, relation_name, check_name, kind, columns, expression, severity)
    SELECT
        staged.schema_name, staged.relation_name, e.value ->> 'name', e.value ->> 'kind',
        ARRAY(SELECT n.name FROM pg_catalog.jsonb_array_elements_text(COALESCE(e.value -> 'columns', '[]')) AS n (name)),
        e.value ->> 'expression', COALESCE(e.value ->> 'severity', 'error')
    FROM pg_catalog.jsonb_array_elements(COALESCE(v_entry -> 'checks', '[]')) AS e (value)
    WHERE NOT EXISTS (
        SELECT FROM ledgerviews.relation_check AS o
        WHERE o.schema_name = staged.schema_name AND o.relation_name = staged.relation_name AND o.check_name = e.value ->> 'name'
            AND o.kind = e.value ->> 'kind' AND o.expression IS NOT DISTINCT FROM e.value ->> 'expression'
            AND o.severity = COALESCE(e.value ->> 'severity', 'error')
            AND pg_catalog.to_jsonb(o.columns) = COALESCE(e.value -> 'columns', '[]')
    )
    ON CONFLICT (schema_name, relation_name, check_name) DO UPDATE
    SET kind = excluded.kind, columns = excluded.columns, expression = excluded.expression, severity = excluded.severity;
END
$body$;
COMMENT ON FUNCTION ledgerviews.register_checks(ledgerviews.staged) IS 'Enter the checks of a staged relation into the registry, where they differ.';

CREATE FUNCTION ledgerviews.settle() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_mart record;
    v_source record;
BEGIN
    DELETE FROM ledgerviews.relation AS r
    USING ledgerviews.staged AS s
    WHERE s.change = 'drop' AND r.schema_name = s.schema_name AND r.relation_name = s.relation_name
        AND NOT EXISTS (SELECT FROM ledgerviews.staged AS o WHERE o.schema_name = s.schema_name AND o.renamed_from = s.relation_name);
    UPDATE ledgerviews.relation_state AS t
    SET rebuild = CASE
            WHEN NOT m.needed THEN 'it was never computed'
            WHEN s.rollup_was IS NOT NULL AND NOT r.sources <@ s.sources_were THEN 'its sources are others'
            WHEN r.rollup IS NOT NULL AND ledgerviews.goes_back() THEN 'a downgrade brought it back'
        END,
        dirty = '{}',
        row_count = COALESCE(m.row_count, 0),
        rollup_file = (
            SELECT c.relfilenode FROM pg_catalog.pg_class AS c
            WHERE c.oid = pg_catalog.to_regclass('ledgerviews.' || pg_catalog.quote_ident(r.rollup))
        ),
        changes = t.changes + 1,
        refreshed_at = CASE WHEN m.needed THEN pg_catalog.now() ELSE t.refreshed_at END,
        open_from = CASE
            WHEN r.rollup IS NOT NULL AND m.needed
                THEN GREATEST(t.open_from, pg_catalog.current_setting('ledgerviews.replace_open')::date)
        END,
        scrubbed_to = NULL,
        scrubbed_at = NULL,
        unchecked = m.needed
    FROM ledgerviews.member AS m
    JOIN ledgerviews.relation AS r ON r.schema_name = m.schema_name AND r.relation_name = m.name
    LEFT JOIN ledgerviews.staged AS s ON s.schema_name = r.schema_name AND s.relation_name = r.relation_name
    WHERE m.action = 'swap' AND m.kind = 'materialized view' AND COALESCE(m.part, 'relation') = 'relation'
        AND t.schema_name = m.schema_name AND t.relation_name = m.name;
    UPDATE ledgerviews.relation_state AS t
    SET rebuild = 'its sources are others'
    FROM ledgerviews.staged AS s
    JOIN ledgerviews.relation AS r ON r.schema_name = s.schema_name AND r.relation_name = s.relation_name
    WHERE s.change IN ('none', 'rename') AND s.rollup_was IS NOT NULL AND NOT r.sources <@ s.sources_were
        AND t.schema_name = s.schema_name AND t.relation_name = s.relation_name;
    -- What the next refresh tells is what changed since the last one, not since it was built here: an orphan that was
    -- counted on its own day may have its parent by then, and a scan knows nothing of rows that came and went between.
    FOR v_mart IN
        SELECT r.schema_name, r.relation_name, r.sources
        FROM ledgerviews.member AS m
        JOIN ledgerviews.relation AS r ON r.schema_name = m.schema_name AND r.relation_name = m.name
        WHERE m.action = 'swap' AND m.kind = 'materialized view' AND m.needed AND r.rollup IS NOT NULL
    LOOP
        FOR v_source IN SELECT s.source, s.stem, s.parent, s.tracking FROM ledgerviews.source AS s WHERE s.source = ANY (v_mart.sources) LOOP
            IF v_source.tracking = 'none' THEN
                UPDATE ledgerviews.relation_state AS t
                SET rebuild = COALESCE(t.rebuild, v_source.source || ': no trigger tells what changed since the relation was replaced')
                WHERE t.schema_name = v_mart.schema_name AND t.relation_name = v_mart.relation_name;
            ELSIF v_source.parent IS NOT NULL THEN
                EXECUTE pg_catalog.format(
                    'UPDATE ledgerviews.relation_state AS t'
                    ' SET dirty = t.dirty + ('
                    '   SELECT COALESCE(pg_catalog.range_agg(pg_catalog.daterange(c.day, c.day + 1)), ''{}'') FROM ledgerviews.%I AS c)'
                    ' WHERE t.schema_name = $1 AND t.relation_name = $2',
                    v_source.stem || '_change')
                USING v_mart.schema_name, v_mart.relation_name;
            END IF;
        END LOOP;
    END LOOP;
    -- Built from what they read as it is now.
    UPDATE ledgerviews.relation_state AS t
    SET followed = (
        SELECT pg_catalog.sum(u.changes)::bigint FROM ledgerviews.relation_state AS u
        WHERE pg_catalog.format('%I.%I', u.schema_name, u.relation_name) = ANY (m.upstream)
    )
    FROM ledgerviews.member AS m
    WHERE m.action = 'swap' AND m.kind = 'materialized view' AND m.needed
        AND t.schema_name = m.schema_name AND t.relation_name = m.name;
    UPDATE ledgerviews.relation AS r
    SET printed = ledgerviews.printed(r.schema_name, r.relation_name),
        printed_days = ledgerviews.printed_days(r.schema_name, r.relation_name)
    WHERE r.printed IS NULL AND (
        r.body IS NOT NULL
        OR EXISTS (
            SELECT FROM ledgerviews.staged AS s WHERE s.schema_name = r.schema_name AND s.relation_name = r.relation_name
        )
    );
END
$body$;
COMMENT ON FUNCTION ledgerviews.settle() IS
'Leave the registry and the state such that the next refresh recomputes what the builds did not see, and nothing else.';

CREATE FUNCTION ledgerviews.drop_old(member ledgerviews.member) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_detail text;
BEGIN
    IF member.kind = 'function' THEN
        EXECUTE pg_catalog.format('DROP ROUTINE %s', member.old::pg_catalog.regprocedure);
        RETURN;
    END IF;
    EXECUTE pg_catalog.format(
        'DROP %s %s',
        (
            SELECT CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END
            FROM pg_catalog.pg_class AS c WHERE c.oid = member.old
        ),
        member.old_name);
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION USING
        ERRCODE = 'dependent_objects_still_exist',
        MESSAGE = pg_catalog.format('Something was made on %s while it was replaced; nothing was changed.', COALESCE(member.old_name, member.key)),
        DETAIL = v_detail,
        HINT = 'Run it again: it is carried over then.';
END
$body$;
COMMENT ON FUNCTION ledgerviews.drop_old(ledgerviews.member) IS 'Drop what was replaced; what was made on it meanwhile stops that.';

CREATE FUNCTION ledgerviews.exchange(keep boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
SET check_function_bodies = off
AS $body$
DECLARE
    v_member ledgerviews.member;
    v_staged ledgerviews.staged;
    v_word text;
    v_line text;
    v_statistic record;
    v_old text;
BEGIN
    FOR v_member IN
        SELECT m.* FROM ledgerviews.member AS m WHERE m.action = 'replace' ORDER BY m.place, m.key
    LOOP
        PERFORM ledgerviews.run_under(
            COALESCE(
                (SELECT CASE WHEN v_member.as_is AND v_member.changed THEN ledgerviews.path_beside(s.search_path) END
                 FROM ledgerviews.staged AS s
                 WHERE s.schema_name = v_member.staged_schema AND s.relation_name = v_member.staged_name),
                'pg_catalog, pg_temp'),
            v_member.body);
    END LOOP;
    -- What was made on them since the snapshot is seen by a DROP alone; where they are kept it would go on reading them.
    IF keep THEN
        BEGIN
            FOR v_member IN
                SELECT m.* FROM ledgerviews.member AS m WHERE m.action IN ('swap', 'drop') AND m.old IS NOT NULL ORDER BY m.old_place DESC, m.key
            LOOP
                PERFORM ledgerviews.drop_old(v_member);
            END LOOP;
            RAISE EXCEPTION USING ERRCODE = 'LV000';
        EXCEPTION WHEN SQLSTATE 'LV000' THEN
            NULL;
        END;
    END IF;
    FOR v_member IN
        SELECT m.* FROM ledgerviews.member AS m WHERE m.action IN ('swap', 'drop') AND m.old IS NOT NULL ORDER BY m.old_place DESC, m.key
    LOOP
        IF v_member.kind = 'function' THEN
            v_word := 'ROUTINE';
            v_line := v_member.old::pg_catalog.regprocedure::text;
        ELSE
            SELECT CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END INTO v_word
            FROM pg_catalog.pg_class AS c WHERE c.oid = v_member.old;
            v_line := v_member.old_name;
        END IF;
        IF keep THEN
            v_old := ledgerviews.old_schema(v_member.schema_name);
            IF pg_catalog.to_regnamespace(v_old) IS NULL THEN
                EXECUTE pg_catalog.format('CREATE SCHEMA %I', v_old);
            END IF;
            EXECUTE pg_catalog.format('ALTER %s %s SET SCHEMA %I', v_word, v_line, v_old);
            IF v_member.kind <> 'function' THEN
                FOR v_statistic IN
                    SELECT s.oid, n.nspname, s.stxname FROM pg_catalog.pg_statistic_ext AS s
                    JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
                    WHERE s.stxrelid = v_member.old
                LOOP
                    IF v_statistic.nspname <> v_member.schema_name THEN
                        EXECUTE pg_catalog.format('ALTER STATISTICS %I.%I RENAME TO %I', v_statistic.nspname, v_statistic.stxname, 'ledgerviews_' || v_statistic.oid);
                        v_statistic.stxname := 'ledgerviews_' || v_statistic.oid;
                    END IF;
                    EXECUTE pg_catalog.format('ALTER STATISTICS %I.%I SET SCHEMA %I', v_statistic.nspname, v_statistic.stxname, v_old);
                END LOOP;
            END IF;
        ELSE
            PERFORM ledgerviews.drop_old(v_member);
        END IF;
    END LOOP;
    FOR v_staged IN SELECT s.* FROM ledgerviews.staged AS s WHERE s.change = 'rename' ORDER BY s.place LOOP
        PERFORM ledgerviews.rename(v_staged);
        FOREACH v_line IN ARRAY v_staged.prepare LOOP
            EXECUTE ledgerviews.finally(v_line);
        END LOOP;
    END LOOP;
    FOR v_member IN
        SELECT m.* FROM ledgerviews.member AS m WHERE m.action = 'swap' ORDER BY m.place, m.key
    LOOP
        v_word := CASE v_member.kind
            WHEN 'function' THEN 'ROUTINE' WHEN 'table' THEN 'TABLE' WHEN 'view' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END;
        v_line := CASE v_member.kind
            WHEN 'function' THEN v_member.new::pg_catalog.regprocedure::text
            ELSE pg_catalog.format('%I.%I', ledgerviews.next_schema(v_member.schema_name), v_member.name)
        END;
        EXECUTE pg_catalog.format('ALTER %s %s SET SCHEMA %I', v_word, v_line, v_member.schema_name);
        IF v_member.kind IN ('materialized view', 'table') THEN
            FOR v_statistic IN
                SELECT n.nspname, s.stxname FROM pg_catalog.pg_statistic_ext AS s
                JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
                WHERE s.stxrelid = v_member.new
            LOOP
                EXECUTE pg_catalog.format(
                    'ALTER STATISTICS %I.%I SET SCHEMA %I', v_statistic.nspname, v_statistic.stxname,
                    COALESCE(v_member.statistics #>> ARRAY[v_statistic.stxname, '0'], v_member.schema_name));
                IF v_member.statistics ? v_statistic.stxname THEN
                    EXECUTE pg_catalog.format(
                        'ALTER STATISTICS %I.%I RENAME TO %I', v_member.statistics #>> ARRAY[v_statistic.stxname, '0'], v_statistic.stxname,
                        v_member.statistics #>> ARRAY[v_statistic.stxname, '1']);
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    FOR v_staged IN
        SELECT s.* FROM ledgerviews.staged AS s
        WHERE s.change <> 'drop'
            AND NOT EXISTS (
                SELECT FROM ledgerviews.member AS m
                WHERE m.staged_schema = s.schema_name AND m.staged_name = s.relation_name AND m.action = 'swap'
                    AND COALESCE(m.part, 'relation') = 'relation'
            )
        ORDER BY s.place
    LOOP
        FOREACH v_line IN ARRAY v_staged.finish LOOP
            EXECUTE ledgerviews.finally(v_line);
        END LOOP;
    END LOOP;
    FOR v_staged IN SELECT s.* FROM ledgerviews.staged AS s WHERE s.change <> 'drop' ORDER BY s.place LOOP
        IF v_staged.renamed_from IS NOT NULL THEN
            PERFORM ledgerviews.register(v_staged);
        END IF;
        PERFORM ledgerviews.register_checks(v_staged);
    END LOOP;
    PERFORM ledgerviews.settle();
    FOR v_line IN SELECT n.nspname FROM pg_catalog.pg_namespace AS n WHERE n.nspname ~ '^ledgerviews_next_[0-9a-f]{8}$' LOOP
        EXECUTE pg_catalog.format('DROP SCHEMA %I', v_line);
    END LOOP;
    DELETE FROM ledgerviews.member;
    DELETE FROM ledgerviews.staged;
END
$body$;
COMMENT ON FUNCTION ledgerviews.exchange(boolean) IS 'Put what was built in the place of what stands; all locks are held, so nothing waits.';

CREATE FUNCTION ledgerviews.rename(staged ledgerviews.staged) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_word text;
    v_rollup text := staged.registered ->> 'rollup';
    v_pair record;
BEGIN
    SELECT CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END INTO v_word
    FROM pg_catalog.pg_class AS c WHERE c.oid = staged.stands;
    EXECUTE pg_catalog.format('ALTER %s %I.%I RENAME TO %I', v_word, staged.schema_name, staged.renamed_from, staged.relation_name);
    FOR v_pair IN
        SELECT c.relname AS was, n.name
        FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
        JOIN LATERAL (
            SELECT staged.registered ->> 'key_index' AS name WHERE c.relname = staged.registered ->> 'key_index_was'
            UNION ALL
            SELECT staged.registered -> 'renamed_indexes' ->> c.relname WHERE staged.registered -> 'renamed_indexes' ? c.relname
        ) AS n ON n.name IS NOT NULL
        WHERE i.indrelid = staged.stands
    LOOP
        EXECUTE pg_catalog.format('ALTER INDEX %I.%I RENAME TO %I', staged.schema_name, v_pair.was, v_pair.name);
    END LOOP;
    IF v_rollup IS NOT NULL AND staged.rollup_was IS NOT NULL AND v_rollup <> staged.rollup_was THEN
        EXECUTE pg_catalog.format('ALTER TABLE ledgerviews.%I RENAME TO %I', staged.rollup_was, v_rollup);
        EXECUTE pg_catalog.format('ALTER VIEW ledgerviews.%I RENAME TO %I', staged.rollup_was || '_whole', v_rollup || '_whole');
        EXECUTE pg_catalog.format('ALTER FUNCTION ledgerviews.%I(date, date) RENAME TO %I', staged.rollup_was || '_days', v_rollup || '_days');
        EXECUTE pg_catalog.format('ALTER INDEX ledgerviews.%I RENAME TO %I', staged.rollup_was || '_key', v_rollup || '_key');
        EXECUTE pg_catalog.format('ALTER INDEX IF EXISTS ledgerviews.%I RENAME TO %I', staged.rollup_was || '_day', v_rollup || '_day');
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.rename(ledgerviews.staged) IS 'Rename a relation with its indexes and the parts of its rollup; what reads it follows.';

CREATE FUNCTION ledgerviews.follow_renames() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
UPDATE ledgerviews.source AS s
SET day_column = COALESCE(c.day, s.day_column), key_column = COALESCE(c.key, s.key_column)
FROM ledgerviews.source_columns() AS c
WHERE c.source = s.source AND (c.day <> s.day_column OR c.key <> s.key_column);
END;
COMMENT ON FUNCTION ledgerviews.follow_renames() IS
'Note the names that the application gave the sources'' columns since: a trigger that is made anew needs them.';

CREATE FUNCTION ledgerviews.swap(
    keep boolean DEFAULT false,
    wait_ms integer DEFAULT 50,
    patience_ms integer DEFAULT 60000,
    track text[] DEFAULT '{}',
    tracking text DEFAULT 'none',
    untrack text[] DEFAULT '{}'
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_lock record;
    v_name text;
    v_left double precision;
    v_began timestamptz := pg_catalog.clock_timestamp();
    v_attempt timestamptz;
    v_attempts integer := 0;
    v_wait double precision;
    v_sources text[];
    v_lock_timeout text := pg_catalog.current_setting('lock_timeout');
    v_staged ledgerviews.staged;
    v_pid integer;
    v_circle integer;
    v_circle_name text;
    v_circle_began timestamptz;
BEGIN
    PERFORM ledgerviews.follow_renames();
    FOR v_staged IN
        SELECT s.* FROM ledgerviews.staged AS s WHERE s.change <> 'drop' AND s.renamed_from IS NULL ORDER BY s.place
    LOOP
        PERFORM ledgerviews.register(v_staged);
    END LOOP;
    UPDATE ledgerviews.relation AS r
    SET printed = ledgerviews.printed(r.schema_name, r.relation_name),
        printed_days = ledgerviews.printed_days(r.schema_name, r.relation_name)
    FROM ledgerviews.staged AS s
    WHERE s.schema_name = r.schema_name AND s.relation_name = r.relation_name AND s.change = 'none' AND r.printed IS NULL
        -- A rename changes what is printed of those that read it.
        AND NOT EXISTS (SELECT FROM ledgerviews.staged AS o WHERE o.renamed_from IS NOT NULL);
    LOOP
        v_attempts := v_attempts + 1;
        -- Where readers follow each other so closely that none of our attempts finds a gap, ever longer ones do: up to
        -- sixteen times wait_ms, which is still no second, after which PostgreSQL looks for deadlocks.
        v_wait := LEAST(wait_ms * 2 ^ ((v_attempts - 1) / 10), wait_ms * 16, GREATEST(wait_ms, 400));
        -- What hangs on the new ones is as it was when they were built; no lock of ours keeps a GRANT out.
        SELECT m.old_name INTO v_name
        FROM ledgerviews.member AS m
        WHERE m.action = 'swap' AND m.old IS NOT NULL AND ledgerviews.privileges_differ(m.privileges, ledgerviews.privileges(m.old, m.kind))
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = 'serialization_failure',
                MESSAGE = pg_catalog.format('The privileges on %s were changed while it was replaced; nothing was changed.', v_name),
                HINT = 'Run it again: they are carried over then.';
        END IF;
        -- Whoever reads a view locks it before what it reads. All locks of one attempt together take that long at most,
        -- for whoever wants to read waits behind us.
        BEGIN
            FOR v_sources, v_name IN
                SELECT pg_catalog.array_agg(s.source), 'none'
                FROM ledgerviews.source AS s WHERE s.source = ANY (untrack) AND s.tracking <> 'none'
                UNION ALL
                SELECT pg_catalog.array_agg(s.source), swap.tracking
                FROM ledgerviews.source AS s
                JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', s.schema_name, s.table_name))
                WHERE s.source = ANY (track) AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
            LOOP
                IF v_sources IS NOT NULL THEN
                    PERFORM ledgerviews.track(v_sources, v_name, 1);
                END IF;
            END LOOP;
            v_attempt := pg_catalog.clock_timestamp();
            FOR v_lock IN
                SELECT o.oid, o.place, c.relkind, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, pg_catalog.pg_get_userbyid(c.relowner) AS owner
                FROM (
                    SELECT m.old AS oid, m.old_place AS place FROM ledgerviews.member AS m
                    WHERE m.action IN ('swap', 'replace', 'drop') AND m.kind <> 'function' AND m.old IS NOT NULL
                    UNION ALL
                    SELECT s.stands, 0 FROM ledgerviews.staged AS s
                    WHERE s.stands IS NOT NULL AND (s.change = 'rename' OR s.change = 'none' AND pg_catalog.cardinality(s.gone_indexes) > 0)
                        AND NOT EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = s.stands)
                ) AS o
                JOIN pg_catalog.pg_class AS c ON c.oid = o.oid
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                ORDER BY o.place DESC, o.oid
            LOOP
                v_name := v_lock.name;
                v_left := v_wait - 1000 * EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - v_attempt);
                PERFORM pg_catalog.set_config('lock_timeout', GREATEST(pg_catalog.ceil(v_left), 1)::text, true);
                EXECUTE CASE v_lock.relkind
                    WHEN 'r' THEN pg_catalog.format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v_lock.name)
                    WHEN 'm' THEN pg_catalog.format('ALTER MATERIALIZED VIEW %s OWNER TO %I', v_lock.name, v_lock.owner)
                    -- LOCK TABLE would go through a view, down to the application's tables.
                    ELSE pg_catalog.format('ALTER VIEW %s OWNER TO %I', v_lock.name, v_lock.owner)
                END;
            END LOOP;
            PERFORM pg_catalog.set_config('lock_timeout', wait_ms::text, true);
            PERFORM ledgerviews.exchange(keep);
            PERFORM pg_catalog.set_config('lock_timeout', v_lock_timeout, true);
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            -- Who holds one of them and waits for us, as for what we keep from being changed, gives it back no sooner
            -- than we end. PostgreSQL looks for deadlocks once a wait, and that wait is never ours.
            SELECT l.pid, l.relation::pg_catalog.regclass::text INTO v_pid, v_circle_name
            FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
                AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
                AND l.relation IN (
                    SELECT m.old FROM ledgerviews.member AS m WHERE m.action IN ('swap', 'replace', 'drop') AND m.kind <> 'function'
                    UNION ALL
                    SELECT s.stands FROM ledgerviews.staged AS s
                )
                AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(l.pid))
            ORDER BY l.pid, l.relation
            LIMIT 1;
            IF v_pid IS DISTINCT FROM v_circle THEN
                v_circle := v_pid;
                v_circle_began := pg_catalog.clock_timestamp();
            ELSIF v_pid IS NOT NULL AND pg_catalog.clock_timestamp() - v_circle_began > interval '2 s' THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'lock_not_available',
                    MESSAGE = pg_catalog.format(
                        '%s cannot be exchanged: session %s holds it, and waits to change what is replaced here; nothing was changed.',
                        v_circle_name, v_pid),
                    HINT = 'Let that session end (pg_stat_activity shows it), then run this again.';
            END IF;
            IF 1000 * EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - v_began) >= patience_ms THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'lock_not_available',
                    MESSAGE = pg_catalog.format(
                        '%s was in use at each of %s attempts in %s s to exchange it; nothing was changed.',
                        COALESCE(v_name, 'A source'), v_attempts,
                        pg_catalog.round(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - v_began), 1)),
                    HINT = 'A long transaction reads it: see pg_stat_activity, and pg_prepared_xacts. Try again, or give it longer (LEDGERVIEWS_SWAP_TIMEOUT).';
            END IF;
        END;
        PERFORM pg_catalog.pg_sleep(0.05 + pg_catalog.random() * 0.2);
    END LOOP;
    -- Said once, whatever attempts it took.
    SELECT pg_catalog.string_agg(s.source, ' and ' ORDER BY s.source) INTO v_name
    FROM ledgerviews.source AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', s.schema_name, s.table_name))
    WHERE s.source = ANY (track) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE');
    IF v_name IS NOT NULL THEN
        RAISE WARNING 'Of another role, so that no trigger tracks writes and each refresh scans: %.', v_name
            USING HINT = 'Run ledgerviews tracking install as a member of its owner.';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.swap(boolean, integer, integer, text[], text, text[]) IS
'Exchange what was built for what stands, in milliseconds, with the sources'' triggers, and again a moment later where a reader holds it; '
'call it last. keep: until the next replacement; wait_ms: how long readers may have to wait for one attempt''s locks; patience_ms: for all attempts.';
