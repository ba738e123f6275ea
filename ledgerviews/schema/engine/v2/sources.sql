-- Engine version 2: the sources: whether their tracking can be trusted, and which days changed.

CREATE FUNCTION ledgerviews.source_columns() RETURNS TABLE (source text, day text, key text)
LANGUAGE sql STABLE
BEGIN ATOMIC
SELECT
    s.source,
    pg_catalog.max(a.attname::text) FILTER (WHERE f.proname = s.stem || '_day') AS day,
    pg_catalog.max(a.attname::text) FILTER (WHERE f.proname = s.stem || '_link' AND s.key_column IS NOT NULL) AS key
FROM ledgerviews.source AS s
JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.schema_name
JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = s.table_name
JOIN pg_catalog.pg_proc AS f
    ON f.pronamespace = 'ledgerviews'::pg_catalog.regnamespace AND f.proname IN (s.stem || '_day', s.stem || '_link')
JOIN pg_catalog.pg_depend AS d
    ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
GROUP BY s.source;
END;
COMMENT ON FUNCTION ledgerviews.source_columns() IS
'The columns that tell the day and the key of a source''s rows, by their names of now: atomic functions read one each, and follow.';

CREATE VIEW ledgerviews.source_now AS
WITH RECURSIVE part AS (
    SELECT
        s.source,
        c.oid AS relation,
        c.relkind,
        c.relfilenode,
        c.relpersistence,
        c.relkind AS root_kind
    FROM ledgerviews.source AS s
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.schema_name
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = s.table_name
    UNION ALL
    SELECT
        p.source,
        c.oid,
        c.relkind,
        c.relfilenode,
        c.relpersistence,
        p.root_kind
    FROM part AS p
    -- One that is being detached, CONCURRENTLY, no query reads any more.
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.relation AND NOT i.inhdetachpending
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
),

attached AS (
    SELECT
        p.source,
        p.relation,
        t.oid AS trigger,
        t.xmin::text AS written_by,
        t.tgenabled AS enabled,
        t.tgtype AS fires
    FROM part AS p
    JOIN ledgerviews.source AS s ON s.source = p.source
    JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = p.relation
    JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid AND f.proname = s.stem || '_track'
    JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace AND n.nspname = 'ledgerviews'
    -- After each row that is inserted, deleted or updated, whatever column of it.
    WHERE t.tgtype IN (5, 9, 17) AND t.tgattr = ''::pg_catalog.int2vector
        AND (t.tgqual IS NULL OR s.tracking = 'closed days' AND s.parent IS NULL AND t.tgtype <> 9)
),

-- Whose rows a policy may hide from the engine, which reads them with the rights of its owner.
hidden AS (
    SELECT p.source
    FROM part AS p
    JOIN pg_catalog.pg_class AS c ON c.oid = p.relation AND c.relrowsecurity
    JOIN pg_catalog.pg_class AS e ON e.oid = 'ledgerviews.source'::pg_catalog.regclass
    JOIN pg_catalog.pg_roles AS o ON o.oid = e.relowner AND NOT o.rolsuper AND NOT o.rolbypassrls
    WHERE c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(o.oid, c.relowner, 'USAGE')
)

SELECT
    s.source,
    (
        SELECT pg_catalog.count(*)
        FROM part AS p
        WHERE p.source = s.source
    ) AS parts,
    pg_catalog.jsonb_build_object(
        'cluster', (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() AS c),
        'database', (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()),
        'tracking', s.tracking,
        'log', (
            SELECT c.relfilenode FROM pg_catalog.pg_class AS c
            WHERE c.oid = pg_catalog.to_regclass('ledgerviews.' || pg_catalog.quote_ident(s.stem || '_change'))
        ),
        'files', (
            SELECT COALESCE(pg_catalog.jsonb_object_agg(p.relation::text, p.relfilenode), '{}')
            FROM part AS p
            WHERE p.source = s.source
        ),
        -- What the triggers' function reads: a rename there and back can be told by xmin only.
        'columns', (
            SELECT pg_catalog.jsonb_object_agg(a.attname, a.xmin::text)
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = t.oid AND a.attname = ANY (s.logged) AND s.tracking <> 'none'
        ),
        'labels', (
            SELECT pg_catalog.jsonb_object_agg(e.oid::text, e.enumlabel)
            FROM part AS p
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.relation AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid AND y.typtype IN ('e', 'd')
            CROSS JOIN LATERAL (
                WITH RECURSIVE base AS (
                    SELECT y.oid AS type, y.typbasetype AS below
                    UNION ALL
                    SELECT d.oid, d.typbasetype FROM base AS b JOIN pg_catalog.pg_type AS d ON d.oid = b.below
                )

                SELECT b.type FROM base AS b WHERE b.below = 0
            ) AS b
            JOIN pg_catalog.pg_enum AS e ON e.enumtypid = b.type
            WHERE p.source = s.source
        ),
        -- What a virtual column gives changes with its expression, and no row is written.
        'generated', (
            SELECT pg_catalog.jsonb_object_agg(d.oid::text, d.xmin::text)
            FROM part AS p
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.relation AND a.attgenerated = 'v' AND NOT a.attisdropped
            JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE p.source = s.source
        ),
        'hidden', EXISTS (SELECT FROM hidden AS h WHERE h.source = s.source),
        'triggers', (
            SELECT pg_catalog.jsonb_object_agg(a.trigger::text, a.written_by)
            FROM attached AS a
            WHERE a.source = s.source
        )
    ) AS condition,
    CASE
        WHEN NOT EXISTS (SELECT FROM part AS p WHERE p.source = s.source)
            THEN 'it is gone'
        WHEN EXISTS (SELECT FROM part AS p WHERE p.source = s.source AND p.relkind NOT IN ('r', 'p'))
            THEN 'it is, or holds, no table of this server'
        WHEN EXISTS (SELECT FROM part AS p WHERE p.source = s.source AND p.root_kind <> 'p' OFFSET 1)
            AND s.tracking <> 'none'
            THEN 'tables inherit from it, and take its triggers on only where it is partitioned'
        WHEN s.tracking = 'none' THEN NULL
        WHEN EXISTS (SELECT FROM part AS p WHERE p.source = s.source AND p.relpersistence = 'u')
            THEN 'it is unlogged, and a crash empties it in silence'
        WHEN EXISTS (
            SELECT FROM part AS p
            WHERE p.source = s.source
                AND (
                    SELECT pg_catalog.count(DISTINCT a.fires) FROM attached AS a
                    WHERE a.source = p.source AND a.relation = p.relation
                ) < 3
        ) THEN 'a trigger of ours is missing'
        WHEN EXISTS (SELECT FROM attached AS a WHERE a.source = s.source AND a.enabled <> 'A')
            THEN 'a trigger of ours is not ENABLE ALWAYS'
        WHEN s.logged <> ARRAY[k.day, k.key]
            THEN 'a column that its triggers log was renamed'
        WHEN EXISTS (SELECT FROM hidden AS h WHERE h.source = s.source)
            THEN 'row level security may hide rows of it from the owner of the engine, now these and then others'
    END AS problem
FROM ledgerviews.source AS s
LEFT JOIN ledgerviews.source_columns() AS k ON k.source = s.source
-- Not by to_regclass, which takes USAGE on the schema: whoever refreshes or looks has no right to the sources.
LEFT JOIN pg_catalog.pg_namespace AS m ON m.nspname = s.schema_name
LEFT JOIN pg_catalog.pg_class AS t ON t.relnamespace = m.oid AND t.relname = s.table_name;
COMMENT ON VIEW ledgerviews.source_now IS
'Each source as the catalog shows it now: condition is compared with source.seen; problem says why its writes cannot be tracked.';

CREATE FUNCTION ledgerviews.missing_indexes(source text) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT COALESCE(pg_catalog.array_agg(w.wanted ORDER BY w.wanted), '{}')
FROM ledgerviews.source AS s
CROSS JOIN LATERAL pg_catalog.unnest(s.wanted_indexes) AS w (wanted)
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.schema_name
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = s.table_name
WHERE s.source = missing_indexes.source
    AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid
            AND i.indisvalid AND i.indpred IS NULL
            AND (
                SELECT pg_catalog.string_agg(a.attname, ',' ORDER BY k.ordinality)
                FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                WHERE k.ordinality <= pg_catalog.cardinality(pg_catalog.string_to_array(w.wanted, ','))
            ) = w.wanted
    );
END;
COMMENT ON FUNCTION ledgerviews.missing_indexes(text) IS
'The indexes, by their leading columns, that a source lacks: without them a refresh is exact, and slower.';

-- Triggers on the application's tables --------------------------------------------------------------------

CREATE FUNCTION ledgerviews.detach(source text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_source ledgerviews.source;
    v_name text;
BEGIN
    SELECT s.* INTO v_source FROM ledgerviews.source AS s WHERE s.source = detach.source;
    FOREACH v_name IN ARRAY ARRAY['ledgerviews_insert', 'ledgerviews_update', 'ledgerviews_delete'] LOOP
        IF EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS t
            WHERE t.tgname = v_name
                AND t.tgrelid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', v_source.schema_name, v_source.table_name))
        ) THEN
            EXECUTE pg_catalog.format('DROP TRIGGER %I ON %I.%I', v_name, v_source.schema_name, v_source.table_name);
        END IF;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.detach(text) IS 'Take our triggers off a source.';

-- To read a column into a variable of another type runs the cast between them, which may be a function of whoever owns
-- the table, with the rights of whoever owns the engine.
CREATE FUNCTION ledgerviews.stands_on(type oid, base oid) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_type oid := type;
BEGIN
    WHILE v_type <> base LOOP
        SELECT t.typbasetype INTO v_type FROM pg_catalog.pg_type AS t WHERE t.oid = v_type;
        IF NOT FOUND THEN
            -- Of a type that is younger than its snapshot a transaction cannot know what it is.
            RAISE EXCEPTION USING
                ERRCODE = 'serialization_failure',
                MESSAGE = pg_catalog.format(
                    'could not serialize access: the type %s was made, and a column of this table given it, after this'
                    ' transaction began', pg_catalog.format_type(type, NULL)),
                HINT = 'The transaction might succeed if retried.';
        ELSIF v_type = 0 THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$body$;
COMMENT ON FUNCTION ledgerviews.stands_on(oid, oid) IS 'Whether a type is another, or a domain over it.';

CREATE FUNCTION ledgerviews.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
WITH RECURSIVE base AS (
    SELECT y.oid, y.typbasetype AS below FROM pg_catalog.pg_type AS y WHERE y.oid = base_type.type
    UNION ALL
    SELECT y.oid, y.typbasetype FROM base AS b JOIN pg_catalog.pg_type AS y ON y.oid = b.below
)

SELECT b.oid FROM base AS b WHERE b.below = 0;
END;
COMMENT ON FUNCTION ledgerviews.base_type(oid) IS 'The type that a domain stands on; any other type itself.';

CREATE FUNCTION ledgerviews.same_type(of text, column_name text, variable text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN pg_catalog.format(
    '(pg_catalog.pg_typeof(%1$s.%2$I) = pg_catalog.pg_typeof(%3$s)'
    ' OR ledgerviews.stands_on(pg_catalog.pg_typeof(%1$s.%2$I), pg_catalog.pg_typeof(%3$s)))', of, column_name, variable);
COMMENT ON FUNCTION ledgerviews.same_type(text, text, text) IS
'SQL that says that a column of a trigger''s row has the type of a variable; the function is called for domains only.';

CREATE FUNCTION ledgerviews.write_trigger(source text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_source ledgerviews.source;
    v_relation oid;
    v_function text;
    v_change text;
    v_day_type text;
    v_key_type text;
    v_body text;
    v_missing text;
BEGIN
    SELECT s.* INTO v_source FROM ledgerviews.source AS s WHERE s.source = write_trigger.source;
    v_relation := pg_catalog.format('%I.%I', v_source.schema_name, v_source.table_name)::pg_catalog.regclass;
    v_function := pg_catalog.format('ledgerviews.%I', v_source.stem || '_track');
    v_change := pg_catalog.format('ledgerviews.%I', v_source.stem || '_change');
    -- Variables of what domains stand on: a domain's checks would be those of another column, once a name is taken.
    WITH RECURSIVE base AS (
        SELECT n.name, a.attnum, a.atttypid AS type, a.atttypmod AS modifier
        FROM pg_catalog.unnest(ARRAY[v_source.day_column, v_source.key_column]) AS n (name)
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = v_relation AND a.attname = n.name AND a.attnum > 0
        WHERE n.name IS NOT NULL
        UNION
        SELECT b.name, b.attnum, y.typbasetype, y.typtypmod
        FROM base AS b
        JOIN pg_catalog.pg_type AS y ON y.oid = b.type AND y.typtype = 'd'
    )

    SELECT
        pg_catalog.max(pg_catalog.format_type(b.type, b.modifier)) FILTER (WHERE b.name = v_source.day_column),
        COALESCE(pg_catalog.max(pg_catalog.format_type(b.type, b.modifier)) FILTER (WHERE b.name = v_source.key_column), 'text'),
        pg_catalog.min(b.name) FILTER (WHERE b.attnum IS NULL)
    INTO v_day_type, v_key_type, v_missing
    FROM base AS b
    LEFT JOIN pg_catalog.pg_type AS y ON y.oid = b.type
    WHERE y.typtype IS DISTINCT FROM 'd';
    -- By a column of ours, whose type follows where a type of the application's is renamed or moved.
    IF EXISTS (
        SELECT
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid AND y.typtype <> 'd'
        WHERE a.attrelid = v_change::pg_catalog.regclass AND a.attname = 'key'
    ) THEN
        v_key_type := v_change || '.key%TYPE';
    END IF;
    IF v_missing IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_column',
            MESSAGE = pg_catalog.format('%s has no column %I.', v_source.source, v_missing);
    END IF;
    -- The function names the columns, as PL/pgSQL must. An atomic function that reads the row would follow a rename;
    -- but PostgreSQL, since 15.20, then refuses every ALTER TABLE that rewrites the application's table. Where a name no
    -- longer fits, no write fails for it and what is logged means nothing: source_now tells, and each refresh is full.
    v_body := pg_catalog.format(
        $track$
DECLARE
    v_old_day %2$s;
    v_new_day %2$s;
    v_old_key %7$s;
    v_new_key %7$s;
BEGIN
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            IF %8$s THEN
                v_old_day := OLD.%3$I;
                v_old_key := %4$s;
            ELSE
                RETURN NULL;
            END IF;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            IF %9$s THEN
                v_new_day := NEW.%3$I;
                v_new_key := %5$s;
            ELSE
                RETURN NULL;
            END IF;
        END IF;
    EXCEPTION
        WHEN syntax_error_or_access_rule_violation OR data_exception OR integrity_constraint_violation
            OR feature_not_supported OR plpgsql_error
        THEN
            RETURN NULL;
    END;
%6$s
    RETURN NULL;
END
$track$,
        v_change, v_day_type, v_source.day_column,
        COALESCE('OLD.' || pg_catalog.quote_ident(v_source.key_column), 'NULL'),
        COALESCE('NEW.' || pg_catalog.quote_ident(v_source.key_column), 'NULL'),
        pg_catalog.format(
            CASE
                -- The key of a child's row is that of its parent, whose day is looked up at the refresh, for it may move.
                WHEN v_source.parent IS NOT NULL THEN $child$
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO %1$s (day, key) VALUES (ledgerviews.utc_day(v_new_day), v_new_key);
    END IF;
    IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE'
        AND (v_old_key IS DISTINCT FROM v_new_key OR v_old_day IS DISTINCT FROM v_new_day)
    THEN
        INSERT INTO %1$s (day, key) VALUES (ledgerviews.utc_day(v_old_day), v_old_key);
    END IF;$child$
                -- That of a parent's row is noted where it goes, so that its children can be found.
                ELSE $parent$
    IF TG_OP = 'INSERT' THEN
        INSERT INTO %1$s (day) VALUES (ledgerviews.utc_day(v_new_day));
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO %1$s (day, key) VALUES (ledgerviews.utc_day(v_old_day), v_old_key);
    ELSE
        INSERT INTO %1$s (day, key) VALUES
            (ledgerviews.utc_day(v_old_day), CASE WHEN v_old_key IS DISTINCT FROM v_new_key THEN v_old_key END),
            (ledgerviews.utc_day(v_new_day), NULL);
    END IF;$parent$
            END,
            v_change),
        v_key_type,
        ledgerviews.same_type('OLD', v_source.day_column, 'v_old_day')
            || CASE WHEN v_source.key_column IS NULL THEN '' ELSE ' AND ' || ledgerviews.same_type('OLD', v_source.key_column, 'v_old_key') END,
        ledgerviews.same_type('NEW', v_source.day_column, 'v_new_day')
            || CASE WHEN v_source.key_column IS NULL THEN '' ELSE ' AND ' || ledgerviews.same_type('NEW', v_source.key_column, 'v_new_key') END
    );
    EXECUTE pg_catalog.format(
        'CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql'
        ' SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
        v_function, v_body);
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', v_function);
    -- Whoever gives the table another partition gives it these triggers, too, and must be allowed to.
    EXECUTE pg_catalog.format(
        'GRANT EXECUTE ON FUNCTION %s() TO %I', v_function,
        (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class AS c WHERE c.oid = v_relation));
    UPDATE ledgerviews.source AS s SET logged = ARRAY[s.day_column, s.key_column] WHERE s.source = write_trigger.source;
END
$body$;
COMMENT ON FUNCTION ledgerviews.write_trigger(text) IS 'Write the function of a source''s triggers, with the names that its columns have now.';

CREATE FUNCTION ledgerviews.attach(source text, tracking text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_source ledgerviews.source;
    v_relation oid;
    v_table text;
    v_function text;
    v_closed text;
    v_when_insert text := '';
    v_when_update text := '';
BEGIN
    SELECT s.* INTO v_source FROM ledgerviews.source AS s WHERE s.source = attach.source;
    v_table := pg_catalog.format('%I.%I', v_source.schema_name, v_source.table_name);
    v_relation := v_table::pg_catalog.regclass;
    v_function := pg_catalog.format('ledgerviews.%I', v_source.stem || '_track');

    -- A day is open while it is today by the clock of this very write: read after the writing transaction got its
    -- number, which is what the refresh relies on. Only built-in functions, because the writer runs this, and one
    -- comparison, because each statement parses it anew: a day to come is logged, too.
    IF tracking = 'closed days' AND v_source.parent IS NULL AND v_source.day_column IS NOT NULL THEN
        v_closed := CASE
            WHEN (
                SELECT ledgerviews.base_type(a.atttypid) = 'timestamptz'::pg_catalog.regtype
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = v_relation AND a.attname = v_source.day_column
            )
                THEN '(%1$s.%2$I AT TIME ZONE ''UTC'')::date'
            ELSE '%1$s.%2$I::date'
        END || ' IS DISTINCT FROM (pg_catalog.clock_timestamp() AT TIME ZONE ''UTC'')::date';
        v_when_insert := pg_catalog.format(' WHEN (' || v_closed || ')', 'NEW', v_source.day_column);
        v_when_update := pg_catalog.format(' WHEN ((' || v_closed || ')', 'OLD', v_source.day_column)
            || pg_catalog.format(' OR (' || v_closed || ')', 'NEW', v_source.day_column)
            || CASE
                WHEN v_source.key_column IS NULL THEN ''
                ELSE pg_catalog.format(' OR OLD.%1$I IS DISTINCT FROM NEW.%1$I', v_source.key_column)
            END
            || ')';
    END IF;
    PERFORM ledgerviews.write_trigger(v_source.source);
    EXECUTE pg_catalog.format(
        'CREATE OR REPLACE TRIGGER ledgerviews_insert AFTER INSERT ON %s FOR EACH ROW%s EXECUTE FUNCTION %s()',
        v_table, v_when_insert, v_function);
    EXECUTE pg_catalog.format(
        'CREATE OR REPLACE TRIGGER ledgerviews_update AFTER UPDATE ON %s FOR EACH ROW%s EXECUTE FUNCTION %s()',
        v_table, v_when_update, v_function);
    EXECUTE pg_catalog.format(
        'CREATE OR REPLACE TRIGGER ledgerviews_delete AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s()',
        v_table, v_function);
    -- ALWAYS: also for logical replication, and restores and ENABLE TRIGGER ALL give themselves away.
    PERFORM ledgerviews.enable_always(v_relation);
END
$body$;
COMMENT ON FUNCTION ledgerviews.attach(text, text) IS 'Put our triggers on a source, ENABLE ALWAYS.';

CREATE FUNCTION ledgerviews.track(sources text[], tracking text DEFAULT 'closed days', attempts integer DEFAULT 100) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $body$
DECLARE
    v_source text;
    v_began timestamptz := pg_catalog.clock_timestamp();
    v_attempt integer := 1;
BEGIN
    SELECT n.name INTO v_source
    FROM pg_catalog.unnest(sources) AS n (name)
    WHERE NOT EXISTS (SELECT FROM ledgerviews.source AS s WHERE s.source = n.name);
    IF v_source IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_table',
            MESSAGE = pg_catalog.format('%s is no source of the installed relations.', v_source),
            HINT = 'SELECT source FROM ledgerviews.source lists them.';
    END IF;
    -- A lock that is awaited, or held while another is awaited, keeps the application out: so never for long, all
    -- together, and again a moment later. For the same reason this comes last in its transaction.
    LOOP
        BEGIN
            FOREACH v_source IN ARRAY sources LOOP
                IF tracking = 'none' THEN
                    PERFORM ledgerviews.detach(v_source);
                ELSE
                    PERFORM ledgerviews.attach(v_source, tracking);
                END IF;
            END LOOP;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF v_attempt >= attempts THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'lock_not_available',
                    MESSAGE = pg_catalog.format(
                        '%s was in use at each of %s attempts to %s.', v_source, attempts,
                        CASE tracking WHEN 'none' THEN 'take the triggers off' ELSE 'put the triggers on' END),
                    HINT = 'A long transaction holds it: see pg_stat_activity. Nothing was changed; try again.';
            END IF;
            v_attempt := v_attempt + 1;
            PERFORM pg_catalog.pg_sleep(0.05 + pg_catalog.random() * 0.3);
        END;
    END LOOP;
    UPDATE ledgerviews.source AS s
    SET tracking = track.tracking, tracked_at = CASE WHEN track.tracking <> 'none' THEN v_began END, seen = NULL
    WHERE s.source = ANY (sources);
    IF tracking = 'none' THEN
        FOR v_source IN SELECT s.stem FROM ledgerviews.source AS s WHERE s.source = ANY (sources) LOOP
            EXECUTE pg_catalog.format('DELETE FROM ledgerviews.%I', v_source || '_change');
        END LOOP;
    ELSE
        DELETE FROM ledgerviews.source_day AS d WHERE d.source = ANY (sources);
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.track(text[], text, integer) IS
'Have the writes to sources tracked, without holding the application up: closed days, every write, or none (each refresh scans them).';

CREATE FUNCTION ledgerviews.track(source text, tracking text DEFAULT 'closed days', attempts integer DEFAULT 100) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT ledgerviews.track(ARRAY[source], tracking, attempts);
END;
COMMENT ON FUNCTION ledgerviews.track(text, text, integer) IS 'Have the writes to one source tracked.';

CREATE FUNCTION ledgerviews.untrack(source text, attempts integer DEFAULT 100) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT ledgerviews.track(ARRAY[source], 'none', attempts);
END;
COMMENT ON FUNCTION ledgerviews.untrack(text, integer) IS
'Take our triggers off a source: from then on each refresh scans it for what changed.';

CREATE FUNCTION ledgerviews.enable_always(root oid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_part record;
    v_name text;
BEGIN
    FOR v_part IN
        WITH RECURSIVE part AS (
            SELECT root AS relation
            UNION ALL
            SELECT i.inhrelid FROM part AS p JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.relation
        )

        SELECT n.nspname, c.relname, c.oid
        FROM part AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = p.relation
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LOOP
        FOR v_name IN
            SELECT t.tgname FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid = v_part.oid
                AND t.tgname IN ('ledgerviews_insert', 'ledgerviews_update', 'ledgerviews_delete')
                AND t.tgenabled <> 'A'
        LOOP
            EXECUTE pg_catalog.format('ALTER TABLE ONLY %I.%I ENABLE ALWAYS TRIGGER %I', v_part.nspname, v_part.relname, v_name);
        END LOOP;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.enable_always(oid) IS 'Set our triggers on a table and its partitions to ENABLE ALWAYS.';

-- What changed --------------------------------------------------------------------------------------------

CREATE FUNCTION ledgerviews.doubt(seen jsonb, now jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN seen IS NULL THEN 'tracking begins'
    WHEN seen -> 'cluster' <> now -> 'cluster' OR seen -> 'database' <> now -> 'database' THEN 'the database was restored or copied'
    WHEN seen -> 'tracking' <> now -> 'tracking' THEN 'tracking begins'
    WHEN ARRAY(SELECT pg_catalog.jsonb_object_keys(seen -> 'files')) <> ARRAY(SELECT pg_catalog.jsonb_object_keys(now -> 'files'))
        THEN 'it was made anew, or its partitions are others'
    WHEN seen -> 'files' IS DISTINCT FROM now -> 'files' THEN 'it was truncated or rewritten'
    WHEN seen -> 'triggers' IS DISTINCT FROM now -> 'triggers' THEN 'its triggers were altered, so writes may have gone unseen'
    WHEN seen -> 'columns' IS DISTINCT FROM now -> 'columns' THEN 'a column that its triggers log was altered'
    WHEN seen -> 'labels' IS DISTINCT FROM now -> 'labels' THEN 'an enumerated type that it uses was altered'
    WHEN seen -> 'log' IS DISTINCT FROM now -> 'log' THEN 'its log was emptied or rewritten'
END;
COMMENT ON FUNCTION ledgerviews.doubt(jsonb, jsonb) IS 'Why the log since a source was last seen does not tell all that changed; NULL where it does.';

CREATE FUNCTION ledgerviews.must_recompute(source text, days datemultirange, rebuild text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
UPDATE ledgerviews.relation_state AS t
SET dirty = t.dirty + COALESCE(must_recompute.days, '{}'), rebuild = COALESCE(t.rebuild, must_recompute.rebuild)
FROM ledgerviews.relation AS r
WHERE r.schema_name = t.schema_name AND r.relation_name = t.relation_name
    AND must_recompute.source = ANY (r.sources)
    AND t.rebuild IS NULL
    AND (must_recompute.rebuild IS NOT NULL OR NOT must_recompute.days <@ t.dirty);
END;
COMMENT ON FUNCTION ledgerviews.must_recompute(text, datemultirange, text) IS
'Note on every relation that reads the source which days it has to recompute, or why all of them.';

CREATE FUNCTION ledgerviews.observe_sources() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_source record;
    v_days datemultirange;
    v_name text;
BEGIN
    -- Children first: they read the log of their parent, which its own turn empties. A child of a source without
    -- triggers is scanned, too: nothing else tells which of its rows lost or found their parent.
    FOR v_source IN
        WITH now AS MATERIALIZED (
            SELECT n.source, n.condition, n.problem FROM ledgerviews.source_now AS n
        )

        SELECT
            s.source, s.stem, s.tracking, s.seen, n.condition, n.problem,
            s.tracking = 'none' OR COALESCE(p.tracking = 'none', false) AS scanned,
            -- What a log still held when it was given up is lost, and a scan does not know the days before it.
            COALESCE(n.problem, CASE
                WHEN s.tracking <> 'none' AND ledgerviews.doubt(s.seen, n.condition) IS NOT NULL
                    THEN ledgerviews.doubt(s.seen, n.condition)
                WHEN s.tracking = 'none' AND s.seen ->> 'tracking' IS DISTINCT FROM 'none' THEN 'scanning begins'
                WHEN s.tracking = 'none' AND s.seen -> 'generated' IS DISTINCT FROM n.condition -> 'generated'
                    THEN 'a generated column that it has was altered'
                WHEN s.tracking = 'none' AND s.seen -> 'labels' IS DISTINCT FROM n.condition -> 'labels'
                    THEN 'an enumerated type that it uses was altered'
                WHEN p.tracking = 'none' AND p.seen ->> 'tracking' IS DISTINCT FROM 'none' THEN 'scanning begins'
            END) AS why,
            p.source IS NOT NULL AND (
                p.tracking = 'none' OR m.problem IS NOT NULL OR ledgerviews.doubt(p.seen, m.condition) IS NOT NULL
            ) AS parent_in_doubt
        FROM ledgerviews.source AS s
        JOIN now AS n ON n.source = s.source
        LEFT JOIN ledgerviews.source AS p ON p.source = s.parent
        LEFT JOIN now AS m ON m.source = p.source
        ORDER BY s.parent IS NULL, s.source
    LOOP
        IF v_source.why IS NOT NULL THEN
            PERFORM ledgerviews.must_recompute(v_source.source, NULL, v_source.source || ': ' || v_source.why);
        END IF;
        IF v_source.problem = 'it is gone' THEN
            -- The log of its parent is emptied without it: when it is back, nothing before is known.
            UPDATE ledgerviews.source AS s SET seen = NULL WHERE s.source = v_source.source AND s.seen IS NOT NULL;
            CONTINUE;
        END IF;
        IF v_source.scanned THEN
            EXECUTE pg_catalog.format(
                'WITH fresh AS MATERIALIZED (SELECT * FROM ledgerviews.%I()),'
                ' changed AS MATERIALIZED ('
                '   SELECT COALESCE(f.day, o.day) AS day, f.row_count, f.fingerprint'
                '   FROM fresh AS f'
                '   FULL JOIN (SELECT * FROM ledgerviews.source_day AS d WHERE d.source = $1) AS o ON o.day = f.day'
                '   WHERE f.row_count IS DISTINCT FROM o.row_count OR f.fingerprint IS DISTINCT FROM o.fingerprint),'
                ' gone AS ('
                '   DELETE FROM ledgerviews.source_day AS d USING changed AS c'
                '   WHERE d.source = $1 AND d.day = c.day AND c.row_count IS NULL),'
                ' kept AS ('
                '   INSERT INTO ledgerviews.source_day (source, day, row_count, fingerprint)'
                '   SELECT $1, c.day, c.row_count, c.fingerprint FROM changed AS c WHERE c.row_count IS NOT NULL'
                '   ON CONFLICT (source, day) DO UPDATE SET row_count = excluded.row_count, fingerprint = excluded.fingerprint)'
                ' SELECT pg_catalog.range_agg(pg_catalog.daterange(c.day, c.day + 1)) FROM changed AS c',
                v_source.stem || '_scan')
            INTO v_days
            USING v_source.source;
            IF v_days IS NOT NULL THEN
                PERFORM ledgerviews.must_recompute(v_source.source, v_days, NULL);
            END IF;
        END IF;
        FOR v_name, v_days IN EXECUTE
            pg_catalog.format(
                'SELECT c.source, pg_catalog.range_agg(pg_catalog.daterange(c.day, c.day + 1)) AS days'
                ' FROM ledgerviews.%I($1) AS c GROUP BY c.source',
                v_source.stem || '_changed')
            USING v_source.why IS NOT NULL OR v_source.scanned OR v_source.parent_in_doubt
        LOOP
            PERFORM ledgerviews.must_recompute(v_name, v_days, NULL);
        END LOOP;
        IF v_source.problem IS NOT NULL THEN
            UPDATE ledgerviews.source AS s SET seen = NULL WHERE s.source = v_source.source AND s.seen IS NOT NULL;
        ELSIF v_source.seen IS DISTINCT FROM v_source.condition THEN
            UPDATE ledgerviews.source AS s SET seen = v_source.condition WHERE s.source = v_source.source;
        END IF;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.observe_sources() IS
'Empty the logs, scan what has none, and note on each relation the days that changed; where that cannot be sure, why all.';
