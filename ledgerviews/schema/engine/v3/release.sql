-- Engine version 3: take off a table what depends on it, so that the application can alter it, and put it back.
--
--     SELECT ledgerviews.release(ARRAY['public.t', ...]);   -- ALTER TABLE ...;   SELECT ledgerviews.restore();
-- In one transaction, or in two: what to put back is kept in ledgerviews.released and released_object.

CREATE TABLE ledgerviews.released (
    table_name text PRIMARY KEY,
    columns jsonb NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    released_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    released_by name NOT NULL DEFAULT SESSION_USER
);
COMMENT ON TABLE ledgerviews.released IS 'The tables that ledgerviews.release freed of what depends on them, until ledgerviews.restore.';
COMMENT ON COLUMN ledgerviews.released.columns IS 'Name and type of each column, by its number, as they were.';

CREATE TABLE ledgerviews.released_object (
    level integer NOT NULL,
    place integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('view', 'materialized view', 'function', 'tracking', 'trigger')),
    name text NOT NULL,
    drop_statement text NOT NULL,
    head text NOT NULL DEFAULT '',
    body text NOT NULL,
    foot text NOT NULL DEFAULT '',
    storage text[] NOT NULL DEFAULT '{}',
    hanging text[] NOT NULL DEFAULT '{}',
    populated boolean NOT NULL DEFAULT false,
    schema_name text,
    relation_name text,
    part text CHECK (part IN ('relation', 'whole', 'days', 'link')),
    as_installed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (level, place)
);
COMMENT ON TABLE ledgerviews.released_object IS 'What was taken off, in the order in which it is put back.';
COMMENT ON COLUMN ledgerviews.released_object.level IS
'0: what read a released table. 1 and more: what read a rollup whose types changed by that.';
COMMENT ON COLUMN ledgerviews.released_object.body IS
'The SELECT, line by line the definition where it stood as it was installed, between head and foot; else as PostgreSQL prints it.';
COMMENT ON COLUMN ledgerviews.released_object.schema_name IS
'The published relation that it is, or a part of; of a part link, the source, as schema and table.';

-- What cannot be put back ---------------------------------------------------------------------------------

CREATE FUNCTION ledgerviews.refuse_uncarried(relations oid[]) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_names text;
BEGIN
    SELECT pg_catalog.string_agg(w.what, E'\n' ORDER BY w.what) INTO v_names
    FROM ledgerviews.dependents(relations) AS d
    LEFT JOIN pg_catalog.pg_class AS c ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid
    LEFT JOIN pg_catalog.pg_proc AS p ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.objid
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = COALESCE(c.relnamespace, p.pronamespace)
    JOIN pg_catalog.pg_roles AS u ON u.rolname = CURRENT_USER
    CROSS JOIN LATERAL (
        SELECT d.name || CASE
            WHEN d.kind IN ('other', 'trigger') THEN
                CASE WHEN d.direct THEN NULL ELSE ' uses what would be taken off, and cannot be carried along' END
            WHEN c.relpersistence = 't' THEN ' is temporary'
            WHEN NOT pg_catalog.pg_has_role(COALESCE(c.relowner, p.proowner), 'USAGE')
                THEN ' belongs to ' || pg_catalog.pg_get_userbyid(COALESCE(c.relowner, p.proowner))
            WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
                THEN ' could not be created again: no CREATE on schema ' || n.nspname
            -- Who is no superuser may give nothing to a role that could not have made it there.
            WHEN NOT u.rolsuper AND COALESCE(c.relowner, p.proowner) <> u.oid
                AND NOT pg_catalog.has_schema_privilege(COALESCE(c.relowner, p.proowner), n.oid, 'CREATE')
                THEN pg_catalog.format(
                    ' could not be given back to %s, who has no CREATE on schema %s',
                    pg_catalog.pg_get_userbyid(COALESCE(c.relowner, p.proowner)), n.nspname)
        END AS what
    ) AS w
    WHERE w.what IS NOT NULL;
    IF v_names IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = 'Nothing was released, because this depends on it: ' || pg_catalog.replace(v_names, E'\n', '; ') || '.',
            HINT = 'Drop it before, and create it again after; or do this as a member of its owner.';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.refuse_uncarried(oid[]) IS
'Raise an error that names whatever depends on relations and could not be put back.';

CREATE FUNCTION ledgerviews.table_columns(relation regclass) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT COALESCE(
    pg_catalog.jsonb_object_agg(
        a.attnum::text,
        pg_catalog.jsonb_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod))
    ), '{}'
)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped;
END;
COMMENT ON FUNCTION ledgerviews.table_columns(regclass) IS 'Name and type of each column of a table, by its number.';

-- Taking off ----------------------------------------------------------------------------------------------

CREATE FUNCTION ledgerviews.note_relation(level integer, place integer, relation oid) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
BEGIN ATOMIC
INSERT INTO ledgerviews.released_object (
    level, place, kind, name, drop_statement, head, body, foot, storage, hanging, populated,
    schema_name, relation_name, part, as_installed
)
SELECT
    note_relation.level,
    note_relation.place,
    k.word,
    k.name,
    pg_catalog.format('DROP %s %s', pg_catalog.upper(k.word), k.name) AS drop_statement,
    pg_catalog.format(E'CREATE %s %s AS\n', pg_catalog.upper(k.word), k.name) AS head,
    CASE WHEN i.same THEN r.body ELSE pg_catalog.rtrim(pg_catalog.pg_get_viewdef(c.oid), ';') END AS body,
    CASE c.relkind WHEN 'm' THEN E'\nWITH NO DATA' ELSE '' END AS foot,
    -- What somebody else wrote is filled and indexed with the rights of its owner, not with those of who restores.
    ARRAY(
        SELECT h.statement FROM ledgerviews.captured(c.oid, n.nspname, c.relname) AS h
        WHERE h.kind = 'storage' OR h.kind = 'owner' AND c.relkind = 'm' AND r.relation_name IS NULL
        ORDER BY h.place
    ) AS storage,
    ARRAY(SELECT h.statement FROM ledgerviews.captured(c.oid, n.nspname, c.relname) AS h WHERE h.kind <> 'storage' ORDER BY h.place) AS hanging,
    c.relkind = 'm' AND c.relispopulated AS populated,
    r.schema_name,
    r.relation_name,
    CASE
        WHEN r.relation_name IS NULL THEN NULL
        WHEN n.nspname = r.schema_name AND c.relname = r.relation_name THEN 'relation'
        ELSE 'whole'
    END AS part,
    COALESCE(i.same, false) AS as_installed
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END AS word, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
) AS k
LEFT JOIN ledgerviews.relation AS r
    ON r.schema_name = n.nspname AND r.relation_name = c.relname
    OR n.nspname = 'ledgerviews' AND c.relname = r.rollup || '_whole'
-- The view that readers see of a relation by day reads its rollup: the registry's text is that of the rollup.
LEFT JOIN LATERAL (
    -- The text of an entity may hold names without a schema; what PostgreSQL prints never does.
    SELECT r.body IS NOT NULL AND r.printed = ledgerviews.printed(r.schema_name, r.relation_name)
        AND NOT COALESCE((r.declared ->> 'exact')::boolean, false) AS same
    WHERE r.rollup IS NULL OR n.nspname = 'ledgerviews' AND c.relname = r.rollup || '_whole'
) AS i ON true
WHERE c.oid = note_relation.relation;
END;
COMMENT ON FUNCTION ledgerviews.note_relation(integer, integer, oid) IS 'Note how to put a view or materialized view back.';

CREATE FUNCTION ledgerviews.note_function(level integer, place integer, function oid) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
BEGIN ATOMIC
INSERT INTO ledgerviews.released_object (
    level, place, kind, name, drop_statement, head, body, foot, hanging, schema_name, relation_name, part, as_installed
)
SELECT
    note_function.level,
    note_function.place,
    'function' AS kind,
    p.oid::pg_catalog.regprocedure::text AS name,
    pg_catalog.format('DROP ROUTINE %s', p.oid::pg_catalog.regprocedure) AS drop_statement,
    CASE WHEN i.same THEN pg_catalog.format(
        E'CREATE FUNCTION ledgerviews.%I(lo date, hi date) RETURNS SETOF ledgerviews.%I\n'
        'LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp STABLE BEGIN ATOMIC\n',
        p.proname, r.rollup) ELSE '' END AS head,
    CASE WHEN i.same THEN r.day_body ELSE pg_catalog.pg_get_functiondef(p.oid) END AS body,
    CASE WHEN i.same THEN E';\nEND' ELSE '' END AS foot,
    ARRAY(SELECT h.statement FROM ledgerviews.captured_function(p.oid) AS h ORDER BY h.place) AS hanging,
    COALESCE(r.schema_name, s.schema_name) AS schema_name,
    COALESCE(r.relation_name, s.table_name) AS relation_name,
    CASE WHEN r.rollup IS NOT NULL THEN 'days' WHEN s.source IS NOT NULL THEN 'link' END AS part,
    COALESCE(i.same, false) AS as_installed
FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
LEFT JOIN ledgerviews.relation AS r ON n.nspname = 'ledgerviews' AND p.proname = r.rollup || '_days'
LEFT JOIN ledgerviews.source AS s ON n.nspname = 'ledgerviews' AND p.proname = s.stem || '_link'
LEFT JOIN LATERAL (
    SELECT r.day_body IS NOT NULL AND r.printed_days = ledgerviews.printed_days(r.schema_name, r.relation_name) AS same
) AS i ON true
WHERE p.oid = note_function.function;
END;
COMMENT ON FUNCTION ledgerviews.note_function(integer, integer, oid) IS 'Note how to put a function back.';

CREATE FUNCTION ledgerviews.note_tracking(tables oid[]) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
BEGIN ATOMIC
-- Put on anew for the columns' types of then; but where the application renamed one before, its trigger is the
-- only thing that knows.
WITH attached AS (
    SELECT
        s.source,
        s.schema_name,
        s.table_name,
        t.oid,
        t.tgname,
        t.tgrelid,
        t.tgrelid::pg_catalog.regclass AS on_table,
        NOT EXISTS (
            SELECT FROM pg_catalog.unnest(ARRAY[s.day_column, s.key_column]) AS k (name)
            WHERE k.name IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = t.tgrelid AND a.attname = k.name AND NOT a.attisdropped
            )
        ) AS known
    FROM ledgerviews.source AS s
    JOIN pg_catalog.pg_trigger AS t
        ON t.tgrelid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', s.schema_name, s.table_name))
        AND t.tgname IN ('ledgerviews_insert', 'ledgerviews_update', 'ledgerviews_delete')
    WHERE t.tgrelid = ANY (note_tracking.tables) AND s.tracking <> 'none'
),

part (kind, name, drop_statement, body, hanging, schema_name, relation_name) AS (
    SELECT DISTINCT
        'tracking', a.source, pg_catalog.format('SELECT ledgerviews.detach(%L)', a.source),
        pg_catalog.format(
            'SELECT ledgerviews.attach(s.source, s.tracking) FROM ledgerviews.source AS s WHERE s.source = %L', a.source),
        '{}'::text[], a.schema_name, a.table_name
    FROM attached AS a
    WHERE a.known
    UNION ALL
    SELECT
        'trigger', pg_catalog.format('%I on %s', a.tgname, a.on_table), pg_catalog.format('DROP TRIGGER %I ON %s', a.tgname, a.on_table),
        pg_catalog.pg_get_triggerdef(a.oid),
        ARRAY[pg_catalog.format('SELECT ledgerviews.enable_always(%L::pg_catalog.regclass)', a.on_table)], a.schema_name, a.table_name
    FROM attached AS a
    WHERE NOT a.known
)

INSERT INTO ledgerviews.released_object (level, place, kind, name, drop_statement, body, hanging, schema_name, relation_name)
SELECT
    0 AS level,
    1000000 + pg_catalog.row_number() OVER (ORDER BY p.name) AS place,
    p.kind,
    p.name,
    p.drop_statement,
    p.body,
    p.hanging,
    p.schema_name,
    p.relation_name
FROM part AS p;
END;
COMMENT ON FUNCTION ledgerviews.note_tracking(oid[]) IS 'Note how to put our triggers back on tables, with the tracking that each has.';

CREATE FUNCTION ledgerviews.take_off(level integer, relations oid[], attempts integer DEFAULT 100) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $body$
DECLARE
    v_object record;
    v_before text;
    v_after text;
    v_name text;
    v_attempt integer := 1;
BEGIN
    PERFORM ledgerviews.refuse_uncarried(relations);
    -- All locks together, none awaited for long, outermost first as readers take them: who reads a view locks it
    -- before what it reads.
    LOOP
        BEGIN
            SELECT pg_catalog.string_agg(d.classid || '.' || d.objid || '.' || d.kind, ',' ORDER BY d.classid, d.objid) INTO v_before
            FROM ledgerviews.dependents(relations) AS d;
            FOR v_object IN
                SELECT c.relkind, n.nspname, c.relname, o.rolname
                FROM ledgerviews.dependents(relations) AS d
                JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
                WHERE d.kind = 'relation'
                ORDER BY d.depth DESC, d.name
            LOOP
                v_name := v_object.nspname || '.' || v_object.relname;
                -- It locks this one alone: LOCK TABLE would lock what a view reads, too, and refuses materialized views.
                IF v_object.relkind = 'm' THEN
                    EXECUTE pg_catalog.format('ALTER MATERIALIZED VIEW %I.%I OWNER TO %I', v_object.nspname, v_object.relname, v_object.rolname);
                ELSE
                    EXECUTE pg_catalog.format('ALTER VIEW %I.%I OWNER TO %I', v_object.nspname, v_object.relname, v_object.rolname);
                END IF;
            END LOOP;
            FOR v_object IN
                SELECT n.nspname, c.relname
                FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p') AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
                ORDER BY n.nspname, c.relname
            LOOP
                v_name := v_object.nspname || '.' || v_object.relname;
                EXECUTE pg_catalog.format('LOCK TABLE %I.%I IN ACCESS EXCLUSIVE MODE', v_object.nspname, v_object.relname);
            END LOOP;
            SELECT pg_catalog.string_agg(d.classid || '.' || d.objid || '.' || d.kind, ',' ORDER BY d.classid, d.objid) INTO v_after
            FROM ledgerviews.dependents(relations) AS d;
            IF v_before IS DISTINCT FROM v_after THEN
                RAISE EXCEPTION 'What depends on the tables changed meanwhile.' USING ERRCODE = 'lock_not_available';
            END IF;

            PERFORM CASE d.kind
                WHEN 'relation' THEN ledgerviews.note_relation(level, d.place, d.objid)
                ELSE ledgerviews.note_function(level, d.place, d.objid)
            END
            FROM (
                SELECT f.kind, f.objid, (pg_catalog.row_number() OVER (ORDER BY f.depth, f.kind DESC, f.name))::integer AS place
                FROM ledgerviews.dependents(relations) AS f
                WHERE f.kind IN ('relation', 'function')
            ) AS d;
            IF level = 0 THEN
                PERFORM ledgerviews.follow_renames();
                PERFORM ledgerviews.note_tracking(relations);
            END IF;
            FOR v_object IN
                SELECT o.name, o.drop_statement FROM ledgerviews.released_object AS o WHERE o.level = take_off.level ORDER BY o.place DESC
            LOOP
                v_name := v_object.name;
                EXECUTE v_object.drop_statement;
            END LOOP;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF v_attempt >= attempts THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'lock_not_available',
                    MESSAGE = pg_catalog.format('%s was in use at each of %s attempts to take it off.', v_name, attempts),
                    HINT = 'A long transaction holds it, see pg_stat_activity; or this transaction itself locked the table before, and its readers'
                        ' wait for that: release first. Nothing was changed; try again.';
            END IF;
            v_attempt := v_attempt + 1;
            PERFORM pg_catalog.pg_sleep(0.05 + pg_catalog.random() * 0.3);
        END;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.take_off(integer, oid[], integer) IS
'Note and drop all that depends on relations, and our triggers on them, without holding anybody up.';

-- What is printed here is read again by restore().
CREATE FUNCTION ledgerviews.release(tables text[], attempts integer DEFAULT 100) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
AS $body$
DECLARE
    v_names text;
    v_tables oid[];
    v_taken integer;
BEGIN
    IF pg_catalog.cardinality(tables) IS NOT DISTINCT FROM 0 OR tables IS NULL THEN
        RAISE EXCEPTION 'Name the tables to release, with their schemas.' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
    SELECT pg_catalog.string_agg(r.table_name, ', ' ORDER BY r.table_name) || ' (by ' || pg_catalog.min(r.released_by) || ', '
        || pg_catalog.date_trunc('second', pg_catalog.min(r.released_at)) || ')'
    INTO v_names
    FROM ledgerviews.released AS r;
    IF v_names IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'Released already, and not restored: ' || v_names || '.',
            HINT = 'Restore first: ledgerviews restore, or SELECT ledgerviews.restore(). Name all tables in one release.';
    END IF;
    SELECT pg_catalog.string_agg(t.name, ', '), pg_catalog.array_agg(c.oid)
    INTO v_names, v_tables
    FROM pg_catalog.unnest(tables) AS t (name)
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(t.name) AND c.relkind IN ('r', 'p', 'f')
    WHERE c.oid IS NULL;
    IF v_names IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_table',
            MESSAGE = pg_catalog.format('No table by this name, so nothing was released: %s.', v_names),
            HINT = 'Write schema.table, as in public.orders; quote what is not in lower case: public."Orders".';
    END IF;
    -- An ALTER TABLE reaches the partitions, so what reads these is in its way, too.
    WITH RECURSIVE part AS (
        SELECT pg_catalog.to_regclass(t.name)::oid AS oid FROM pg_catalog.unnest(tables) AS t (name)
        UNION
        SELECT i.inhrelid FROM part AS p JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.oid
    )

    SELECT pg_catalog.array_agg(p.oid) INTO v_tables FROM part AS p;
    PERFORM ledgerviews.take_off(0, v_tables, attempts);
    INSERT INTO ledgerviews.released (table_name, columns)
    SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, c.relname), ledgerviews.table_columns(c.oid)
    FROM pg_catalog.unnest(tables) AS t (name)
    JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(t.name)
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace;
    SELECT pg_catalog.count(*) INTO v_taken FROM ledgerviews.released_object AS o;
    RETURN v_taken;
END
$body$;
COMMENT ON FUNCTION ledgerviews.release(text[], integer) IS
'Take off tables all that depends on them, so that they can be altered; ledgerviews.restore puts it back. Returns how many objects.';

-- Putting back --------------------------------------------------------------------------------------------

CREATE FUNCTION ledgerviews.altered() RETURNS TABLE (table_name text, column_name text, what text, undo text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT
    r.table_name,
    b.value ->> 'name' AS column_name,
    pg_catalog.format('%s.%s ', r.table_name, b.value ->> 'name') || CASE
        WHEN a.value IS NULL THEN 'was dropped'
        WHEN a.value ->> 'name' <> b.value ->> 'name' THEN 'is now named ' || (a.value ->> 'name')
        ELSE pg_catalog.format('was %s and is %s', b.value ->> 'type', a.value ->> 'type')
    END AS what,
    'ALTER TABLE ' || r.table_name || CASE
        WHEN pg_catalog.to_regclass(r.table_name) IS NULL THEN NULL
        WHEN a.value IS NULL THEN pg_catalog.format(' ADD COLUMN %I %s;', b.value ->> 'name', b.value ->> 'type')
        WHEN a.value ->> 'name' <> b.value ->> 'name' THEN pg_catalog.format(' RENAME COLUMN %I TO %I;', a.value ->> 'name', b.value ->> 'name')
        ELSE pg_catalog.format(' ALTER COLUMN %1$I TYPE %2$s USING %1$I::%2$s;', b.value ->> 'name', b.value ->> 'type')
    END AS undo
FROM ledgerviews.released AS r
CROSS JOIN LATERAL pg_catalog.jsonb_each(r.columns) AS b
LEFT JOIN LATERAL pg_catalog.jsonb_each(ledgerviews.table_columns(pg_catalog.to_regclass(r.table_name))) AS a ON a.key = b.key
WHERE a.value IS DISTINCT FROM b.value
ORDER BY r.table_name, b.key::integer;
END;
COMMENT ON FUNCTION ledgerviews.altered() IS 'What became of the columns of the released tables, and the statement that undoes it.';

CREATE FUNCTION ledgerviews.line_of(body text, message text) RETURNS integer
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
-- PostgreSQL keeps the place of an error from whoever catches it; but the message names what was not found, and we
-- know what was altered, and under which aliases a SELECT reads it. The line that speaks of most of it is the one.
WITH spoken AS MATERIALIZED (
    SELECT
        t.place,
        pg_catalog.lower(t.token) AS token,
        t.token ~ '^[eE]?''' AS literal,
        1 + pg_catalog.sum(pg_catalog.length(t.token) - pg_catalog.length(pg_catalog.replace(t.token, E'\n', '')))
            OVER (ORDER BY t.place) AS line,
        pg_catalog.row_number() OVER (PARTITION BY t.token ~ '^(\s|--|/\*)' ORDER BY t.place) AS word
    FROM ledgerviews.tokens(body) AS t
),

word AS (
    SELECT s.* FROM spoken AS s WHERE s.token !~ '^(\s|--|/\*)'
),

named AS (
    SELECT DISTINCT pg_catalog.lower(COALESCE(m.found[1], m.found[2])) AS name
    FROM pg_catalog.regexp_matches(message, '"([^"]+)"|(?:^|\s)([^\s"(]*\.[^\s"(.]+)(?=[(,\s]|$)', 'g') AS m (found)
),

altered AS (
    SELECT pg_catalog.lower(a.table_name) AS table_name, pg_catalog.lower(a.column_name) AS column_name FROM ledgerviews.altered() AS a
),

alias AS (
    SELECT DISTINCT a.table_name, CASE n.token WHEN 'as' THEN m.token ELSE n.token END AS name
    FROM altered AS a
    JOIN word AS w ON w.token = a.table_name
    JOIN word AS n ON n.word = w.word + 1
    LEFT JOIN word AS m ON m.word = w.word + 2
),

score AS (
    SELECT
        w.line,
        GREATEST(
            (SELECT 4 FROM named AS n WHERE NOT w.literal AND (w.token = n.name OR pg_catalog.right(w.token, pg_catalog.length(n.name) + 1) = '.' || n.name) LIMIT 1),
            (SELECT 2 FROM named AS n WHERE w.token = pg_catalog.quote_literal(n.name) LIMIT 1),
            (SELECT 2 FROM altered AS a JOIN alias AS l ON l.table_name = a.table_name WHERE w.token = l.name || '.' || a.column_name LIMIT 1),
            (
                SELECT 1 FROM altered AS a
                WHERE NOT w.literal AND (w.token = a.column_name OR pg_catalog.right(w.token, pg_catalog.length(a.column_name) + 1) = '.' || a.column_name)
                LIMIT 1
            )
        ) AS points,
        w.token
    FROM word AS w
)

SELECT l.line::integer
FROM (
    SELECT d.line, pg_catalog.sum(d.points) AS points
    FROM (SELECT DISTINCT s.line, s.token, s.points FROM score AS s WHERE s.points > 0) AS d
    GROUP BY d.line
) AS l
ORDER BY l.points DESC, l.line
LIMIT 1;
END;
COMMENT ON FUNCTION ledgerviews.line_of(text, text) IS 'The line of a SELECT that an error is about; NULL where that cannot be told.';

CREATE FUNCTION ledgerviews.retype_log(schema_name text, table_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_source ledgerviews.source;
    v_type text;
    v_log record;
BEGIN
    SELECT s.* INTO v_source FROM ledgerviews.source AS s
    WHERE s.schema_name = retype_log.schema_name AND s.table_name = retype_log.table_name;
    SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
        || CASE WHEN l.oid IS NULL THEN '' ELSE pg_catalog.format(' COLLATE %I.%I', m.nspname, l.collname) END
    INTO v_type
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation AND a.attcollation <> t.typcollation
    LEFT JOIN pg_catalog.pg_namespace AS m ON m.oid = l.collnamespace
    WHERE a.attrelid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', v_source.schema_name, v_source.table_name))
        AND a.attname = v_source.key_column AND NOT a.attisdropped;
    FOR v_log IN
        SELECT c.relname
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'key'
        JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation AND a.attcollation <> t.typcollation
        LEFT JOIN pg_catalog.pg_namespace AS m ON m.oid = l.collnamespace
        WHERE v_type IS NOT NULL
            AND c.relnamespace = 'ledgerviews'::pg_catalog.regnamespace
            AND c.relname IN (v_source.stem || '_change', v_source.stem || '_orphan')
            AND pg_catalog.format_type(a.atttypid, a.atttypmod)
            || CASE WHEN l.oid IS NULL THEN '' ELSE pg_catalog.format(' COLLATE %I.%I', m.nspname, l.collname) END <> v_type
    LOOP
        -- What it holds means nothing any more: the next refresh begins anew, because the triggers are others.
        EXECUTE pg_catalog.format('ALTER TABLE ledgerviews.%I ALTER COLUMN key TYPE %s USING NULL', v_log.relname, v_type);
        EXECUTE pg_catalog.format('DELETE FROM ledgerviews.%I', v_log.relname);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.retype_log(text, text) IS 'Have the logs of a source follow the type of its key.';

CREATE FUNCTION ledgerviews.retype_rollup(level integer, schema_name text, relation_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_rollup text;
    v_other text;
    v_change text;
    v_populated boolean;
    v_rows bigint := 0;
BEGIN
    SELECT r.rollup INTO v_rollup FROM ledgerviews.relation AS r
    WHERE r.schema_name = retype_rollup.schema_name AND r.relation_name = retype_rollup.relation_name;
    WITH attribute AS (
        SELECT
            a.attrelid,
            a.attname,
            a.attnum,
            pg_catalog.format_type(a.atttypid, a.atttypmod)
            || CASE WHEN l.oid IS NULL THEN '' ELSE pg_catalog.format(' COLLATE %I.%I', m.nspname, l.collname) END AS type_name
        FROM pg_catalog.pg_attribute AS a
        LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation
        LEFT JOIN pg_catalog.pg_namespace AS m ON m.oid = l.collnamespace
        WHERE a.attnum > 0 AND NOT a.attisdropped
    ),

    pair AS (
        SELECT t.attname, t.attnum, w.attname AS whole_name, t.type_name, w.type_name AS whole_type
        FROM (SELECT a.* FROM attribute AS a WHERE a.attrelid = pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', v_rollup))) AS t
        FULL JOIN (
            SELECT a.* FROM attribute AS a WHERE a.attrelid = pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', v_rollup || '_whole'))
        ) AS w ON w.attname = t.attname
    )

    SELECT
        pg_catalog.string_agg(COALESCE(p.attname, p.whole_name), ', ') FILTER (WHERE p.attname IS NULL OR p.whole_name IS NULL),
        pg_catalog.string_agg(
            pg_catalog.format('ALTER COLUMN %1$I TYPE %2$s USING NULL', p.attname, p.whole_type), ', ' ORDER BY p.attnum
        ) FILTER (WHERE p.type_name <> p.whole_type)
    INTO v_other, v_change
    FROM pair AS p;
    IF v_other IS NOT NULL THEN
        RAISE EXCEPTION 'its columns would be others: %', v_other USING ERRCODE = 'datatype_mismatch';
    END IF;
    IF v_change IS NULL THEN
        RETURN;
    END IF;
    PERFORM ledgerviews.take_off(level + 1, ARRAY[pg_catalog.format('ledgerviews.%I', v_rollup)::pg_catalog.regclass::oid]);
    SELECT o.populated INTO v_populated FROM ledgerviews.released_object AS o
    WHERE o.level = retype_rollup.level + 1 AND o.part = 'relation'
        AND o.schema_name = retype_rollup.schema_name AND o.relation_name = retype_rollup.relation_name;
    EXECUTE pg_catalog.format('TRUNCATE ledgerviews.%I', v_rollup);
    EXECUTE pg_catalog.format('ALTER TABLE ledgerviews.%I %s', v_rollup, v_change);
    IF v_populated THEN
        EXECUTE pg_catalog.format('INSERT INTO ledgerviews.%1$I SELECT * FROM ledgerviews.%2$I', v_rollup, v_rollup || '_whole');
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        EXECUTE pg_catalog.format('ANALYZE ledgerviews.%I', v_rollup);
    END IF;
    UPDATE ledgerviews.relation_state AS t
    SET row_count = v_rows, changes = t.changes + 1, rebuild = COALESCE(t.rebuild, 'the types of its columns changed')
    WHERE t.schema_name = retype_rollup.schema_name AND t.relation_name = retype_rollup.relation_name;
    PERFORM ledgerviews.put_back(level + 1);
END
$body$;
COMMENT ON FUNCTION ledgerviews.retype_rollup(integer, text, text) IS
'Where the types of a relation by day changed, give its rollup these, compute it anew, and put back what reads it.';

CREATE FUNCTION ledgerviews.put_back_one(object ledgerviews.released_object) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET check_function_bodies = on
AS $body$
DECLARE
    v_statement text;
    v_text text := object.body;
BEGIN
    IF object.part = 'link' THEN
        -- It returns the type that the key has now.
        SELECT pg_catalog.regexp_replace(
            v_text, '\n RETURNS [^\n]+', E'\n RETURNS ' || pg_catalog.replace(pg_catalog.format_type(a.atttypid, NULL), '\', '\\'))
        INTO v_text
        FROM ledgerviews.source AS s
        JOIN pg_catalog.pg_attribute AS a
            ON a.attrelid = pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', s.stem || '_change')) AND a.attname = 'key'
        WHERE s.schema_name = object.schema_name AND s.table_name = object.relation_name;
    END IF;
    EXECUTE object.head || v_text || object.foot;
    FOREACH v_statement IN ARRAY object.storage LOOP
        EXECUTE v_statement;
    END LOOP;
    IF object.part = 'whole' THEN
        PERFORM ledgerviews.retype_rollup(object.level, object.schema_name, object.relation_name);
    END IF;
    IF object.populated THEN
        BEGIN
            EXECUTE 'REFRESH MATERIALIZED VIEW ' || object.name;
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            RAISE WARNING '% stays empty until it is refreshed: what it reads was never filled.', object.name;
        WHEN insufficient_privilege THEN
            -- Somebody else's, filled as its owner, keeps nothing of ours off.
            IF object.part IS NOT NULL THEN
                RAISE;
            END IF;
            RAISE WARNING '% stays empty until it is refreshed: its owner may not read what it reads.', object.name;
        END;
    END IF;
    FOREACH v_statement IN ARRAY object.hanging LOOP
        EXECUTE v_statement;
    END LOOP;
    IF object.populated AND (SELECT c.relispopulated FROM pg_catalog.pg_class AS c WHERE c.oid = object.name::pg_catalog.regclass) THEN
        EXECUTE 'ANALYZE ' || object.name;
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.put_back_one(ledgerviews.released_object) IS 'Put one object back, with all that hung on it.';

-- Whoever calls it, the rows that it computes are the same.
CREATE FUNCTION ledgerviews.put_back(level integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
AS $body$
DECLARE
    v_object ledgerviews.released_object;
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_hint text;
    v_line integer;
    v_altered text;
    v_undo text;
BEGIN
    FOR v_object IN
        SELECT o.* FROM ledgerviews.released_object AS o WHERE o.level = put_back.level ORDER BY o.place
    LOOP
        BEGIN
            PERFORM ledgerviews.put_back_one(v_object);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS
                v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            -- One that failed below this level says it all already; a lock is no fault of the definition.
            IF v_sqlstate IN ('LV003', '55P03', '40P01', '40001') THEN
                RAISE;
            END IF;
            v_line := ledgerviews.line_of(v_object.body, v_message);
            SELECT pg_catalog.string_agg(a.what, '; '), pg_catalog.string_agg(a.undo, ' ') INTO v_altered, v_undo
            FROM ledgerviews.altered() AS a
            WHERE EXISTS (
                SELECT FROM ledgerviews.tokens(v_object.body) AS k
                WHERE k.token = a.column_name OR pg_catalog.right(k.token, pg_catalog.length(a.column_name) + 1) = '.' || a.column_name
            );
            RAISE EXCEPTION USING
                ERRCODE = 'LV003',
                MESSAGE = pg_catalog.format(
                    '%s %s no longer fits%s%s: %s',
                    CASE v_object.kind
                        WHEN 'tracking' THEN 'The tracking of'
                        ELSE pg_catalog.upper(pg_catalog.left(v_object.kind, 1)) || pg_catalog.substr(v_object.kind, 2)
                    END,
                    v_object.name || CASE
                        WHEN v_object.part IN ('whole', 'days') THEN pg_catalog.format(' (part of %s.%s)', v_object.schema_name, v_object.relation_name)
                        ELSE '' END,
                    CASE WHEN v_line IS NULL THEN ''
                        WHEN v_object.as_installed THEN pg_catalog.format(
                            ', line %s of the %s of %s', v_line, CASE v_object.part WHEN 'days' THEN 'SELECT of single days' ELSE 'SELECT' END,
                            v_object.relation_name)
                        ELSE pg_catalog.format(', line %s as PostgreSQL prints it', v_line) END,
                    COALESCE('; ' || v_altered, ''), v_message),
                DETAIL = pg_catalog.concat_ws(
                    E'\n',
                    'Line: ' || pg_catalog.btrim((pg_catalog.string_to_array(v_object.body, E'\n'))[v_line]),
                    NULLIF(v_detail, ''), NULLIF(v_hint, '')),
                -- Who released in a transaction of its own has altered the table for good, and no revision runs until
                -- all is put back.
                HINT = CASE
                    WHEN EXISTS (SELECT FROM ledgerviews.released AS r WHERE r.xid <> pg_catalog.pg_current_xact_id()) THEN
                        'Nothing was put back. Undo what was altered, then restore again'
                        || COALESCE(E':\n' || v_undo || E'\nledgerviews restore, or SELECT ledgerviews.restore();\n', '. ')
                        || 'Before it is altered again, replace the definition, in a revision of its own, by one that fits before and'
                        ' after, or drop it.'
                    ELSE
                        'Nothing of this transaction was kept. '
                        || CASE WHEN v_altered LIKE '%is now named%'
                            THEN 'Rename outside of a release: what reads a column follows its name. Else replace' ELSE 'Replace' END
                        || ' the definition, in a revision of its own, by one that fits before and after, or drop it; then alter the table.'
                END;
        END;
    END LOOP;
    UPDATE ledgerviews.relation AS r
    SET printed = CASE WHEN o.whole THEN ledgerviews.printed(r.schema_name, r.relation_name) ELSE r.printed END,
        printed_days = CASE WHEN o.days THEN ledgerviews.printed_days(r.schema_name, r.relation_name) ELSE r.printed_days END
    FROM (
        SELECT
            b.schema_name, b.relation_name,
            pg_catalog.bool_or(b.part IN ('relation', 'whole')) AS whole, pg_catalog.bool_or(b.part = 'days') AS days
        FROM ledgerviews.released_object AS b
        WHERE b.level = put_back.level AND b.as_installed
        GROUP BY b.schema_name, b.relation_name
    ) AS o
    WHERE o.schema_name = r.schema_name AND o.relation_name = r.relation_name;
    -- A materialized view was computed anew, in another snapshot than what it reads may have been. A rollup was not,
    -- and what its columns are computed from may be something else now, which no scan tells.
    UPDATE ledgerviews.relation_state AS t
    SET rebuild = COALESCE(t.rebuild, 'a table that it reads was altered'), changes = t.changes + 1
    FROM ledgerviews.released_object AS o
    WHERE o.level = put_back.level AND o.schema_name = t.schema_name AND o.relation_name = t.relation_name
        AND (
            o.part = 'relation' AND o.kind = 'materialized view'
            OR o.part IN ('whole', 'days') AND EXISTS (
                SELECT
                FROM ledgerviews.relation AS r
                JOIN ledgerviews.source AS s ON s.source = ANY (r.sources) AND s.tracking = 'none'
                WHERE r.schema_name = t.schema_name AND r.relation_name = t.relation_name
            )
        );
    DELETE FROM ledgerviews.released_object AS o WHERE o.level = put_back.level;
END
$body$;
COMMENT ON FUNCTION ledgerviews.put_back(integer) IS 'Put back what was taken off, in order; an error names the object, the line and what was altered.';

-- What release() printed is read as it was printed.
CREATE FUNCTION ledgerviews.restore() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
AS $body$
DECLARE
    v_objects integer;
BEGIN
    LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
    SELECT pg_catalog.count(*) INTO v_objects FROM ledgerviews.released_object AS o;
    PERFORM ledgerviews.retype_log(s.schema_name, s.table_name)
    FROM ledgerviews.source AS s
    JOIN ledgerviews.released AS r ON r.table_name = pg_catalog.format('%I.%I', s.schema_name, s.table_name)
    WHERE s.key_column IS NOT NULL;
    UPDATE ledgerviews.source AS s
    SET tracked_at = pg_catalog.clock_timestamp()
    FROM ledgerviews.released_object AS o
    WHERE o.kind IN ('tracking', 'trigger') AND o.schema_name = s.schema_name AND o.relation_name = s.table_name;
    PERFORM ledgerviews.put_back(0);
    DELETE FROM ledgerviews.released AS r;
    RETURN v_objects;
END
$body$;
COMMENT ON FUNCTION ledgerviews.restore() IS
'Put back all that ledgerviews.release took off, in one transaction, data included. Returns how many objects; 0 where nothing is released.';

-- No refresh between the two ------------------------------------------------------------------------------

-- Whoever may refresh or look need not read the table itself.
CREATE FUNCTION ledgerviews.released_tables() RETURNS text
LANGUAGE sql STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT pg_catalog.string_agg(r.table_name, ', ' ORDER BY r.table_name) FROM ledgerviews.released AS r;
END;
COMMENT ON FUNCTION ledgerviews.released_tables() IS 'The tables that are released and not restored; NULL for none.';

CREATE FUNCTION ledgerviews.require_restored() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF ledgerviews.released_tables() IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('Nothing can be refreshed while %s is released.', ledgerviews.released_tables()),
            HINT = 'Put back what reads it: ledgerviews restore, or SELECT ledgerviews.restore().';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.require_restored() IS 'Raise an error while a table is released.';

CREATE FUNCTION ledgerviews.refuse_released() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM ledgerviews.require_restored();
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION ledgerviews.refuse_released() IS 'Refuse a refresh between release and restore.';
CREATE TRIGGER refuse_released BEFORE INSERT ON ledgerviews.run
FOR EACH STATEMENT EXECUTE FUNCTION ledgerviews.refuse_released();
