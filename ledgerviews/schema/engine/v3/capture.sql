-- Engine version 3: what depends on a relation, and all that hangs on it, as statements that put it back.
--
--     ledgerviews.dependents(relations oid[], OUT classid, OUT objid, OUT depth, OUT kind, OUT direct, OUT name)
-- The closure of what would have to be dropped before the relations (and their partitions). depth is the longest
-- way from them: drop by depth DESC, create by depth. kind: relation (a view or materialized view), function (with
-- its dependencies known: BEGIN ATOMIC, or by its arguments), trigger (on a table outside), or other: what nobody
-- here carries. direct: it depends on nothing but the given relations themselves, so only dropping these would
-- touch it. name is that of pg_describe_object. The given relations are not in it.
--
--     ledgerviews.captured(relation oid, schema text, name text)
--     ledgerviews.captured_function(function oid, target text DEFAULT NULL)
--     RETURNS TABLE (place integer, kind text, object text, columns text[], statement text)
-- All that hangs on a view or materialized view (a function), in order, to be run after it was created anew as
-- schema.name, whatever role does so. kind 'storage' is best run before it is filled. object is the captured
-- index, statistics object, rule, trigger or grantee (object of kind 'statistics' with its schema, as format('%I.%I')).
-- columns: those of the relation that the statement cannot do without; '{}' where it needs none that is known.
-- Extended statistics are made in schema, except where schema is the relation's own: then where they were. Those of
-- another schema than the relation's are named ledgerviews_OID there, for two may have one name.
--
--     ledgerviews.moved(sql text, names jsonb) RETURNS text
-- The SQL with qualified names moved, e.g. {"a.b": "c.b"}, keys and values written as format('%I.%I') writes them;
-- nothing inside literals, quoted names, dollar quotes or comments is taken for a name. Nested comments are not known:
-- catalog text has none.

CREATE FUNCTION ledgerviews.tokens(sql text) RETURNS TABLE (place bigint, token text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
-- The longest alternative wins at each place. An identifier: letters, underscores and all that is not ASCII, then
-- digits and dollars, too; or quoted. One with a dot before it continues what no name began, as in (row).field.
SELECT m.place, m.found[1] AS token
FROM pg_catalog.regexp_matches(
    sql,
    '(--[^\n\r]*'
    '|/\*(?:[^*]|\*+[^*/])*\*+/'
    '|[eE]''(?:[^''\\]|\\.|'''')*'''
    '|''(?:[^'']|'''')*'''
    '|\$[0-9]+'
    '|\$(?:[^\u0001-\u0040\u005b-\u005e\u0060\u007b-\u007f][^\u0001-\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u007f]*)?\$'
    '|[0-9][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]*)?'
    '|(?:\.\s*)?'
    '(?:"(?:[^"]|"")*"|[^\u0001-\u0040\u005b-\u005e\u0060\u007b-\u007f]'
    '[^\u0001-\u0023\u0025-\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u007f]*)'
    '(?:\s*\.\s*'
    '(?:"(?:[^"]|"")*"|[^\u0001-\u0040\u005b-\u005e\u0060\u007b-\u007f]'
    '[^\u0001-\u0023\u0025-\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u007f]*))*'
    '|\s+'
    '|.)', 'g') WITH ORDINALITY AS m (found, place);
END;
COMMENT ON FUNCTION ledgerviews.tokens(text) IS
'SQL in pieces: literals, comments (not nested ones), names with all their dots, the opening of a dollar quote.';

CREATE FUNCTION ledgerviews.moved(sql text, names jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
AS $body$
DECLARE
    v_rest text := sql;
    v_moved text := '';
    v_head text;
    v_tag text;
    v_stop integer;
BEGIN
    LOOP
        SELECT
            CASE WHEN d.place IS NULL THEN NULL ELSE d.token END,
            pg_catalog.string_agg(t.token, '' ORDER BY t.place),
            COALESCE(pg_catalog.string_agg(COALESCE(n.part[1] || n.target || n.part[4], t.token), '' ORDER BY t.place), '')
        INTO v_tag, v_head, sql
        FROM ledgerviews.tokens(v_rest) AS t
        LEFT JOIN (
            SELECT o.place, o.token
            FROM ledgerviews.tokens(CASE WHEN v_rest ~ '\$[^\s$]*\$' THEN v_rest END) AS o
            WHERE o.token ~ '^\$([^\d].*)?\$$'
            ORDER BY o.place
            LIMIT 1
        ) AS d ON true
        LEFT JOIN LATERAL (
            SELECT
                m.part,
                names ->> (
                    SELECT pg_catalog.string_agg(
                        pg_catalog.quote_ident(
                            CASE
                                WHEN p.name LIKE '"%'
                                    THEN pg_catalog.replace(pg_catalog.substr(p.name, 2, pg_catalog.length(p.name) - 2), '""', '"')
                                ELSE pg_catalog.translate(p.name, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
                            END
                        ), '.' ORDER BY p.place
                    )
                    FROM pg_catalog.unnest(m.part[2:3]) WITH ORDINALITY AS p (name, place)
                ) AS target
            FROM pg_catalog.regexp_match(
                t.token, '^()("(?:[^"]|"")*"|[^".\s]+)\s*\.\s*("(?:[^"]|"")*"|[^".\s]+)(.*)$') AS m (part)
            WHERE t.token ~ '^[^\u0001-\u0021\u0023-\u0040\u005b-\u005e\u0060\u007b-\u007f]' AND t.token !~ '^[eE]'''
        ) AS n ON n.target IS NOT NULL
        WHERE d.place IS NULL OR t.place < d.place
        GROUP BY 1;
        EXIT WHEN v_tag IS NULL;
        v_head := COALESCE(v_head, '');
        v_stop := pg_catalog.strpos(pg_catalog.substr(v_rest, pg_catalog.length(v_head) + pg_catalog.length(v_tag) + 1), v_tag);
        IF v_stop = 0 THEN
            RETURN v_moved || COALESCE(sql, '') || pg_catalog.substr(v_rest, pg_catalog.length(v_head) + 1);
        END IF;
        v_stop := pg_catalog.length(v_head) + 2 * pg_catalog.length(v_tag) + v_stop - 1;
        v_moved := v_moved || COALESCE(sql, '')
            || pg_catalog.substr(v_rest, pg_catalog.length(v_head) + 1, v_stop - pg_catalog.length(v_head));
        v_rest := pg_catalog.substr(v_rest, v_stop + 1);
    END LOOP;
    RETURN v_moved || COALESCE(sql, '');
END
$body$;
COMMENT ON FUNCTION ledgerviews.moved(text, jsonb) IS
'SQL with qualified names moved, {"a.b": "c.b"}; nothing inside literals, dollar quotes or comments is touched.';

CREATE FUNCTION ledgerviews.dependents(
    relations oid[],
    OUT classid oid, OUT objid oid, OUT depth integer, OUT kind text, OUT direct boolean, OUT name text
) RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
-- Few rows by the catalog's indexes, whatever its statistics say: a scan of pg_depend for each would take seconds.
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET jit = off
AS $body$
DECLARE
    v_circle text;
BEGIN
    FOR classid, objid, depth, kind, direct, name IN
        WITH RECURSIVE root AS (
            SELECT r.oid FROM pg_catalog.unnest(relations) AS r (oid)
            UNION
            SELECT i.inhrelid FROM root AS r JOIN pg_catalog.pg_inherits AS i ON i.inhparent = r.oid
        ),

        found AS (
            SELECT
                'pg_catalog.pg_class'::pg_catalog.regclass::oid AS classid,
                r.oid AS objid,
                0 AS objsubid,
                0 AS depth,
                true AS is_root,
                false AS from_root,
                true AS goes_on
            FROM root AS r
            UNION
            SELECT n.classid, n.objid, n.objsubid, f.depth + 1, false, f.is_root, n.goes_on
            FROM found AS f
            CROSS JOIN LATERAL (
                SELECT f.classid AS refclassid, f.objid AS refobjid
                UNION ALL
                -- A row type belongs to its relation; that of a table that stays matters to nobody.
                SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, y.oid
                FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_type AS t ON t.oid = c.reltype
                CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[t.oid, t.typarray]) AS y (oid)
                WHERE f.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = f.objid AND c.relkind IN ('v', 'm')
            ) AS of
            JOIN pg_catalog.pg_depend AS d ON d.refclassid = of.refclassid AND d.refobjid = of.refobjid
            CROSS JOIN LATERAL (
                -- What is part of a relation counts as the relation.
                SELECT CASE d.classid
                    WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN
                        COALESCE((SELECT i.indrelid FROM pg_catalog.pg_index AS i WHERE i.indexrelid = d.objid), d.objid)
                    WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN
                        (SELECT w.ev_class FROM pg_catalog.pg_rewrite AS w WHERE w.oid = d.objid)
                    WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN
                        (SELECT w.adrelid FROM pg_catalog.pg_attrdef AS w WHERE w.oid = d.objid)
                    WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN
                        (SELECT w.tgrelid FROM pg_catalog.pg_trigger AS w WHERE w.oid = d.objid)
                    WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN
                        (SELECT NULLIF(w.conrelid, 0) FROM pg_catalog.pg_constraint AS w WHERE w.oid = d.objid)
                    WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN
                        (SELECT w.polrelid FROM pg_catalog.pg_policy AS w WHERE w.oid = d.objid)
                    WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN
                        (SELECT w.stxrelid FROM pg_catalog.pg_statistic_ext AS w WHERE w.oid = d.objid)
                    WHEN 'pg_catalog.pg_publication_rel'::pg_catalog.regclass THEN
                        (SELECT w.prrelid FROM pg_catalog.pg_publication_rel AS w WHERE w.oid = d.objid)
                    END AS oid
            ) AS owner
            LEFT JOIN pg_catalog.pg_class AS o ON o.oid = owner.oid
            CROSS JOIN LATERAL (
                SELECT
                    CASE WHEN o.relkind IN ('v', 'm') THEN 'pg_catalog.pg_class'::pg_catalog.regclass ELSE d.classid END AS classid,
                    CASE WHEN o.relkind IN ('v', 'm') THEN o.oid ELSE d.objid END AS objid,
                    CASE WHEN o.relkind IN ('v', 'm') THEN 0 ELSE d.objsubid END AS objsubid,
                    COALESCE(o.relkind IN ('v', 'm'), false) OR d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AS goes_on
            ) AS n
            WHERE f.goes_on AND f.depth < 500
                AND NOT (f.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND COALESCE(owner.oid, 0) = f.objid)
                -- Partitions, toast tables, sequences and the constraints and triggers that they inherit.
                AND d.deptype <> 'i'
                AND NOT (f.is_root AND d.deptype IN ('a', 'P', 'S') AND (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    OR owner.oid IN (SELECT r.oid FROM root AS r)))
                AND NOT (f.is_root AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid IN (SELECT r.oid FROM root AS r))
                AND NOT (n.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND n.objid IN (SELECT r.oid FROM root AS r))
        )

        SELECT
            f.classid, f.objid, pg_catalog.max(f.depth),
            CASE
                WHEN EXISTS (
                    SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = f.classid AND e.objid = f.objid AND e.deptype = 'e'
                ) THEN 'other'
                WHEN f.classid = 'pg_catalog.pg_class'::pg_catalog.regclass THEN
                    CASE WHEN (SELECT c.relkind IN ('v', 'm') FROM pg_catalog.pg_class AS c WHERE c.oid = f.objid)
                        THEN 'relation' ELSE 'other' END
                WHEN f.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN
                    CASE WHEN (SELECT p.prokind = 'a' FROM pg_catalog.pg_proc AS p WHERE p.oid = f.objid)
                        THEN 'other' ELSE 'function' END
                WHEN f.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN
                    CASE WHEN (SELECT t.tgisinternal OR t.tgconstraint <> 0 FROM pg_catalog.pg_trigger AS t WHERE t.oid = f.objid)
                        THEN 'other' ELSE 'trigger' END
                ELSE 'other'
            END,
            pg_catalog.bool_and(f.from_root),
            pg_catalog.pg_describe_object(f.classid, f.objid, pg_catalog.max(f.objsubid))
            || COALESCE(
                (
                    SELECT ' of extension ' || x.extname
                    FROM pg_catalog.pg_depend AS e
                    JOIN pg_catalog.pg_extension AS x ON x.oid = e.refobjid
                    WHERE e.classid = f.classid AND e.objid = f.objid AND e.deptype = 'e'
                ), '')
        FROM found AS f
        WHERE NOT f.is_root
        GROUP BY f.classid, f.objid
        ORDER BY 3, 6
    LOOP
        IF depth >= 500 THEN
            v_circle := pg_catalog.concat_ws(', ', v_circle, name);
        END IF;
        RETURN NEXT;
    END LOOP;
    IF v_circle IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_recursion',
            MESSAGE = 'These read each other in a circle: ' || v_circle || '.',
            HINT = 'Break the circle in one of them.';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.dependents(oid[]) IS
'What depends on relations, at any depth: by depth, views, materialized views, functions, and what nobody can carry.';

CREATE FUNCTION ledgerviews.run_as(role name, statement text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_role text := pg_catalog.current_setting('role');
BEGIN
    PERFORM pg_catalog.set_config('role', role, true);
    EXECUTE statement;
    PERFORM pg_catalog.set_config('role', v_role, true);
END
$body$;
COMMENT ON FUNCTION ledgerviews.run_as(name, text) IS 'Run one statement as another role: who grants is part of a grant.';

CREATE FUNCTION ledgerviews.clear_grants(relation regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_grantee text;
BEGIN
    FOR v_grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
        WHERE c.oid = relation AND a.grantee <> c.relowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', relation, v_grantee);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.clear_grants(regclass) IS 'Take away what default privileges gave to others than the owner.';

CREATE FUNCTION ledgerviews.clear_grants(function regprocedure) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_grantee text;
BEGIN
    FOR v_grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
        FROM pg_catalog.pg_proc AS p
        CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
        WHERE p.oid = function AND a.grantee <> p.proowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM %s', function, v_grantee);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.clear_grants(regprocedure) IS 'Take away what PUBLIC and default privileges have on a new function.';

-- One row for each privilege; those that somebody else than the owner granted come after those that allow it. Where
-- somebody else may grant, too, by this ACL or by whole, that of the relation, the owner's are granted as the owner: for a
-- member of both PostgreSQL would take either as the grantor.
CREATE FUNCTION ledgerviews.grants(acl aclitem[], owner oid, target text, whole aclitem[] DEFAULT NULL)
RETURNS TABLE (grantee text, statement text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT
    g.grantee,
    CASE WHEN a.grantor = owner AND NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(acl || whole) AS o WHERE o.is_grantable AND o.grantee <> owner
        ) THEN g.statement
        ELSE pg_catalog.format('SELECT ledgerviews.run_as(%L, %L)', pg_catalog.pg_get_userbyid(a.grantor), g.statement) END AS statement
FROM pg_catalog.aclexplode(acl) WITH ORDINALITY AS a (grantor, grantee, privilege_type, is_grantable, ordinality)
CROSS JOIN LATERAL (
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS grantee
) AS n
CROSS JOIN LATERAL (
    SELECT
        n.grantee,
        pg_catalog.format(
            'GRANT %s TO %s%s', a.privilege_type || target, n.grantee,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS statement
) AS g
-- The ACL's own order is that in which the grants were made, so a grantor's right stands before its use.
ORDER BY a.grantor <> owner, a.ordinality;
END;
COMMENT ON FUNCTION ledgerviews.grants(aclitem[], oid, text, aclitem[]) IS 'The GRANT of each privilege in an ACL, on target.';

CREATE FUNCTION ledgerviews.captured(relation oid, schema text, name text)
RETURNS TABLE (place integer, kind text, object text, columns text[], statement text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
-- No BEGIN ATOMIC, which would keep the columns that the catalogs of this version have: a dump must restore into a later one.
AS $body$
WITH this AS (
    SELECT
        c.oid,
        c.relkind,
        c.relowner,
        c.relacl,
        c.reloptions,
        c.relreplident,
        c.relam,
        c.reltablespace,
        c.reltoastrelid,
        n.nspname,
        pg_catalog.format('%I.%I', n.nspname, c.relname) AS old,
        pg_catalog.format('%I.%I', captured.schema, captured.name) AS new,
        CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END AS word
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = captured.relation
),

named AS (
    SELECT t.*, pg_catalog.jsonb_build_object(t.old, t.new) AS names FROM this AS t
),

attribute AS (
    SELECT a.*, pg_catalog.quote_ident(a.attname) AS quoted
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = captured.relation AND a.attnum > 0 AND NOT a.attisdropped
),

index AS (
    SELECT
        i.*,
        c.relname,
        c.reltablespace,
        pg_catalog.format('%I.%I', captured.schema, c.relname) AS new,
        COALESCE(
            (
                SELECT pg_catalog.array_agg(DISTINCT a.attname::text)
                FROM pg_catalog.pg_depend AS d
                JOIN attribute AS a ON a.attnum = d.refobjsubid
                WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indrelid
            ), '{}'
        ) AS columns
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = captured.relation AND i.indisvalid
),

statistic AS (
    SELECT
        s.*,
        n.nspname,
        pg_catalog.format('%I.%I', n.nspname, s.stxname) AS old,
        pg_catalog.format(
            '%I.%I',
            CASE WHEN t.nspname = captured.schema THEN n.nspname ELSE captured.schema END,
            CASE WHEN t.nspname IN (captured.schema, n.nspname) THEN s.stxname ELSE 'ledgerviews_' || s.oid END) AS new,
        COALESCE(
            (
                SELECT pg_catalog.array_agg(DISTINCT a.attname::text)
                FROM pg_catalog.pg_depend AS d
                JOIN attribute AS a ON a.attnum = d.refobjsubid
                WHERE d.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AND d.objid = s.oid
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = s.stxrelid
            ), '{}'
        ) AS columns
    FROM pg_catalog.pg_statistic_ext AS s
    JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
    JOIN this AS t ON t.oid = s.stxrelid
),

part (phase, kind, object, columns, statement) AS (
    SELECT 10, 'storage', NULL, '{}'::text[], pg_catalog.format('ALTER %s %s SET ACCESS METHOD %I', t.word, t.new, m.amname)
    FROM this AS t
    JOIN pg_catalog.pg_am AS m ON m.oid = t.relam
    WHERE m.amname <> 'heap'
    UNION ALL
    SELECT 11, 'storage', NULL, '{}', pg_catalog.format('ALTER %s %s SET TABLESPACE %I', t.word, t.new, s.spcname)
    FROM this AS t
    JOIN pg_catalog.pg_tablespace AS s ON s.oid = t.reltablespace
    UNION ALL
    SELECT 12, 'storage', NULL, '{}', pg_catalog.format('ALTER %s %s SET (%I = %L)', t.word, t.new, o.option_name, o.option_value)
    FROM this AS t
    CROSS JOIN LATERAL pg_catalog.pg_options_to_table(t.reloptions) AS o
    UNION ALL
    SELECT 13, 'storage', NULL, '{}', pg_catalog.format('ALTER %s %s SET (toast.%I = %L)', t.word, t.new, o.option_name, o.option_value)
    FROM this AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.reltoastrelid
    CROSS JOIN LATERAL pg_catalog.pg_options_to_table(c.reloptions) AS o
    UNION ALL
    SELECT
        14, 'storage', NULL, ARRAY[a.attname::text],
        pg_catalog.format(
            'ALTER %s %s ALTER COLUMN %s SET STORAGE %s', t.word, t.new, a.quoted,
            CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
    FROM this AS t
    JOIN attribute AS a ON a.attrelid = t.oid
    JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
    WHERE t.relkind = 'm' AND a.attstorage <> y.typstorage
    UNION ALL
    SELECT
        14, 'storage', NULL, ARRAY[a.attname::text],
        pg_catalog.format(
            'ALTER %s %s ALTER COLUMN %s SET COMPRESSION %s', t.word, t.new, a.quoted,
            CASE a.attcompression WHEN 'l' THEN 'lz4' ELSE 'pglz' END)
    FROM this AS t
    JOIN attribute AS a ON a.attrelid = t.oid
    WHERE t.relkind = 'm' AND a.attcompression <> ''
    UNION ALL
    SELECT
        15, 'storage', NULL, ARRAY[a.attname::text],
        pg_catalog.format('ALTER %s %s ALTER COLUMN %s SET (%I = %L)', t.word, t.new, a.quoted, o.option_name, o.option_value)
    FROM this AS t
    JOIN attribute AS a ON a.attrelid = t.oid
    CROSS JOIN LATERAL pg_catalog.pg_options_to_table(a.attoptions) AS o
    -- Not those that PostgreSQL keeps there for itself: pg_attver, since 15.20.
    WHERE NOT pg_catalog.starts_with(o.option_name, 'pg_')
    UNION ALL
    SELECT
        16, 'storage', NULL, ARRAY[a.attname::text],
        pg_catalog.format('ALTER %s %s ALTER COLUMN %s SET STATISTICS %s', t.word, t.new, a.quoted, a.attstattarget)
    FROM this AS t
    JOIN attribute AS a ON a.attrelid = t.oid
    WHERE COALESCE(a.attstattarget, -1) >= 0
    UNION ALL
    SELECT
        17, 'default', NULL, ARRAY[a.attname::text],
        pg_catalog.format('ALTER %s %s ALTER COLUMN %s SET DEFAULT %s', t.word, t.new, a.quoted, pg_catalog.pg_get_expr(e.adbin, e.adrelid))
    FROM this AS t
    JOIN pg_catalog.pg_attrdef AS e ON e.adrelid = t.oid
    JOIN attribute AS a ON a.attnum = e.adnum
    UNION ALL
    SELECT 20, 'index', i.relname, i.columns, ledgerviews.moved(pg_catalog.pg_get_indexdef(i.indexrelid), t.names)
    FROM named AS t
    JOIN index AS i ON i.indrelid = t.oid
    UNION ALL
    SELECT 21, 'index', i.relname, i.columns, pg_catalog.format('ALTER INDEX %s SET TABLESPACE %I', i.new, s.spcname)
    FROM index AS i
    JOIN pg_catalog.pg_tablespace AS s ON s.oid = i.reltablespace
    UNION ALL
    SELECT 22, 'index', i.relname, i.columns, pg_catalog.format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', i.new, a.attnum, a.attstattarget)
    FROM index AS i
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indexrelid
    WHERE a.attnum > 0 AND COALESCE(a.attstattarget, -1) >= 0
    UNION ALL
    SELECT 23, 'index', i.relname, i.columns, pg_catalog.format('ALTER %s %s CLUSTER ON %I', t.word, t.new, i.relname)
    FROM this AS t
    JOIN index AS i ON i.indrelid = t.oid
    WHERE i.indisclustered
    UNION ALL
    SELECT 24, 'index', i.relname, i.columns, pg_catalog.format('COMMENT ON INDEX %s IS %L', i.new, d.description)
    FROM index AS i
    JOIN pg_catalog.pg_description AS d
        ON d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = i.indexrelid AND d.objsubid = 0
    UNION ALL
    SELECT 25, 'replica identity', i.relname, i.columns, pg_catalog.format('ALTER %s %s REPLICA IDENTITY USING INDEX %I', t.word, t.new, i.relname)
    FROM this AS t
    JOIN index AS i ON i.indrelid = t.oid
    WHERE i.indisreplident AND t.relreplident = 'i'
    UNION ALL
    SELECT
        25, 'replica identity', NULL, '{}',
        pg_catalog.format('ALTER %s %s REPLICA IDENTITY %s', t.word, t.new, CASE t.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END)
    FROM this AS t
    -- A view has NOTHING from its birth.
    WHERE t.relkind = 'm' AND t.relreplident IN ('f', 'n')
    UNION ALL
    SELECT
        30, 'statistics', s.old, s.columns,
        ledgerviews.moved(pg_catalog.pg_get_statisticsobjdef(s.oid), t.names || pg_catalog.jsonb_build_object(s.old, s.new))
    FROM named AS t
    JOIN statistic AS s ON s.stxrelid = t.oid
    UNION ALL
    SELECT 31, 'statistics', s.old, s.columns, pg_catalog.format('ALTER STATISTICS %s SET STATISTICS %s', s.new, s.stxstattarget)
    FROM statistic AS s
    WHERE COALESCE(s.stxstattarget, -1) >= 0
    UNION ALL
    SELECT 32, 'statistics', s.old, s.columns, pg_catalog.format('COMMENT ON STATISTICS %s IS %L', s.new, d.description)
    FROM statistic AS s
    JOIN pg_catalog.pg_description AS d
        ON d.classoid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AND d.objoid = s.oid
    UNION ALL
    SELECT 33, 'statistics', s.old, s.columns, pg_catalog.format('ALTER STATISTICS %s OWNER TO %I', s.new, pg_catalog.pg_get_userbyid(s.stxowner))
    FROM statistic AS s
    UNION ALL
    SELECT
        40, 'rule', w.rulename,
        ARRAY(
            SELECT DISTINCT a.attname::text
            FROM pg_catalog.pg_depend AS d
            JOIN attribute AS a ON a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = t.oid
        ),
        ledgerviews.moved(pg_catalog.pg_get_ruledef(w.oid), t.names)
    FROM named AS t
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = t.oid
    WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT 41, 'rule', w.rulename, '{}', pg_catalog.format('COMMENT ON RULE %I ON %s IS %L', w.rulename, t.new, d.description)
    FROM this AS t
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = t.oid
    JOIN pg_catalog.pg_description AS d
        ON d.classoid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objoid = w.oid
    WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT
        42, 'trigger', g.tgname,
        ARRAY(
            SELECT DISTINCT a.attname::text
            FROM pg_catalog.pg_depend AS d
            JOIN attribute AS a ON a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objid = g.oid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = t.oid
        ),
        ledgerviews.moved(pg_catalog.pg_get_triggerdef(g.oid), t.names)
    FROM named AS t
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid
    WHERE NOT g.tgisinternal
    UNION ALL
    SELECT 43, 'trigger', g.tgname, '{}', pg_catalog.format('COMMENT ON TRIGGER %I ON %s IS %L', g.tgname, t.new, d.description)
    FROM this AS t
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid
    JOIN pg_catalog.pg_description AS d
        ON d.classoid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objoid = g.oid
    WHERE NOT g.tgisinternal
    UNION ALL
    SELECT 50, 'comment', NULL, '{}', pg_catalog.format('COMMENT ON %s %s IS %L', t.word, t.new, d.description)
    FROM this AS t
    JOIN pg_catalog.pg_description AS d
        ON d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = t.oid AND d.objsubid = 0
    UNION ALL
    SELECT 51, 'comment', a.attname, ARRAY[a.attname::text], pg_catalog.format('COMMENT ON COLUMN %s.%s IS %L', t.new, a.quoted, d.description)
    FROM this AS t
    JOIN pg_catalog.pg_description AS d
        ON d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = t.oid
    JOIN attribute AS a ON a.attnum = d.objsubid
    UNION ALL
    SELECT
        52, 'label', l.provider, CASE WHEN a.attname IS NULL THEN '{}' ELSE ARRAY[a.attname::text] END,
        pg_catalog.format(
            'SECURITY LABEL FOR %I ON %s %s IS %L', l.provider, CASE WHEN a.attname IS NULL THEN t.word ELSE 'COLUMN' END,
            t.new || COALESCE('.' || a.quoted, ''), l.label)
    FROM this AS t
    JOIN pg_catalog.pg_seclabel AS l ON l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND l.objoid = t.oid
    LEFT JOIN attribute AS a ON a.attnum = l.objsubid
    UNION ALL
    SELECT 53, 'extension', x.extname, '{}', pg_catalog.format('ALTER %s %s DEPENDS ON EXTENSION %I', t.word, t.new, x.extname)
    FROM this AS t
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'x'
    JOIN pg_catalog.pg_extension AS x ON x.oid = d.refobjid
    WHERE t.relkind = 'm'
    UNION ALL
    SELECT 60, 'owner', NULL, '{}', pg_catalog.format('ALTER %s %s OWNER TO %I', t.word, t.new, pg_catalog.pg_get_userbyid(t.relowner))
    FROM this AS t
    UNION ALL
    SELECT 61, 'grant', NULL, '{}', pg_catalog.format('SELECT ledgerviews.clear_grants(%L::pg_catalog.regclass)', t.new)
    FROM this AS t
    UNION ALL
    SELECT 62, 'grant', NULL, '{}', pg_catalog.format('REVOKE ALL ON %s FROM %I', t.new, pg_catalog.pg_get_userbyid(t.relowner))
    FROM this AS t
    WHERE t.relacl IS NOT NULL
    UNION ALL
    SELECT 63, 'grant', g.grantee, '{}', g.statement
    FROM this AS t
    CROSS JOIN LATERAL ledgerviews.grants(t.relacl, t.relowner, ' ON ' || t.new) AS g
    UNION ALL
    SELECT 64, 'grant', g.grantee, ARRAY[a.attname::text], g.statement
    FROM this AS t
    JOIN attribute AS a ON a.attrelid = t.oid
    CROSS JOIN LATERAL ledgerviews.grants(a.attacl, t.relowner, pg_catalog.format(' (%s) ON %s', a.quoted, t.new), t.relacl) AS g
)

SELECT (pg_catalog.row_number() OVER (ORDER BY p.phase, p.ordinality))::integer, p.kind, p.object, p.columns, p.statement
FROM (SELECT q.*, pg_catalog.row_number() OVER () AS ordinality FROM part AS q) AS p
ORDER BY 1;
$body$;
COMMENT ON FUNCTION ledgerviews.captured(oid, text, text) IS
'All that hangs on a view or materialized view, as statements that put it on schema.name.';

CREATE FUNCTION ledgerviews.captured_function(function oid, target text DEFAULT NULL)
RETURNS TABLE (place integer, kind text, object text, columns text[], statement text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
AS $body$
WITH this AS (
    SELECT p.*, COALESCE(captured_function.target, p.oid::pg_catalog.regprocedure::text) AS new
    FROM pg_catalog.pg_proc AS p
    WHERE p.oid = captured_function.function
),

part (phase, kind, object, statement) AS (
    SELECT 50, 'comment', NULL, pg_catalog.format('COMMENT ON ROUTINE %s IS %L', t.new, d.description)
    FROM this AS t
    JOIN pg_catalog.pg_description AS d ON d.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objoid = t.oid
    UNION ALL
    SELECT 52, 'label', l.provider, pg_catalog.format('SECURITY LABEL FOR %I ON ROUTINE %s IS %L', l.provider, t.new, l.label)
    FROM this AS t
    JOIN pg_catalog.pg_seclabel AS l ON l.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND l.objoid = t.oid
    UNION ALL
    SELECT 53, 'extension', x.extname, pg_catalog.format('ALTER ROUTINE %s DEPENDS ON EXTENSION %I', t.new, x.extname)
    FROM this AS t
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'x'
    JOIN pg_catalog.pg_extension AS x ON x.oid = d.refobjid
    UNION ALL
    SELECT 60, 'owner', NULL, pg_catalog.format('ALTER ROUTINE %s OWNER TO %I', t.new, pg_catalog.pg_get_userbyid(t.proowner))
    FROM this AS t
    UNION ALL
    SELECT 61, 'grant', NULL, pg_catalog.format('SELECT ledgerviews.clear_grants(%L::pg_catalog.regprocedure)', t.new)
    FROM this AS t
    UNION ALL
    SELECT 62, 'grant', NULL, pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM %I', t.new, pg_catalog.pg_get_userbyid(t.proowner))
    FROM this AS t
    WHERE t.proacl IS NOT NULL
    UNION ALL
    SELECT 63, 'grant', g.grantee, g.statement
    FROM this AS t
    CROSS JOIN LATERAL ledgerviews.grants(
        COALESCE(t.proacl, pg_catalog.acldefault('f', t.proowner)), t.proowner, ' ON ROUTINE ' || t.new) AS g
)

SELECT (pg_catalog.row_number() OVER (ORDER BY p.phase, p.ordinality))::integer, p.kind, p.object, '{}'::text[], p.statement
FROM (SELECT q.*, pg_catalog.row_number() OVER () AS ordinality FROM part AS q) AS p
ORDER BY 1;
$body$;
COMMENT ON FUNCTION ledgerviews.captured_function(oid, text) IS
'All that hangs on a function, as statements that put it on the one created anew, or on target (as regprocedure writes it).';
