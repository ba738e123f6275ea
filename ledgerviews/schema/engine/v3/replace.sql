-- Engine version 3: replace relations under their readers: built beside, then exchanged in milliseconds.
--
--     SELECT ledgerviews.replace_begin(pg_catalog.current_setting('search_path'));
--     SELECT ledgerviews.stage(...);          -- each relation as it shall be, what it reads first
--     SELECT ledgerviews.stage_drop(...);     -- each relation that goes
--     SELECT ledgerviews.build(populate => false);
--     SELECT ledgerviews.swap(...);           -- last in its transaction: from here on readers wait for its end
--
-- All in one transaction. In a text, "ledgerviews:next:SCHEMA"."NAME" is a published relation wherever it stands.

CREATE TABLE ledgerviews.staged (
    schema_name text NOT NULL,
    relation_name text NOT NULL,
    place integer GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    body text,
    day_body text,
    shown text,
    registered jsonb NOT NULL DEFAULT '{}',
    prepare text[] NOT NULL DEFAULT '{}',
    finish text[] NOT NULL DEFAULT '{}',
    gone_indexes text[] NOT NULL DEFAULT '{}',
    renamed_from text,
    expected boolean NOT NULL DEFAULT false,
    as_is boolean NOT NULL DEFAULT false,
    search_path text NOT NULL DEFAULT 'pg_catalog, pg_temp',
    stands oid,
    rollup_was text,
    change text,
    has_key boolean NOT NULL DEFAULT false,
    sources_were text[],
    printed text,
    printed_days text,
    reads text[] NOT NULL DEFAULT '{}',
    reads_oids oid[] NOT NULL DEFAULT '{}',
    day_reads text[] NOT NULL DEFAULT '{}',
    day_reads_oids oid[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (schema_name, relation_name)
);
COMMENT ON TABLE ledgerviews.staged IS
'What a replacement was told, while its transaction lasts; body, day_body and shown are texts with names to be resolved.';
COMMENT ON COLUMN ledgerviews.staged.change IS
'create, rebuild, rename, drop, or none where it is already as it shall be.';

CREATE TABLE ledgerviews.member (
    key text PRIMARY KEY,
    schema_name text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('view', 'materialized view', 'table', 'function')),
    staged_schema text,
    staged_name text,
    part text,
    body text,
    as_is boolean NOT NULL DEFAULT false,
    old oid,
    old_name text,
    new oid,
    changed boolean NOT NULL DEFAULT false,
    needed boolean NOT NULL DEFAULT false,
    action text,
    place integer,
    old_place integer,
    reads text[] NOT NULL DEFAULT '{}',
    reads_oids oid[] NOT NULL DEFAULT '{}',
    old_reads oid[] NOT NULL DEFAULT '{}',
    row_count bigint,
    statistics jsonb NOT NULL DEFAULT '{}',
    upstream text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE ledgerviews.member IS
'All that a replacement touches, while its transaction lasts: what changes, and what depends on that.';
COMMENT ON COLUMN ledgerviews.member.statistics IS
'Where its statistics objects shall stand, [schema, name] by the name that they have beside; those left out, by it under their own.';
COMMENT ON COLUMN ledgerviews.member.action IS
'swap: the one built beside takes its place; replace: in place, it keeps its identity; drop; none.';

CREATE FUNCTION ledgerviews.next_schema(schema_name text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN 'ledgerviews_next_' || pg_catalog.left(pg_catalog.md5(schema_name), 8);
COMMENT ON FUNCTION ledgerviews.next_schema(text) IS 'Where relations of a schema are built before they are exchanged; it never outlives the transaction.';

CREATE FUNCTION ledgerviews.old_schema(schema_name text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN 'ledgerviews_old_' || pg_catalog.left(pg_catalog.md5(schema_name), 8);
COMMENT ON FUNCTION ledgerviews.old_schema(text) IS 'Where replaced relations of a schema are kept until the next replacement, if they are.';

CREATE FUNCTION ledgerviews.object_reads(classid oid, objid oid) RETURNS oid[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT COALESCE(pg_catalog.array_agg(DISTINCT r.oid), '{}')
FROM (
    SELECT COALESCE(NULLIF(t.typrelid, 0), e.typrelid, d.refobjid) AS oid
    FROM pg_catalog.pg_depend AS d
    LEFT JOIN pg_catalog.pg_type AS t
        ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.refobjid
    LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND e.typrelid <> 0
    WHERE (
        d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = object_reads.objid
        AND object_reads.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        OR d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND object_reads.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.objid IN (SELECT w.oid FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class = object_reads.objid)
    )
    AND d.refclassid IN (
        'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
        'pg_catalog.pg_type'::pg_catalog.regclass)
) AS r
WHERE r.oid IS NOT NULL AND r.oid <> object_reads.objid;
END;
COMMENT ON FUNCTION ledgerviews.object_reads(oid, oid) IS 'The relations and functions that a view or function names itself.';

CREATE FUNCTION ledgerviews.resolved(text text, beside boolean) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_text text := text;
    v_name record;
BEGIN
    IF pg_catalog.strpos(v_text, '"ledgerviews:next:') = 0 THEN
        RETURN v_text;
    END IF;
    FOR v_name IN
        SELECT m.schema_name, m.name, ledgerviews.next_schema(m.schema_name) AS now_schema, m.name AS now_name
        FROM ledgerviews.member AS m
        WHERE m.action = 'swap' OR m.action IS NULL AND m.kind <> 'function' AND beside
        UNION ALL
        -- A relation that is only renamed has its old name until the exchange.
        SELECT s.schema_name, s.relation_name, s.schema_name, s.renamed_from
        FROM ledgerviews.staged AS s
        WHERE s.change = 'rename' AND s.renamed_from IS NOT NULL
    LOOP
        v_text := pg_catalog.replace(
            v_text,
            '"ledgerviews:next:' || pg_catalog.replace(v_name.schema_name, '"', '""') || '"."'
            || pg_catalog.replace(v_name.name, '"', '""') || '"',
            pg_catalog.format('%I.%I', v_name.now_schema, v_name.now_name));
    END LOOP;
    RETURN pg_catalog.regexp_replace(v_text, '"ledgerviews:next:((?:[^"]|"")*)"\.', '"\1".', 'g');
END
$body$;
COMMENT ON FUNCTION ledgerviews.resolved(text, boolean) IS
'A text of the replacement with its relations named where they stand: beside, while others are built on them, or live.';

CREATE FUNCTION ledgerviews.finally(text text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN pg_catalog.regexp_replace(text, '"ledgerviews:next:((?:[^"]|"")*)"\.', '"\1".', 'g');
COMMENT ON FUNCTION ledgerviews.finally(text) IS 'A text of the replacement with the names that stand when it is done.';

CREATE FUNCTION ledgerviews.run_under(path text, statement text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $body$
BEGIN
    PERFORM pg_catalog.set_config('search_path', path, true);
    EXECUTE statement;
END
$body$;
COMMENT ON FUNCTION ledgerviews.run_under(text, text) IS 'Run one statement under a search_path.';

-- Telling ---------------------------------------------------------------------------------------------------

CREATE FUNCTION ledgerviews.replace_begin(path text DEFAULT 'pg_catalog, pg_temp') RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_name text;
BEGIN
    LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
    DELETE FROM ledgerviews.member;
    DELETE FROM ledgerviews.staged;
    PERFORM pg_catalog.set_config('ledgerviews.replace_path', path, true);
    SELECT n.nspname INTO v_name FROM pg_catalog.pg_namespace AS n WHERE n.nspname ~ '^ledgerviews_next_[0-9a-f]{8}$' LIMIT 1;
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_schema',
            MESSAGE = pg_catalog.format('The schema %I is in the way: relations are built there, and it never outlives a transaction.', v_name),
            HINT = pg_catalog.format('Whoever made it may DROP SCHEMA %I.', v_name);
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.replace_begin(text) IS
'Begin a replacement: no refresh runs until the transaction ends. path: the search_path of texts that are staged as they are.';

CREATE FUNCTION ledgerviews.stage(
    schema_name text,
    relation_name text,
    kind text,
    body text,
    day_body text DEFAULT NULL,
    shown text DEFAULT NULL,
    registered jsonb DEFAULT '{}',
    prepare text[] DEFAULT '{}',
    finish text[] DEFAULT '{}',
    gone_indexes text[] DEFAULT '{}',
    renamed_from text DEFAULT NULL,
    expected boolean DEFAULT false,
    as_is boolean DEFAULT false
) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
INSERT INTO ledgerviews.staged (
    schema_name, relation_name, kind, body, day_body, shown, registered, prepare, finish, gone_indexes, renamed_from,
    expected, as_is, search_path
) VALUES (
    stage.schema_name, stage.relation_name, stage.kind, stage.body, stage.day_body, stage.shown, stage.registered, stage.prepare,
    stage.finish, stage.gone_indexes, stage.renamed_from, stage.expected, stage.as_is,
    CASE WHEN stage.as_is THEN pg_catalog.current_setting('ledgerviews.replace_path') ELSE 'pg_catalog, pg_temp' END
);
END;
COMMENT ON FUNCTION ledgerviews.stage(text, text, text, text, text, text, jsonb, text[], text[], text[], text, boolean, boolean) IS
'A relation as it shall be: its SELECT; of one by day also that of its days, and shown, what its materialized view reads; '
'registered: its entry; prepare: indexes; finish: comments, options, grants; expected: it stands there already, as something else.';

CREATE FUNCTION ledgerviews.stage_drop(schema_name text, relation_name text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
INSERT INTO ledgerviews.staged (schema_name, relation_name, kind, change, expected)
VALUES (stage_drop.schema_name, stage_drop.relation_name, 'view', 'drop', true);
END;
COMMENT ON FUNCTION ledgerviews.stage_drop(text, text) IS 'A relation that shall go.';

-- Finding out -----------------------------------------------------------------------------------------------

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
                'as before', v_same AND (v_staged.rollup_was IS NULL) = (v_rollup IS NULL) AND (
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
                ),
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

CREATE FUNCTION ledgerviews.enlist_part(staged ledgerviews.staged, part text, dropped boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_rollup text := staged.registered ->> 'rollup';
    v_was text := staged.rollup_was;
    v_schema text := CASE part WHEN 'relation' THEN staged.schema_name ELSE 'ledgerviews' END;
    v_suffix text := CASE part WHEN 'whole' THEN '_whole' WHEN 'days' THEN '_days' ELSE '' END;
    v_name text;
    v_old oid;
    v_kind text;
BEGIN
    IF part <> 'relation' AND (CASE WHEN dropped THEN v_was ELSE v_rollup END) IS NULL THEN
        RETURN;
    END IF;
    v_name := CASE
        WHEN part <> 'relation' THEN (CASE WHEN dropped THEN v_was ELSE v_rollup END) || v_suffix
        WHEN dropped THEN COALESCE(staged.renamed_from, staged.relation_name)
        ELSE staged.relation_name
    END;
    v_old := CASE part
        WHEN 'relation' THEN staged.stands
        WHEN 'days' THEN pg_catalog.to_regprocedure('ledgerviews.' || pg_catalog.quote_ident(v_was || '_days') || '(pg_catalog.date, pg_catalog.date)')::oid
        ELSE pg_catalog.to_regclass('ledgerviews.' || pg_catalog.quote_ident(v_was || v_suffix))::oid
    END;
    IF dropped AND v_old IS NULL THEN
        RETURN;
    END IF;
    v_kind := CASE part
        WHEN 'whole' THEN 'view'
        WHEN 'rollup' THEN 'table'
        WHEN 'days' THEN 'function'
        ELSE CASE
            WHEN dropped THEN (SELECT CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END FROM pg_catalog.pg_class AS c WHERE c.oid = v_old)
            ELSE staged.kind
        END
    END;
    INSERT INTO ledgerviews.member (
        key, schema_name, name, kind, staged_schema, staged_name, part, body, as_is, old, changed, action, reads, reads_oids
    ) VALUES (
        pg_catalog.format('%I.%I', v_schema, v_name), v_schema, v_name, v_kind, staged.schema_name, staged.relation_name, part,
        CASE part
            WHEN 'days' THEN staged.day_body
            WHEN 'relation' THEN COALESCE(staged.shown, staged.body)
            WHEN 'whole' THEN staged.body
        END,
        staged.as_is AND part = 'relation', v_old, NOT dropped, CASE WHEN dropped THEN 'drop' END,
        CASE
            WHEN dropped THEN '{}'
            WHEN part = 'whole' OR part = 'relation' AND v_rollup IS NULL THEN staged.reads
            WHEN part = 'rollup' THEN ARRAY['ledgerviews.' || pg_catalog.quote_ident(v_rollup || '_whole')]
            WHEN part = 'days' THEN staged.day_reads || ('ledgerviews.' || pg_catalog.quote_ident(v_rollup))
            ELSE ARRAY['ledgerviews.' || pg_catalog.quote_ident(v_rollup)]
        END,
        CASE
            WHEN dropped THEN '{}'
            WHEN part = 'whole' OR part = 'relation' AND v_rollup IS NULL THEN staged.reads_oids
            WHEN part = 'days' THEN staged.day_reads_oids
            ELSE '{}'
        END
    );
END
$body$;
COMMENT ON FUNCTION ledgerviews.enlist_part(ledgerviews.staged, text, boolean) IS
'Enlist a part of a staged relation: relation, rollup, whole or days; dropped: the part as it stands, to be dropped.';

CREATE FUNCTION ledgerviews.enlist_dependents() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_count bigint := 0;
    v_before bigint := -1;
BEGIN
    -- A rollup is computed by a view and a function; nothing in the catalog ties it to them.
    WHILE v_count <> v_before LOOP
        v_before := v_count;
        INSERT INTO ledgerviews.member (key, schema_name, name, kind, old)
        SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), n.nspname, c.relname,
            CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.oid
        FROM ledgerviews.dependents(ARRAY(
            SELECT m.old FROM ledgerviews.member AS m
            WHERE m.old IS NOT NULL AND m.kind <> 'function' AND m.action IS DISTINCT FROM 'drop')) AS d
        JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE d.kind = 'relation' AND NOT EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = d.objid);
        INSERT INTO ledgerviews.member (key, schema_name, name, kind, old)
        SELECT d.objid::pg_catalog.regprocedure::text, n.nspname, p.proname, 'function', p.oid
        FROM ledgerviews.dependents(ARRAY(
            SELECT m.old FROM ledgerviews.member AS m
            WHERE m.old IS NOT NULL AND m.kind <> 'function' AND m.action IS DISTINCT FROM 'drop')) AS d
        JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
        WHERE d.kind = 'function' AND NOT EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = d.objid);
        INSERT INTO ledgerviews.member (key, schema_name, name, kind, part, old)
        SELECT o.key, o.schema_name, o.name, o.kind, o.part, o.oid
        FROM (
            SELECT
                CASE p.part
                    WHEN 'days' THEN pg_catalog.to_regprocedure(pg_catalog.format('ledgerviews.%I(pg_catalog.date, pg_catalog.date)', r.rollup || '_days'))::text
                    WHEN 'relation' THEN pg_catalog.format('%I.%I', r.schema_name, r.relation_name)
                    WHEN 'rollup' THEN pg_catalog.format('ledgerviews.%I', r.rollup)
                    ELSE pg_catalog.format('ledgerviews.%I', r.rollup || '_whole')
                END AS key,
                CASE p.part WHEN 'relation' THEN r.schema_name ELSE 'ledgerviews' END AS schema_name,
                CASE p.part WHEN 'relation' THEN r.relation_name WHEN 'rollup' THEN r.rollup ELSE r.rollup || '_' || p.part END AS name,
                CASE p.part WHEN 'relation' THEN 'materialized view' WHEN 'rollup' THEN 'table' WHEN 'days' THEN 'function' ELSE 'view' END AS kind,
                p.part,
                CASE p.part
                    WHEN 'days' THEN pg_catalog.to_regprocedure(pg_catalog.format('ledgerviews.%I(pg_catalog.date, pg_catalog.date)', r.rollup || '_days'))::oid
                    WHEN 'relation' THEN pg_catalog.to_regclass(pg_catalog.format('%I.%I', r.schema_name, r.relation_name))::oid
                    WHEN 'rollup' THEN pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', r.rollup))::oid
                    ELSE pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', r.rollup || '_whole'))::oid
                END AS oid
            FROM ledgerviews.relation AS r
            CROSS JOIN pg_catalog.unnest(ARRAY['whole', 'rollup', 'days', 'relation']) AS p (part)
            WHERE r.rollup IS NOT NULL
                AND EXISTS (
                    SELECT FROM ledgerviews.member AS m
                    WHERE m.schema_name = 'ledgerviews' AND m.staged_name IS NULL
                        AND m.name IN (r.rollup || '_whole', r.rollup || '_days', r.rollup)
                )
        ) AS o
        WHERE o.oid IS NOT NULL AND NOT EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = o.oid);
        SELECT pg_catalog.count(*) INTO v_count FROM ledgerviews.member AS m;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.enlist_dependents() IS 'Enlist all that depends on what changes, at any depth, ours or not.';

CREATE FUNCTION ledgerviews.enlist() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_staged ledgerviews.staged;
    v_part text;
    v_place integer := 0;
    v_moved bigint;
    v_name text;
    v_other text;
BEGIN
    -- What is only renamed has its old name while others are built on it: a text that would notice, for it qualifies
    -- columns by the new name or is run as it is, has it built anew.
    UPDATE ledgerviews.staged AS s
    SET change = 'rebuild'
    WHERE s.change = 'rename' AND EXISTS (
        SELECT
        FROM ledgerviews.staged AS o
        CROSS JOIN LATERAL (
            SELECT pg_catalog.replace(
                pg_catalog.concat_ws(E'\n', o.body, o.day_body),
                '"ledgerviews:next:' || pg_catalog.replace(s.schema_name, '"', '""') || '"."'
                || pg_catalog.replace(s.relation_name, '"', '""') || '"', E'\x01') AS text
        ) AS m
        WHERE o.change IN ('create', 'rebuild')
            AND pg_catalog.format('%I.%I', s.schema_name, s.relation_name) = ANY (o.reads || o.day_reads)
            AND (
                o.as_is
                OR m.text ~* (
                    '\x01\s*($|[-./,;)]|(on|using|where|join|cross|left|right|full|inner|natural|group|order|having|limit|offset'
                    '|fetch|for|union|except|intersect|window|tablesample)\M)')
                AND pg_catalog.strpos(
                    pg_catalog.lower(pg_catalog.translate(m.text, E'\x01" \n\t', '')),
                    pg_catalog.lower(pg_catalog.translate(s.relation_name, '" ', '')) || '.') > 0
            )
    );
    LOOP
        DELETE FROM ledgerviews.member;
        FOR v_staged IN
            SELECT s.* FROM ledgerviews.staged AS s WHERE s.change IN ('create', 'rebuild', 'drop') ORDER BY s.change, s.place
        LOOP
            FOREACH v_part IN ARRAY ARRAY['relation', 'whole', 'rollup', 'days'] LOOP
                IF v_staged.change <> 'drop' THEN
                    PERFORM ledgerviews.enlist_part(v_staged, v_part, false);
                END IF;
                IF v_staged.change = 'drop' OR v_part <> 'relation' AND v_staged.rollup_was IS NOT NULL AND NOT v_staged.registered ? 'rollup' THEN
                    PERFORM ledgerviews.enlist_part(v_staged, v_part, true);
                END IF;
            END LOOP;
        END LOOP;
        PERFORM ledgerviews.enlist_dependents();
        -- One that is renamed, and depends on what changes, is built anew under its new name.
        UPDATE ledgerviews.staged AS s
        SET change = 'rebuild'
        WHERE s.change = 'rename' AND EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = s.stands);
        EXIT WHEN NOT FOUND;
    END LOOP;
    UPDATE ledgerviews.member AS m
    SET old_reads = ledgerviews.object_reads(
            CASE m.kind WHEN 'function' THEN 'pg_catalog.pg_proc'::pg_catalog.regclass ELSE 'pg_catalog.pg_class'::pg_catalog.regclass END, m.old),
        old_name = CASE m.kind
            WHEN 'function' THEN (SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) FROM pg_catalog.pg_proc AS p
                JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = m.old)
            ELSE (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = m.old)
        END
    WHERE m.old IS NOT NULL;
    UPDATE ledgerviews.member AS m
    SET reads_oids = m.old_reads,
        staged_schema = s.schema_name,
        staged_name = s.relation_name
    FROM ledgerviews.member AS o
    LEFT JOIN ledgerviews.staged AS s
        ON s.schema_name = o.schema_name AND s.relation_name = o.name AND s.change = 'none' AND o.kind <> 'function'
    WHERE o.key = m.key AND NOT m.changed AND m.action IS NULL;
    UPDATE ledgerviews.member AS m
    SET reads = ARRAY[pg_catalog.format('ledgerviews.%I', m.name || '_whole')]
    WHERE NOT m.changed AND m.action IS NULL AND m.part = 'rollup';

    -- Somebody else's relation on one that goes stops it, by name.
    SELECT x.key, pg_catalog.pg_describe_object(d.classid, d.objid, 0) INTO v_name, v_other
    FROM ledgerviews.member AS x
    CROSS JOIN LATERAL ledgerviews.dependents(ARRAY[x.old]) AS d
    WHERE x.action = 'drop' AND x.kind <> 'function' AND d.direct
        AND NOT EXISTS (
            SELECT FROM ledgerviews.member AS m
            WHERE m.old = d.objid AND (m.action = 'drop' OR m.changed AND NOT x.key = ANY (m.reads) AND NOT x.old = ANY (m.reads_oids))
        )
    ORDER BY 1, 2
    LIMIT 1;
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = pg_catalog.format('%s cannot be removed: %s depends on it; nothing was changed.', v_name, v_other),
            DETAIL = pg_catalog.format('%s depends on %s.', v_other, v_name),
            HINT = 'Drop it, or have it read something else, before this revision.';
    END IF;

    -- In the order of what is going to be, then in that of what is.
    LOOP
        v_place := v_place + 1;
        UPDATE ledgerviews.member AS m
        SET place = v_place
        WHERE m.place IS NULL
            AND NOT EXISTS (
                SELECT FROM ledgerviews.member AS n
                WHERE n.key <> m.key AND n.place IS NULL AND (n.key = ANY (m.reads) OR n.old = ANY (m.reads_oids) AND n.action IS NULL)
            );
        GET DIAGNOSTICS v_moved = ROW_COUNT;
        EXIT WHEN v_moved = 0;
    END LOOP;
    SELECT pg_catalog.string_agg(m.key, ', ' ORDER BY m.key) INTO v_name FROM ledgerviews.member AS m WHERE m.place IS NULL;
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_recursion',
            MESSAGE = 'These would read each other in a circle: ' || v_name || '; nothing was changed.',
            HINT = 'Break the circle in one of them.';
    END IF;
    v_place := 0;
    LOOP
        v_place := v_place + 1;
        UPDATE ledgerviews.member AS m
        SET old_place = v_place
        WHERE m.old_place IS NULL AND m.old IS NOT NULL
            AND NOT EXISTS (
                SELECT FROM ledgerviews.member AS n WHERE n.key <> m.key AND n.old_place IS NULL AND n.old = ANY (m.old_reads)
            );
        GET DIAGNOSTICS v_moved = ROW_COUNT;
        EXIT WHEN v_moved = 0;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.enlist() IS 'Enlist what changes, what goes, and all that depends on it, in order.';

-- Building --------------------------------------------------------------------------------------------------

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
        ELSE
            member.new := pg_catalog.to_regclass(v_target);
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
            DETAIL = pg_catalog.format('%s depends on %s.', v_other, v_name),
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
    -- A rename changes what is printed of all that read it, names of columns too: it is printed anew in the end.
    UPDATE ledgerviews.relation AS r
    SET printed = NULL, printed_days = NULL
    WHERE r.body IS NOT NULL
        AND (r.schema_name, r.relation_name) IN (
            SELECT n.nspname, c.relname
            FROM ledgerviews.dependents(ARRAY(SELECT s.stands FROM ledgerviews.staged AS s WHERE s.renamed_from IS NOT NULL)) AS d
            JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE d.kind = 'relation'
        )
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

CREATE FUNCTION ledgerviews.build(populate boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
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

-- Exchanging ------------------------------------------------------------------------------------------------

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
        DELETE FROM ledgerviews.relation AS r WHERE r.schema_name = staged.schema_name AND r.relation_name = staged.relation_name;
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
            scrubbed_at = o.scrubbed_at
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
        day_body = excluded.day_body, declared = excluded.declared, printed = excluded.printed, printed_days = excluded.printed_days,
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
BEGIN
    DELETE FROM ledgerviews.relation AS r
    USING ledgerviews.staged AS s
    WHERE s.change = 'drop' AND r.schema_name = s.schema_name AND r.relation_name = s.relation_name
        AND NOT EXISTS (SELECT FROM ledgerviews.staged AS o WHERE o.schema_name = s.schema_name AND o.renamed_from = s.relation_name);
    UPDATE ledgerviews.relation_state AS t
    SET rebuild = CASE
            WHEN NOT m.needed THEN 'it was never computed'
            WHEN s.rollup_was IS NOT NULL AND NOT r.sources <@ s.sources_were THEN 'its sources are others'
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
        scrubbed_at = NULL
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
    WHERE r.printed IS NULL AND EXISTS (
        SELECT FROM ledgerviews.staged AS s
        WHERE s.schema_name = r.schema_name AND s.relation_name = r.relation_name OR s.renamed_from IS NOT NULL AND r.body IS NOT NULL
    );
END
$body$;
COMMENT ON FUNCTION ledgerviews.settle() IS
'Leave the registry and the state such that the next refresh recomputes what the builds did not see, and nothing else.';

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
            EXECUTE pg_catalog.format('DROP %s %s', v_word, v_line);
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
BEGIN
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
            IF 1000 * EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - v_began) >= patience_ms THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'lock_not_available',
                    MESSAGE = pg_catalog.format(
                        '%s was in use at each of %s attempts in %s s to exchange it; nothing was changed.',
                        COALESCE(v_name, 'A source'), v_attempts,
                        pg_catalog.round(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - v_began), 1)),
                    HINT = 'A long transaction reads it: see pg_stat_activity. Try again, or give it longer (LEDGERVIEWS_SWAP_TIMEOUT).';
            END IF;
        END;
        PERFORM pg_catalog.pg_sleep(0.05 + pg_catalog.random() * 0.2);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.swap(boolean, integer, integer, text[], text, text[]) IS
'Exchange what was built for what stands, in milliseconds, with the sources'' triggers, and again a moment later where a reader holds it; '
'call it last. keep: until the next replacement; wait_ms: how long readers may have to wait for one attempt''s locks; patience_ms: for all attempts.';
