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
    afterwards text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE ledgerviews.member IS
'All that a replacement touches, while its transaction lasts: what changes, and what depends on that.';
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
        -- Whoever is given a relation there must be allowed to have it there.
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
        SELECT pg_catalog.btrim(e.element), 1, e.ordinality
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
    v_names jsonb := '{}';
    v_probes jsonb := '{}';
    v_found jsonb := '[]';
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
                        E'LANGUAGE sql STABLE BEGIN ATOMIC\n%4$s;\nEND',
                        v_next, v_rollup || '_days', v_staged.relation_name, ledgerviews.probed(v_staged.day_body)));
                v_days := pg_catalog.to_regprocedure(pg_catalog.format('%I.%I(pg_catalog.date, pg_catalog.date)', v_next, v_rollup || '_days'));
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
                            pg_catalog.format('ledgerviews.%I(pg_catalog.date, pg_catalog.date)', v_staged.rollup_was || '_days'))
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
        WHEN 'days' THEN pg_catalog.to_regprocedure(pg_catalog.format('ledgerviews.%I(pg_catalog.date, pg_catalog.date)', v_was || '_days'))::oid
        ELSE pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', v_was || v_suffix))::oid
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
            WHEN part = 'rollup' THEN ARRAY[pg_catalog.format('ledgerviews.%I', v_rollup || '_whole')]
            WHEN part = 'days' THEN staged.day_reads || pg_catalog.format('ledgerviews.%I', v_rollup)
            ELSE ARRAY[pg_catalog.format('ledgerviews.%I', v_rollup)]
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
        reads = CASE WHEN m.part = 'rollup' THEN ARRAY[m.key || '_whole'] ELSE '{}' END
    WHERE NOT m.changed AND m.action IS NULL;
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
