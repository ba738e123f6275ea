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

-- Without these a date would be taken for a time of the session's time zone.
CREATE FUNCTION ledgerviews.utc_day(value date) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value >= date '0001-01-01' AND value < date '10000-01-01' THEN value ELSE date '0001-01-01' END;
COMMENT ON FUNCTION ledgerviews.utc_day(date) IS
'The day; 0001-01-01 where it is NULL, infinite or outside the years 1 to 9999, so that a key is never NULL.';

CREATE FUNCTION ledgerviews.in_days(value date, lo date, hi date) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (value >= lo AND value < hi AND value < date '10000-01-01')
OR (
    lo <= date '0001-01-01' AND hi > date '0001-01-01'
    AND (value IS NULL OR value < date '0001-01-01' OR value >= date '10000-01-01')
);
COMMENT ON FUNCTION ledgerviews.in_days(date, date, date) IS
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
