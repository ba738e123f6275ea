-- Engine version 1: reading functions, the registry of published relations, the run log, and the refresh.
-- Frozen: a change is version 2 beside it. Every name is schema-qualified, because PostgreSQL 17 and later
-- refresh under search_path = pg_catalog, pg_temp, and a procedure with a SET clause could not COMMIT.

CREATE TABLE ledgerviews.engine (
    version integer NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
COMMENT ON TABLE ledgerviews.engine IS 'Version of the SQL engine that is installed in this schema.';
INSERT INTO ledgerviews.engine (version) VALUES (1);

-- Reading what the field's two forms of a type hold -------------------------------------------------------

CREATE FUNCTION ledgerviews.utc(value timestamp without time zone) RETURNS timestamp without time zone
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value;
COMMENT ON FUNCTION ledgerviews.utc(timestamp without time zone) IS 'The UTC time that the value holds.';

CREATE FUNCTION ledgerviews.utc(value timestamp with time zone) RETURNS timestamp without time zone
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value AT TIME ZONE 'UTC';
COMMENT ON FUNCTION ledgerviews.utc(timestamp with time zone) IS 'The UTC time that the value holds.';

CREATE FUNCTION ledgerviews.utc_or_null(value timestamp without time zone) RETURNS timestamp without time zone
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN value >= timestamp '0001-01-01 00:00:00' AND value < timestamp '10000-01-01 00:00:00' THEN value
END;
COMMENT ON FUNCTION ledgerviews.utc_or_null(timestamp without time zone) IS
'The UTC time, or NULL where it is infinite or outside the years 1 to 9999.';

CREATE FUNCTION ledgerviews.utc_or_null(value timestamp with time zone) RETURNS timestamp without time zone
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ledgerviews.utc_or_null(value AT TIME ZONE 'UTC');
COMMENT ON FUNCTION ledgerviews.utc_or_null(timestamp with time zone) IS
'The UTC time, or NULL where it is infinite or outside the years 1 to 9999.';

CREATE FUNCTION ledgerviews.utc_day(value timestamp without time zone) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN value >= timestamp '0001-01-01 00:00:00' AND value < timestamp '10000-01-01 00:00:00' THEN value::date
    ELSE date '0001-01-01'
END;
COMMENT ON FUNCTION ledgerviews.utc_day(timestamp without time zone) IS
'The UTC day; 0001-01-01 where the time is NULL, infinite or outside the years 1 to 9999, so that a key is never NULL.';

CREATE FUNCTION ledgerviews.utc_day(value timestamp with time zone) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ledgerviews.utc_day(value AT TIME ZONE 'UTC');
COMMENT ON FUNCTION ledgerviews.utc_day(timestamp with time zone) IS
'The UTC day; 0001-01-01 where the time is NULL, infinite or outside the years 1 to 9999, so that a key is never NULL.';

-- Written so that, inlined, an index on the raw column serves both arms.
CREATE FUNCTION ledgerviews.in_days(value timestamp without time zone, lo date, hi date) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (value >= lo::timestamp AND value < hi::timestamp AND value < timestamp '10000-01-01 00:00:00')
OR (
    lo <= date '0001-01-01' AND hi > date '0001-01-01'
    AND (value IS NULL OR value < timestamp '0001-01-01 00:00:00' OR value >= timestamp '10000-01-01 00:00:00')
);
COMMENT ON FUNCTION ledgerviews.in_days(timestamp without time zone, date, date) IS
'Whether utc_day(value) is one of the days from lo up to, not including, hi; lo is 0001-01-01 or later.';

CREATE FUNCTION ledgerviews.in_days(value timestamp with time zone, lo date, hi date) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    value >= lo::timestamp AT TIME ZONE 'UTC' AND value < hi::timestamp AT TIME ZONE 'UTC'
    AND value < timestamp '10000-01-01 00:00:00' AT TIME ZONE 'UTC'
)
OR (
    lo <= date '0001-01-01' AND hi > date '0001-01-01'
    AND (
        value IS NULL
        OR value < timestamp '0001-01-01 00:00:00' AT TIME ZONE 'UTC'
        OR value >= timestamp '10000-01-01 00:00:00' AT TIME ZONE 'UTC'
    )
);
COMMENT ON FUNCTION ledgerviews.in_days(timestamp with time zone, date, date) IS
'Whether utc_day(value) is one of the days from lo up to, not including, hi; lo is 0001-01-01 or later.';

-- An entry of a btree index holds 2,704 bytes; two keys of 1,000 bytes and a day stand well in one.
CREATE FUNCTION ledgerviews.key_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN value IS NULL THEN '(none)'
    WHEN pg_catalog.octet_length(value) <= 1000 THEN value
    ELSE pg_catalog.left(value, 200) || '...' || pg_catalog.md5(value)
END;
COMMENT ON FUNCTION ledgerviews.key_text(text) IS
'The value as part of a unique key: (none) for NULL, and beyond 1,000 bytes its first 200 characters, ... and its md5.';

-- A json value may be no jsonb: \u0000, half a surrogate pair, a number past numeric, nesting past the stack.
-- Catching errors needs subtransactions, which parallel workers cannot have: hence PARALLEL UNSAFE.
CREATE FUNCTION ledgerviews.json_salvage(value json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE
AS $body$
DECLARE
    v_text text := value::text;
BEGIN
    BEGIN
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    BEGIN
        -- Whole surrogate pairs step aside, marked by control characters, which stand raw in no json; what is left
        -- is half a pair. No lookbehind: its time grows with the square of the length, or worse.
        v_text := pg_catalog.regexp_replace(
            v_text, '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})',
            pg_catalog.chr(1) || '\1' || pg_catalog.chr(2) || '\2', 'g');
        v_text := pg_catalog.regexp_replace(v_text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g');
        v_text := pg_catalog.replace(pg_catalog.replace(v_text, pg_catalog.chr(1), '\u'), pg_catalog.chr(2), '\u');
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    BEGIN
        -- A long fraction is cut, a number too small is 0, one too large is null. A regular expression of
        -- PostgreSQL repeats at most 255 times.
        v_text := pg_catalog.regexp_replace(v_text, '(\.[0-9]{250})[0-9]+', '\1', 'g');
        v_text := pg_catalog.regexp_replace(v_text, '-?[0-9]+(\.[0-9]+)?[eE]-[0-9]{4,}', '0', 'g');
        v_text := pg_catalog.regexp_replace(
            v_text,
            '-?[0-9]+(\.[0-9]+)?[eE][+]?[0-9]{4,}|-?[0-9]{250}[0-9]{60,}(\.[0-9]+)?([eE][-+]?[0-9]+)?',
            'null', 'g');
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        RETURN NULL;
    END;
END
$body$;
COMMENT ON FUNCTION ledgerviews.json_salvage(json) IS
'The value as jsonb with what jsonb cannot hold replaced; NULL where that is not enough. Never raises.';

CREATE FUNCTION ledgerviews.json_safe(value json) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL UNSAFE
RETURN CASE
    WHEN pg_catalog.octet_length(value::text) < 4000
    AND value::text !~ '\\u(0000|[dD][89a-fA-F])|[eE][-+]?[0-9]{4}|[0-9]{250}' THEN value::text::jsonb
    ELSE ledgerviews.json_salvage(value)
END;
COMMENT ON FUNCTION ledgerviews.json_safe(json) IS 'The value as jsonb, by way of json_salvage where a plain cast could raise.';

CREATE FUNCTION ledgerviews.json_array_size(value jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN pg_catalog.jsonb_typeof(value) = 'array' THEN pg_catalog.jsonb_array_length(value) ELSE 0 END;
COMMENT ON FUNCTION ledgerviews.json_array_size(jsonb) IS 'Number of elements; 0 where the value is no array.';

CREATE FUNCTION ledgerviews.json_array_size(value json) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL UNSAFE
RETURN ledgerviews.json_array_size(ledgerviews.json_safe(value));
COMMENT ON FUNCTION ledgerviews.json_array_size(json) IS 'Number of elements; 0 where the value is no array.';

CREATE FUNCTION ledgerviews.json_first(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN pg_catalog.jsonb_typeof(value) = 'array' THEN value -> 0 END;
COMMENT ON FUNCTION ledgerviews.json_first(jsonb) IS 'The first element; NULL where the value is no array.';

CREATE FUNCTION ledgerviews.json_first(value json) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL UNSAFE
RETURN ledgerviews.json_first(ledgerviews.json_safe(value));
COMMENT ON FUNCTION ledgerviews.json_first(json) IS 'The first element; NULL where the value is no array.';

CREATE FUNCTION ledgerviews.json_text(value jsonb, key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN pg_catalog.jsonb_typeof(value -> key) = 'string' THEN value ->> key END;
COMMENT ON FUNCTION ledgerviews.json_text(jsonb, text) IS 'The string under the key; NULL where there is none.';

CREATE FUNCTION ledgerviews.json_number(value jsonb, key text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN pg_catalog.jsonb_typeof(value -> key) <> 'number' THEN NULL
    WHEN pg_catalog.abs((value -> key)::numeric) > 1.7976931348623158e308 THEN NULL
    WHEN pg_catalog.abs((value -> key)::numeric) < 2.5e-324 THEN 0
    ELSE (value -> key)::numeric::double precision
END;
COMMENT ON FUNCTION ledgerviews.json_number(jsonb, text) IS
'The number under the key as double precision; NULL where there is none that fits.';

-- What is installed, and what was run ---------------------------------------------------------------------

CREATE TABLE ledgerviews.relation (
    schema_name text NOT NULL,
    relation_name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('view', 'materialized view')),
    definition text NOT NULL,
    unique_key text[] NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (schema_name, relation_name)
);
COMMENT ON TABLE ledgerviews.relation IS 'The published relations as migrations installed them.';
COMMENT ON COLUMN ledgerviews.relation.definition IS 'The SELECT as it was written, before it was moved to schema_name.';
COMMENT ON COLUMN ledgerviews.relation.unique_key IS 'Columns of the unique index; empty for a view.';

CREATE TABLE ledgerviews.run (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'succeeded', 'failed', 'cancelled', 'locked', 'crashed')),
    mode text NOT NULL,
    requested text[],
    requested_by text NOT NULL DEFAULT SESSION_USER,
    application_name text NOT NULL DEFAULT pg_catalog.current_setting('application_name'),
    backend_pid integer NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
    backend_started_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    failed_relation text,
    sqlstate text,
    error text
);
COMMENT ON TABLE ledgerviews.run IS 'One row for each call of ledgerviews.refresh; a crashed one is closed by the next.';
COMMENT ON COLUMN ledgerviews.run.state IS
'waiting (for another refresh), running, succeeded, failed, cancelled, locked (another refresh held the lock) or crashed.';
COMMENT ON COLUMN ledgerviews.run.requested IS 'The names that were asked for; NULL is all.';

CREATE TABLE ledgerviews.run_relation (
    run_id bigint NOT NULL REFERENCES ledgerviews.run (run_id) ON DELETE CASCADE,
    position integer NOT NULL,
    schema_name text NOT NULL,
    relation_name text NOT NULL,
    method text NOT NULL CHECK (method IN ('concurrently', 'first fill', 'blocking')),
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    rows_before bigint NOT NULL,
    rows_after bigint NOT NULL,
    rows_inserted bigint NOT NULL,
    rows_updated bigint,
    rows_deleted bigint NOT NULL,
    PRIMARY KEY (run_id, position)
);
CREATE INDEX run_relation_by_name ON ledgerviews.run_relation (schema_name, relation_name, run_id);
COMMENT ON TABLE ledgerviews.run_relation IS 'One row for each relation that a run refreshed; committed with its figures.';
COMMENT ON COLUMN ledgerviews.run_relation.rows_updated IS
'Rows whose key stayed and whose values changed; NULL where the server does not count (track_counts off).';

CREATE TABLE ledgerviews.refresh_lock ();
COMMENT ON TABLE ledgerviews.refresh_lock IS
'Locked by a refresh before it takes its snapshot, so that one runs at a time and the waiter sees what was committed meanwhile.';

-- Refreshing ----------------------------------------------------------------------------------------------

CREATE VIEW ledgerviews.materialized_view AS
WITH RECURSIVE managed AS (
    SELECT
        c.oid AS relation,
        r.schema_name,
        r.relation_name,
        c.relispopulated AS populated
    FROM ledgerviews.relation AS r
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema_name
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.relation_name AND c.relkind = 'm'
    WHERE r.kind = 'materialized view'
),

reads AS (
    SELECT DISTINCT
        w.ev_class AS relation,
        d.refobjid AS upstream
    FROM pg_catalog.pg_rewrite AS w
    JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.deptype = 'n'
        AND d.refobjid <> w.ev_class
),

reaches AS (
    SELECT
        m.relation,
        s.upstream
    FROM managed AS m
    JOIN reads AS s ON s.relation = m.relation
    UNION
    SELECT
        p.relation,
        s.upstream
    FROM reaches AS p
    JOIN reads AS s ON s.relation = p.upstream
)

SELECT
    m.relation,
    m.schema_name,
    m.relation_name,
    m.populated,
    ARRAY(
        SELECT u.relation
        FROM reaches AS p
        JOIN managed AS u ON u.relation = p.upstream
        WHERE p.relation = m.relation
        ORDER BY u.relation
    ) AS upstream,
    (
        SELECT i.indexrelid
        FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = m.relation
            AND i.indisunique AND i.indisvalid AND i.indimmediate
            AND i.indpred IS NULL AND i.indexprs IS NULL
        ORDER BY i.indnkeyatts, i.indexrelid
        LIMIT 1
    ) AS unique_index
FROM managed AS m;
COMMENT ON VIEW ledgerviews.materialized_view IS
'The published materialized views with all published ones that they read, at any depth, and the index that CONCURRENTLY needs.';

CREATE FUNCTION ledgerviews.source_of(relations oid[]) RETURNS TABLE (source oid)
LANGUAGE sql STABLE
BEGIN ATOMIC
WITH RECURSIVE reads AS (
    SELECT r.oid AS relation FROM pg_catalog.unnest(relations) AS r (oid)
    UNION
    SELECT d.refobjid
    FROM reads AS p
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = p.relation
    JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
),

parts AS (
    SELECT p.relation FROM reads AS p
    UNION
    SELECT i.inhrelid FROM parts AS a JOIN pg_catalog.pg_inherits AS i ON i.inhparent = a.relation
)

SELECT a.relation
FROM parts AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.relation
WHERE c.relkind = 'r' AND c.relfilenode <> 0;
END;
COMMENT ON FUNCTION ledgerviews.source_of(oid[]) IS
'The tables, partitions one by one, that the relations read at any depth.';

CREATE PROCEDURE ledgerviews.refresh(
    IN relations text[] DEFAULT NULL,
    IN mode text DEFAULT 'concurrently',
    IN upstream boolean DEFAULT true,
    IN wait boolean DEFAULT true,
    INOUT run_id bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $body$
DECLARE
    v_name text;
    v_found oid[];
    v_wanted oid[];
    v_mart record;
    v_key text;
    v_method text;
    v_started timestamptz;
    v_position integer;
    v_attempt integer := 1;
    v_total integer;
    v_before bigint;
    v_after bigint;
    v_inserted bigint;
    v_updated bigint;
    v_written bigint;
    v_removed bigint;
    v_current text;
    v_state text;
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_hint text;
BEGIN
    -- A procedure with a SET clause could not COMMIT, so each transaction sets its own search_path: no operator
    -- or function that a session's path puts in front is ever called.
    SET LOCAL search_path = pg_catalog, pg_temp;
    IF mode IS NULL OR mode NOT IN ('concurrently', 'blocking') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('There is no refresh mode %L.', mode),
            HINT = 'The modes are concurrently and blocking.';
    END IF;

    -- A run that neither holds nor awaits the lock of a refresh has ended without a word. A process id may be
    -- another session's by now, which its start tells where this role may see it.
    UPDATE ledgerviews.run AS r
    SET state = 'crashed', finished_at = pg_catalog.clock_timestamp(), error = 'The session ended before the run did.'
    WHERE r.state IN ('waiting', 'running')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_locks AS l
            JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.relation = 'ledgerviews.refresh_lock'::pg_catalog.regclass
                AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
                AND l.pid = r.backend_pid
                AND (a.backend_start IS NULL OR r.backend_started_at IS NULL OR a.backend_start = r.backend_started_at)
        );
    INSERT INTO ledgerviews.run AS r (mode, requested, backend_started_at)
    SELECT refresh.mode, refresh.relations, a.backend_start
    FROM (SELECT) AS always
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = pg_catalog.pg_backend_pid()
    RETURNING r.run_id INTO run_id;
    COMMIT;
    SET LOCAL search_path = pg_catalog, pg_temp;

    -- Queue for the lock where its failure can be caught and written down.
    BEGIN
        IF wait THEN
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
        ELSE
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE NOWAIT;
        END IF;
        UPDATE ledgerviews.run AS r SET state = 'running' WHERE r.run_id = refresh.run_id;
    EXCEPTION WHEN OTHERS OR query_canceled THEN
        GET STACKED DIAGNOSTICS
            v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT,
            v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
        v_state := CASE v_sqlstate WHEN '57014' THEN 'cancelled' WHEN '55P03' THEN 'locked' ELSE 'failed' END;
    END;

    -- Take it again in the transaction of the refresh, before its snapshot; who came in between goes first.
    -- Nothing between COMMIT and LOCK TABLE may read: not even an IF, because PL/pgSQL takes a snapshot to
    -- plan its condition, nor a block with EXCEPTION, in which it takes one for every statement.
    WHILE v_state IS NULL LOOP
        IF wait THEN
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
            SET LOCAL search_path = pg_catalog, pg_temp;
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
        ELSE
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
            SET LOCAL search_path = pg_catalog, pg_temp;
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE NOWAIT;
        END IF;
        BEGIN
            SET LOCAL jit = off;

            SELECT pg_catalog.array_agg(m.relation) INTO v_wanted FROM ledgerviews.materialized_view AS m;
            IF relations IS NOT NULL THEN
                v_wanted := ARRAY[]::oid[];
                FOREACH v_name IN ARRAY relations LOOP
                    SELECT pg_catalog.array_agg(m.relation) INTO v_found
                    FROM ledgerviews.materialized_view AS m
                    WHERE v_name IN (m.relation_name, m.schema_name || '.' || m.relation_name);
                    IF v_found IS NULL OR pg_catalog.cardinality(v_found) > 1 THEN
                        RAISE EXCEPTION USING
                            ERRCODE = 'undefined_table',
                            MESSAGE = CASE
                                WHEN v_found IS NULL THEN pg_catalog.format('%s is no published materialized view of this database.', v_name)
                                ELSE pg_catalog.format('%s is published in more than one schema.', v_name)
                            END,
                            HINT = COALESCE(
                                'Published here: ' || (
                                    SELECT pg_catalog.string_agg(m.schema_name || '.' || m.relation_name, ', ' ORDER BY m.schema_name, m.relation_name)
                                    FROM ledgerviews.materialized_view AS m
                                ) || '.',
                                'None is installed: run alembic upgrade head.');
                    END IF;
                    v_wanted := v_wanted || v_found;
                END LOOP;
                IF upstream THEN
                    SELECT pg_catalog.array_agg(DISTINCT w.relation) INTO v_wanted
                    FROM (
                        SELECT pg_catalog.unnest(v_wanted) AS relation
                        UNION
                        SELECT pg_catalog.unnest(m.upstream) FROM ledgerviews.materialized_view AS m WHERE m.relation = ANY (v_wanted)
                    ) AS w;
                END IF;
            END IF;

            SELECT pg_catalog.string_agg(m.schema_name || '.' || m.relation_name, ', ' ORDER BY m.schema_name, m.relation_name)
            INTO v_name
            FROM ledgerviews.materialized_view AS m
            WHERE m.relation = ANY (m.upstream);
            IF v_name IS NOT NULL THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'invalid_recursion',
                    MESSAGE = 'These materialized views read each other in a circle: ' || v_name || '.',
                    HINT = 'Break the circle in the views between them.';
            END IF;

            SELECT pg_catalog.string_agg(r.schema_name || '.' || r.relation_name, ', ' ORDER BY r.schema_name, r.relation_name)
            INTO v_name
            FROM ledgerviews.relation AS r
            WHERE r.kind = 'materialized view'
                AND (refresh.relations IS NULL OR r.relation_name = ANY (refresh.relations) OR r.schema_name || '.' || r.relation_name = ANY (refresh.relations))
                AND NOT EXISTS (
                    SELECT FROM ledgerviews.materialized_view AS m
                    WHERE m.schema_name = r.schema_name AND m.relation_name = r.relation_name
                );
            IF v_name IS NOT NULL THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'undefined_table',
                    MESSAGE = 'Installed by a migration, but no longer a materialized view in this database: ' || v_name || '.',
                    HINT = 'Downgrade to the revision before the one that creates it, and upgrade again; ledgerviews db history lists them.';
            END IF;

            v_total := pg_catalog.cardinality(v_wanted);
            v_position := 0;
            -- One that reads more published views than another never comes before it.
            FOR v_mart IN
                SELECT m.*
                FROM ledgerviews.materialized_view AS m
                WHERE m.relation = ANY (v_wanted)
                ORDER BY pg_catalog.cardinality(m.upstream), m.schema_name, m.relation_name
            LOOP
                v_position := v_position + 1;
                v_current := v_mart.schema_name || '.' || v_mart.relation_name;
                v_started := pg_catalog.clock_timestamp();
                IF v_mart.unique_index IS NULL AND mode = 'concurrently' THEN
                    RAISE EXCEPTION USING
                        ERRCODE = 'object_not_in_prerequisite_state',
                        MESSAGE = 'Cannot refresh ' || v_current || ' concurrently: it has no unique index on columns only.',
                        HINT = COALESCE(
                            'Run ' || (
                                SELECT pg_catalog.format('CREATE UNIQUE INDEX ON %I.%I (', r.schema_name, r.relation_name)
                                    || pg_catalog.string_agg(pg_catalog.quote_ident(k.name), ', ' ORDER BY k.ordinality)
                                    || ')'
                                FROM ledgerviews.relation AS r
                                CROSS JOIN LATERAL pg_catalog.unnest(r.unique_key) WITH ORDINALITY AS k (name, ordinality)
                                WHERE r.schema_name = v_mart.schema_name AND r.relation_name = v_mart.relation_name
                                GROUP BY r.schema_name, r.relation_name
                            ),
                            'Declare its grain and install the revision that says so'
                        ) || ', or pass --blocking (mode => ''blocking'').';
                END IF;
                v_method := CASE
                    WHEN NOT v_mart.populated THEN 'first fill'
                    WHEN mode = 'blocking' THEN 'blocking'
                    ELSE 'concurrently'
                END;
                RAISE NOTICE '[%/%] %: %', v_position, v_total, v_current,
                    CASE v_method
                        WHEN 'first fill' THEN 'first fill, by a plain REFRESH'
                        WHEN 'blocking' THEN 'REFRESH that blocks its readers'
                        ELSE 'REFRESH CONCURRENTLY'
                    END;

                -- Rows are told apart by the unique index's columns; without one (blocking only) by the whole row.
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.ordinality)
                INTO v_key
                FROM pg_catalog.pg_index AS i
                CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                WHERE i.indexrelid = v_mart.unique_index AND k.ordinality <= i.indnkeyatts;
                v_before := 0;
                IF pg_catalog.to_regclass('pg_temp.ledgerviews_before') IS NOT NULL THEN
                    DROP TABLE pg_temp.ledgerviews_before;
                END IF;
                IF v_mart.populated THEN
                    EXECUTE pg_catalog.format(
                        'CREATE TEMPORARY TABLE ledgerviews_before ON COMMIT DROP AS SELECT %s%s FROM %I.%I AS m',
                        COALESCE(v_key, 'ROW(m.*)::pg_catalog.text AS ledgerviews_whole'),
                        CASE WHEN v_method = 'blocking' THEN ', ROW(m.*)::pg_catalog.text AS ledgerviews_row' ELSE '' END,
                        v_mart.schema_name, v_mart.relation_name);
                    GET DIAGNOSTICS v_before = ROW_COUNT;
                END IF;
                v_written := pg_catalog.pg_stat_get_xact_tuples_inserted(v_mart.relation);
                v_removed := pg_catalog.pg_stat_get_xact_tuples_deleted(v_mart.relation);

                EXECUTE pg_catalog.format(
                    'REFRESH MATERIALIZED VIEW %s %I.%I',
                    CASE WHEN v_method = 'concurrently' THEN 'CONCURRENTLY' ELSE '' END,
                    v_mart.schema_name, v_mart.relation_name);

                EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %I.%I', v_mart.schema_name, v_mart.relation_name)
                INTO v_after;
                v_written := pg_catalog.pg_stat_get_xact_tuples_inserted(v_mart.relation) - v_written;
                v_removed := pg_catalog.pg_stat_get_xact_tuples_deleted(v_mart.relation) - v_removed;
                v_updated := 0;
                IF NOT v_mart.populated THEN
                    v_inserted := v_after;
                ELSIF v_method = 'concurrently' AND v_written = 0 AND v_removed = 0
                    AND pg_catalog.current_setting('track_counts')::boolean THEN
                    v_inserted := 0;
                ELSE
                    EXECUTE pg_catalog.format(
                        'SELECT pg_catalog.count(*) FILTER (WHERE o.ledgerviews_old IS NULL), %s '
                        'FROM (SELECT %s, ROW(m.*)::pg_catalog.text AS ledgerviews_row FROM %I.%I AS m) AS n '
                        'LEFT JOIN (SELECT *, true AS ledgerviews_old FROM pg_temp.ledgerviews_before) AS o USING (%s)',
                        CASE
                            WHEN v_method = 'blocking'
                                THEN 'pg_catalog.count(*) FILTER (WHERE o.ledgerviews_row <> n.ledgerviews_row)'
                            ELSE 'NULL::bigint'
                        END,
                        COALESCE(v_key, 'ROW(m.*)::pg_catalog.text AS ledgerviews_whole'),
                        v_mart.schema_name, v_mart.relation_name,
                        COALESCE(v_key, 'ledgerviews_whole'))
                    INTO v_inserted, v_updated;
                    IF v_method = 'concurrently' AND pg_catalog.current_setting('track_counts')::boolean THEN
                        v_updated := v_written - v_inserted;
                    END IF;
                END IF;
                INSERT INTO ledgerviews.run_relation (
                    run_id, position, schema_name, relation_name, method, started_at, finished_at,
                    rows_before, rows_after, rows_inserted, rows_updated, rows_deleted
                ) VALUES (
                    refresh.run_id, v_position, v_mart.schema_name, v_mart.relation_name, v_method,
                    v_started, pg_catalog.clock_timestamp(),
                    v_before, v_after, v_inserted, v_updated, v_before - (v_after - v_inserted)
                );
                IF v_mart.populated THEN
                    DROP TABLE pg_temp.ledgerviews_before;
                END IF;
            END LOOP;
            v_current := NULL;

            -- TRUNCATE and a rewriting ALTER TABLE hide rows from a snapshot that was taken before them. The
            -- catalog's cache knows the file of now, the snapshot that of then.
            SELECT pg_catalog.string_agg(s.source::pg_catalog.regclass::text, ', ') INTO v_name
            FROM ledgerviews.source_of(v_wanted) AS s
            JOIN pg_catalog.pg_class AS c ON c.oid = s.source
            WHERE pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode;
            IF v_name IS NOT NULL THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'serialization_failure',
                    MESSAGE = 'Truncated or rewritten while it was read: ' || v_name || '.',
                    HINT = 'Run the refresh again.';
            END IF;
            UPDATE ledgerviews.run AS r
            SET state = 'succeeded', finished_at = pg_catalog.clock_timestamp()
            WHERE r.run_id = refresh.run_id;
        EXCEPTION WHEN OTHERS OR query_canceled THEN
            GET STACKED DIAGNOSTICS
                v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT,
                v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            v_state := CASE v_sqlstate WHEN '57014' THEN 'cancelled' ELSE 'failed' END;
        END;
        IF v_state IS NULL THEN
            COMMIT;
            RETURN;
        END IF;
        ROLLBACK;
        SET LOCAL search_path = pg_catalog, pg_temp;
        -- Somebody refreshed one of them by hand, or rewrote a source, after our snapshot, or we were the victim
        -- of a deadlock: once more, from a new snapshot. A duplicate key is a row that it did not show.
        IF v_sqlstate IN ('40001', '40P01', '23505') AND v_attempt < 3 THEN
            RAISE NOTICE 'Beginning again: %', v_message;
            v_attempt := v_attempt + 1;
            v_state := NULL;
        END IF;
    END LOOP;

    UPDATE ledgerviews.run AS r
    SET state = v_state, finished_at = pg_catalog.clock_timestamp(),
        sqlstate = v_sqlstate, error = v_message, failed_relation = v_current
    WHERE r.run_id = refresh.run_id;
    COMMIT;
    SET LOCAL search_path = pg_catalog, pg_temp;
    IF v_state = 'locked' AND NOT wait THEN
        v_message := 'Another refresh is running.';
        v_hint := 'Wait for it (--wait), or look at it: ledgerviews status.';
    ELSIF v_state = 'locked' THEN
        v_message := 'Another refresh is running, and the lock time-out passed.';
        v_hint := 'Raise the lock time-out, or look at it: ledgerviews status.';
    ELSIF v_current IS NOT NULL AND pg_catalog.strpos(v_message, v_current) = 0 THEN
        v_message := 'Refreshing ' || v_current || ': ' || v_message;
    END IF;
    -- psql shows an empty DETAIL or HINT as a line of its own.
    IF v_detail <> '' AND v_hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message, DETAIL = v_detail, HINT = v_hint;
    ELSIF v_detail <> '' THEN
        RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message, DETAIL = v_detail;
    ELSIF v_hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message, HINT = v_hint;
    END IF;
    RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message;
END
$body$;
COMMENT ON PROCEDURE ledgerviews.refresh(text[], text, boolean, boolean, bigint) IS
'Refresh the published materialized views in one transaction and one snapshot; call it outside a transaction block. '
'relations: names, NULL for all; mode: concurrently or blocking; upstream: take along what they read; wait: for a running refresh.';

CREATE PROCEDURE ledgerviews.refresh(
    IN relation text,
    IN mode text DEFAULT 'concurrently',
    IN upstream boolean DEFAULT true,
    IN wait boolean DEFAULT true,
    INOUT run_id bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $body$
BEGIN
    CALL ledgerviews.refresh(ARRAY[relation], mode, upstream, wait, run_id);
END
$body$;
COMMENT ON PROCEDURE ledgerviews.refresh(text, text, boolean, boolean, bigint) IS
'Refresh one published materialized view and what it reads, in one transaction and one snapshot.';
