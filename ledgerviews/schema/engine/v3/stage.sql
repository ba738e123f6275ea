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
    upstream text[] NOT NULL DEFAULT '{}',
    privileges jsonb
);
COMMENT ON TABLE ledgerviews.member IS
'All that a replacement touches, while its transaction lasts: what changes, and what depends on that.';
COMMENT ON COLUMN ledgerviews.member.statistics IS
'Where its statistics objects shall stand, [schema, name] by the name that they have beside; those left out, by it under their own.';
COMMENT ON COLUMN ledgerviews.member.privileges IS 'Who might do what with it when it was enlisted, in short.';
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

CREATE FUNCTION ledgerviews.privileges(object oid, kind text) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
-- The functions that ask for privileges look at the catalog of now, where a query sees that of the snapshot.
SELECT pg_catalog.jsonb_object_agg(o.oid, pg_catalog.jsonb_build_array(
    (
        SELECT pg_catalog.string_agg(pg_catalog.pg_has_role(o.oid, q.oid, 'USAGE')::integer::text, '' ORDER BY q.oid)
        FROM pg_catalog.pg_roles AS q
        WHERE q.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_maintain') OR q.oid IN (
            SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE kind <> 'function' AND c.oid = object
            UNION ALL
            SELECT f.proowner FROM pg_catalog.pg_proc AS f WHERE kind = 'function' AND f.oid = object
            UNION ALL
            SELECT a.grantee FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a WHERE kind <> 'function' AND c.oid = object
            UNION ALL
            SELECT a.grantee FROM pg_catalog.pg_attribute AS t, pg_catalog.aclexplode(t.attacl) AS a
            WHERE kind <> 'function' AND t.attrelid = object
            UNION ALL
            SELECT a.grantee FROM pg_catalog.pg_proc AS f, pg_catalog.aclexplode(f.proacl) AS a WHERE kind = 'function' AND f.oid = object
        )
    ),
    (
        SELECT pg_catalog.string_agg(
            CASE
                WHEN kind <> 'function' THEN
                    pg_catalog.has_table_privilege(o.oid, object, p.name || g.option)::integer::text
                    || CASE
                        WHEN p.name IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                            THEN pg_catalog.has_any_column_privilege(o.oid, object, p.name || g.option)::integer::text
                        ELSE ''
                    END
                WHEN p.name = 'SELECT' THEN pg_catalog.has_function_privilege(o.oid, object, 'EXECUTE' || g.option)::integer::text
                ELSE ''
            END, '' ORDER BY p.name, g.option)
        FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER'), ('MAINTAIN')) AS p (name)
        CROSS JOIN (VALUES (''), (' WITH GRANT OPTION')) AS g (option)
        WHERE p.name <> 'MAINTAIN' OR pg_catalog.current_setting('server_version_num')::integer >= 170000
    )
))
FROM pg_catalog.pg_roles AS o;
$body$;
COMMENT ON FUNCTION ledgerviews.privileges(oid, text) IS
'By role: which of those that matter it is a member of, and what it may do with a relation or function now.';

CREATE FUNCTION ledgerviews.privileges_differ(before jsonb, after jsonb) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
-- A role that is gone, or a member of others now, may do something else without a GRANT or REVOKE.
SELECT EXISTS (
    SELECT
    FROM pg_catalog.jsonb_each(before) AS b
    JOIN pg_catalog.jsonb_each(after) AS a ON a.key = b.key
    WHERE b.value -> 0 = a.value -> 0 AND b.value -> 1 <> a.value -> 1
);
$body$;
COMMENT ON FUNCTION ledgerviews.privileges_differ(jsonb, jsonb) IS
'Whether any role may do something else with what is the same object, by GRANT or REVOKE.';

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
    v_name := ledgerviews.released_tables();
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('Released and not restored: %s; nothing was changed.', v_name),
            HINT = 'Put back what reads it: ledgerviews restore, or SELECT ledgerviews.restore().';
    END IF;
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
