-- Engine version 3, replacing: what of the staged relations differs from what stands, and what each one reads.

CREATE FUNCTION ledgerviews.columns_of(relation oid) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT pg_catalog.array_agg(
        pg_catalog.format(
            '%I %s %s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
            NULLIF(a.attcollation, 0)::pg_catalog.regcollation)
        ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = columns_of.relation AND a.attnum > 0 AND NOT a.attisdropped
);
COMMENT ON FUNCTION ledgerviews.columns_of(oid) IS 'Names, types and collations of a relation''s columns, in order.';

CREATE FUNCTION ledgerviews.make_next(schema_name text) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_next text := ledgerviews.next_schema(schema_name);
    v_owner text;
BEGIN
    IF pg_catalog.to_regnamespace(v_next) IS NULL THEN
        EXECUTE pg_catalog.format('CREATE SCHEMA %I', v_next);
        -- Whoever granted must be able to do so again; nobody else sees the schema, which goes with the transaction.
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO PUBLIC', v_next);
        -- Whoever is given something there must be allowed to have it there.
        FOR v_owner IN
            SELECT DISTINCT o.rolname
            FROM ledgerviews.member AS m
            JOIN pg_catalog.pg_class AS c ON c.oid = m.old
            JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
            WHERE o.rolname <> CURRENT_USER
            UNION
            SELECT DISTINCT o.rolname
            FROM ledgerviews.member AS m
            JOIN pg_catalog.pg_proc AS c ON c.oid = m.old
            JOIN pg_catalog.pg_roles AS o ON o.oid = c.proowner
            WHERE o.rolname <> CURRENT_USER
            UNION
            SELECT DISTINCT o.rolname
            FROM ledgerviews.member AS m
            JOIN pg_catalog.pg_statistic_ext AS c ON c.stxrelid = m.old
            JOIN pg_catalog.pg_roles AS o ON o.oid = c.stxowner
            WHERE o.rolname <> CURRENT_USER
            UNION
            SELECT DISTINCT s.registered #>> '{declared,owner}'
            FROM ledgerviews.staged AS s
            WHERE s.registered #>> '{declared,owner}' <> CURRENT_USER
        LOOP
            EXECUTE pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', v_next, v_owner);
        END LOOP;
    END IF;
    RETURN v_next;
END
$body$;
COMMENT ON FUNCTION ledgerviews.make_next(text) IS 'The schema beside a schema, made where it is missing.';

CREATE FUNCTION ledgerviews.path_beside(path text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT pg_catalog.string_agg(p.name, ', ' ORDER BY p.place, p.ordinality)
    FROM (
        SELECT ledgerviews.next_schema(pg_catalog.btrim(e.element, ' "')) AS name, 0 AS place, e.ordinality
        FROM pg_catalog.regexp_split_to_table(path, ',') WITH ORDINALITY AS e (element, ordinality)
        WHERE pg_catalog.btrim(e.element, ' "') NOT LIKE 'pg\_%' AND pg_catalog.btrim(e.element, ' "') <> '$user'
        UNION ALL
        SELECT pg_catalog.btrim(e.element) AS name, 1 AS place, e.ordinality
        FROM pg_catalog.regexp_split_to_table(path, ',') WITH ORDINALITY AS e (element, ordinality)
    ) AS p
);
COMMENT ON FUNCTION ledgerviews.path_beside(text) IS 'A search_path that finds what is built beside first.';

CREATE FUNCTION ledgerviews.rollup_is_whole(relation oid, rollup text, unique_key text[], day text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
AS $body$
SELECT COALESCE((
    SELECT
        ledgerviews.columns_of(t.oid) = ledgerviews.columns_of(h.oid)
        -- PostgreSQL 16 and later leave out an alias that nothing needs.
        AND pg_catalog.pg_get_viewdef(rollup_is_whole.relation, false) IN (
            SELECT pg_catalog.format(
                E' SELECT %s\n   FROM ledgerviews.%I r;',
                pg_catalog.string_agg(q.prefix || pg_catalog.quote_ident(a.attname), E',\n    ' ORDER BY a.attnum),
                rollup_is_whole.rollup)
            FROM pg_catalog.pg_attribute AS a
            CROSS JOIN (VALUES ('r.'), ('')) AS q (prefix)
            WHERE a.attrelid = rollup_is_whole.relation AND a.attnum > 0
            GROUP BY q.prefix
        )
        AND f.prosecdef AND f.provolatile = 's' AND f.proparallel = 'u' AND NOT f.proisstrict AND NOT f.proleakproof
        AND f.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] AND f.proowner = t.relowner
        AND EXISTS (
            SELECT FROM pg_catalog.pg_index AS i
            WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                AND rollup_is_whole.unique_key = (
                    SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.ordinality)
                    FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
                    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                    WHERE k.ordinality <= i.indnkeyatts
                )
        )
        AND (rollup_is_whole.day = rollup_is_whole.unique_key[1] OR EXISTS (
            SELECT FROM pg_catalog.pg_index AS i
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = rollup_is_whole.day
        ))
    FROM pg_catalog.pg_class AS t
    JOIN pg_catalog.pg_class AS h ON h.relnamespace = t.relnamespace AND h.relname = t.relname || '_whole'
    JOIN pg_catalog.pg_proc AS f ON f.pronamespace = t.relnamespace AND f.proname = t.relname || '_days'
    WHERE t.oid = pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', rollup_is_whole.rollup)) AND f.prosqlbody IS NOT NULL
), false);
$body$;
COMMENT ON FUNCTION ledgerviews.rollup_is_whole(oid, text, text[], text) IS
'Whether a rollup, its indexes, its function of single days and what its materialized view reads of it are as they were made.';

CREATE FUNCTION ledgerviews.probe() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
SET client_min_messages = warning
AS $body$
DECLARE
    v_staged record;
    v_next text;
    v_new oid;
    v_days oid;
    v_old oid;
    v_kind text;
    v_same boolean;
    v_names jsonb := jsonb '{}';
    v_probes jsonb := jsonb '{}';
    v_found jsonb := jsonb '[]';
    v_rollup text;
BEGIN
    UPDATE ledgerviews.staged AS s
    SET stands = o.oid,
        rollup_was = r.rollup
    FROM ledgerviews.staged AS t
    LEFT JOIN pg_catalog.pg_class AS o
        ON o.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', t.schema_name, COALESCE(t.renamed_from, t.relation_name)))
    LEFT JOIN ledgerviews.relation AS r
        ON r.schema_name = t.schema_name AND r.relation_name = COALESCE(t.renamed_from, t.relation_name)
    WHERE s.schema_name = t.schema_name AND s.relation_name = t.relation_name;
    -- Renamed already, or not there under its old name: as if it had always had the new one.
    UPDATE ledgerviews.staged AS s
    SET renamed_from = NULL,
        stands = pg_catalog.to_regclass(pg_catalog.format('%I.%I', s.schema_name, s.relation_name)),
        rollup_was = (
            SELECT r.rollup FROM ledgerviews.relation AS r
            WHERE r.schema_name = s.schema_name AND r.relation_name = s.relation_name
        )
    WHERE s.renamed_from IS NOT NULL AND s.stands IS NULL;
    -- Another one takes the name of one that is renamed away.
    UPDATE ledgerviews.staged AS s
    SET stands = NULL, rollup_was = NULL
    WHERE s.renamed_from IS NULL
        AND EXISTS (SELECT FROM ledgerviews.staged AS o WHERE o.schema_name = s.schema_name AND o.renamed_from = s.relation_name);
    SELECT s.schema_name, s.relation_name, c.relkind INTO v_staged
    FROM ledgerviews.staged AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = s.stands AND c.relkind NOT IN ('v', 'm')
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'wrong_object_type',
            MESSAGE = pg_catalog.format('%s.%s is neither a view nor a materialized view; nothing was changed.', v_staged.schema_name, v_staged.relation_name),
            HINT = 'Give the model another name, or rename what stands there.';
    END IF;
    SELECT s.schema_name, s.relation_name INTO v_staged
    FROM ledgerviews.staged AS s
    WHERE s.renamed_from IS NOT NULL
        AND pg_catalog.to_regclass(pg_catalog.format('%I.%I', s.schema_name, s.relation_name)) IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM ledgerviews.staged AS o
            WHERE o.schema_name = s.schema_name AND (o.renamed_from = s.relation_name OR o.change = 'drop' AND o.relation_name = s.relation_name)
        )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_table',
            MESSAGE = pg_catalog.format('%s.%s stands already, so nothing can be renamed to it; nothing was changed.', v_staged.schema_name, v_staged.relation_name),
            HINT = 'Drop or rename it first.';
    END IF;

    -- Everything is made once as a plain view, which costs nothing, and undone: what PostgreSQL prints of it tells
    -- what differs from what stands, and what it reads.
    BEGIN
        FOR v_staged IN
            SELECT s.* FROM ledgerviews.staged AS s WHERE s.change IS DISTINCT FROM 'drop' ORDER BY s.place
        LOOP
            v_next := ledgerviews.make_next(v_staged.schema_name);
            v_rollup := v_staged.registered ->> 'rollup';
            PERFORM ledgerviews.run_under(
                CASE WHEN v_staged.as_is THEN ledgerviews.path_beside(v_staged.search_path) ELSE 'pg_catalog, pg_temp' END,
                pg_catalog.format(E'CREATE VIEW %I.%I AS\n%s\n', v_next, v_staged.relation_name, ledgerviews.probed(v_staged.body)));
            v_new := pg_catalog.to_regclass(pg_catalog.format('%I.%I', v_next, v_staged.relation_name));
            v_names := v_names || pg_catalog.jsonb_build_object(
                pg_catalog.format('%I.%I', v_next, v_staged.relation_name),
                pg_catalog.format('%I.%I', v_staged.schema_name, COALESCE(v_staged.renamed_from, v_staged.relation_name)));
            v_probes := v_probes || pg_catalog.jsonb_build_object(
                v_new::text, pg_catalog.format('%I.%I', v_staged.schema_name, v_staged.relation_name));
            v_days := NULL;
            IF v_rollup IS NOT NULL THEN
                PERFORM ledgerviews.run_under(
                    'pg_catalog, pg_temp',
                    pg_catalog.format(
                        E'CREATE FUNCTION %1$I.%2$I(lo date, hi date) RETURNS SETOF %1$I.%3$I\n'
                        'LANGUAGE sql STABLE BEGIN ATOMIC\n%4$s;\nEND',
                        -- Its name stands in its body, before its arguments.
                        v_next, COALESCE(v_staged.rollup_was, v_rollup) || '_days', v_staged.relation_name, ledgerviews.probed(v_staged.day_body)));
                v_days := pg_catalog.to_regprocedure(
                    pg_catalog.format('%I.%I(pg_catalog.date, pg_catalog.date)', v_next, COALESCE(v_staged.rollup_was, v_rollup) || '_days'));
            END IF;
            v_old := v_staged.stands;
            v_kind := (SELECT CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END FROM pg_catalog.pg_class AS c WHERE c.oid = v_old);
            IF v_staged.rollup_was IS NOT NULL THEN
                v_old := pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', v_staged.rollup_was || '_whole'));
            END IF;
            v_same := COALESCE(
                v_kind = v_staged.kind
                AND ledgerviews.columns_of(v_old) = ledgerviews.columns_of(v_new)
                AND pg_catalog.pg_get_viewdef(v_old, false) = ledgerviews.moved(pg_catalog.pg_get_viewdef(v_new, false), v_names),
                false);
            v_found := v_found || pg_catalog.jsonb_build_object(
                'schema', v_staged.schema_name,
                'name', v_staged.relation_name,
                'same', v_same,
                'as before', COALESCE(v_same AND (v_staged.rollup_was IS NULL) = (v_rollup IS NULL) AND (
                    v_rollup IS NULL
                    OR (
                        SELECT r.day_column = v_staged.registered ->> 'day' FROM ledgerviews.relation AS r
                        WHERE r.schema_name = v_staged.schema_name
                            AND r.relation_name = COALESCE(v_staged.renamed_from, v_staged.relation_name)
                    )
                    AND pg_catalog.pg_get_function_sqlbody(
                        pg_catalog.to_regprocedure(
                            'ledgerviews.' || pg_catalog.quote_ident(v_staged.rollup_was || '_days') || '(pg_catalog.date, pg_catalog.date)')
                    ) = ledgerviews.moved(pg_catalog.pg_get_function_sqlbody(v_days), v_names)
                    AND ledgerviews.rollup_is_whole(
                        v_staged.stands, v_staged.rollup_was,
                        ARRAY(SELECT e.name FROM pg_catalog.jsonb_array_elements_text(v_staged.registered -> 'unique_key') AS e (name)),
                        v_staged.registered ->> 'day')
                ), false),
                'key', EXISTS (
                    SELECT
                    FROM pg_catalog.pg_index AS i
                    WHERE i.indrelid = v_staged.stands AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
                        AND (
                            SELECT pg_catalog.to_jsonb(pg_catalog.array_agg(a.attname ORDER BY k.ordinality))
                            FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
                            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                            WHERE k.ordinality <= i.indnkeyatts
                        ) = v_staged.registered -> 'unique_key'
                ),
                'keyed', EXISTS (
                    SELECT FROM pg_catalog.pg_index AS i
                    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
                    WHERE i.indrelid = v_staged.stands AND c.relname IN (
                        v_staged.registered ->> 'key_index', v_staged.registered ->> 'key_index_was')
                ),
                'reads', pg_catalog.to_jsonb(ledgerviews.object_reads('pg_catalog.pg_class'::pg_catalog.regclass, v_new)::bigint[]),
                'day reads', CASE WHEN v_days IS NULL THEN jsonb '[]' ELSE pg_catalog.to_jsonb(
                    ledgerviews.object_reads('pg_catalog.pg_proc'::pg_catalog.regclass, v_days)::bigint[]) END);
        END LOOP;
        RAISE EXCEPTION USING ERRCODE = 'LV000';
    EXCEPTION WHEN SQLSTATE 'LV000' THEN
        NULL;
    END;

    UPDATE ledgerviews.staged AS s
    SET change = CASE
            WHEN s.stands IS NULL THEN 'create'
            WHEN NOT (f.value ->> 'as before')::boolean
                OR s.kind = 'materialized view' AND NOT (f.value ->> 'key')::boolean AND (f.value ->> 'keyed')::boolean THEN 'rebuild'
            WHEN s.renamed_from IS NOT NULL THEN 'rename'
            ELSE 'none'
        END,
        has_key = (f.value ->> 'key')::boolean,
        reads = ARRAY(
            SELECT v_probes ->> e.oid FROM pg_catalog.jsonb_array_elements_text(f.value -> 'reads') AS e (oid) WHERE v_probes ? e.oid),
        reads_oids = ARRAY(
            SELECT e.oid::oid FROM pg_catalog.jsonb_array_elements_text(f.value -> 'reads') AS e (oid) WHERE NOT v_probes ? e.oid),
        day_reads = ARRAY(
            SELECT v_probes ->> e.oid FROM pg_catalog.jsonb_array_elements_text(f.value -> 'day reads') AS e (oid)
            WHERE v_probes ? e.oid AND v_probes ->> e.oid <> pg_catalog.format('%I.%I', s.schema_name, s.relation_name)),
        day_reads_oids = ARRAY(
            SELECT e.oid::oid FROM pg_catalog.jsonb_array_elements_text(f.value -> 'day reads') AS e (oid) WHERE NOT v_probes ? e.oid)
    FROM pg_catalog.jsonb_array_elements(v_found) AS f (value)
    WHERE s.schema_name = f.value ->> 'schema' AND s.relation_name = f.value ->> 'name';

    -- What nobody expected is taken over where it is the same, and left alone where it is not.
    SELECT s.schema_name, s.relation_name INTO v_staged
    FROM ledgerviews.staged AS s
    JOIN pg_catalog.jsonb_array_elements(v_found) AS f (value)
        ON s.schema_name = f.value ->> 'schema' AND s.relation_name = f.value ->> 'name'
    WHERE NOT s.expected AND s.stands IS NOT NULL AND NOT (f.value ->> 'same')::boolean
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_table',
            MESSAGE = pg_catalog.format('%s.%s stands already, and is not what this revision creates; nothing was changed.',
                v_staged.schema_name, v_staged.relation_name),
            HINT = 'Drop or rename it, or declare it as it is first: one with the same definition is taken over.';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.probe() IS 'Find out what of the staged relations differs from what stands; touches none of them.';

CREATE FUNCTION ledgerviews.probed(text text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_text text := text;
    v_staged record;
BEGIN
    FOR v_staged IN
        SELECT s.schema_name, s.relation_name FROM ledgerviews.staged AS s WHERE s.change IS DISTINCT FROM 'drop'
    LOOP
        v_text := pg_catalog.replace(
            v_text,
            '"ledgerviews:next:' || pg_catalog.replace(v_staged.schema_name, '"', '""') || '"."'
            || pg_catalog.replace(v_staged.relation_name, '"', '""') || '"',
            pg_catalog.format('%I.%I', ledgerviews.next_schema(v_staged.schema_name), v_staged.relation_name));
    END LOOP;
    RETURN ledgerviews.finally(v_text);
END
$body$;
COMMENT ON FUNCTION ledgerviews.probed(text) IS 'A text that reads the probes of all staged relations.';
