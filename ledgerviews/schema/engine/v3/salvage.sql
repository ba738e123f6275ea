-- Engine version 3: json that jsonb refuses. An escaped backslash before u0000 is no escape of a character, and
-- what looks like a number in a string is none.

CREATE OR REPLACE FUNCTION ledgerviews.json_salvage(value json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
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
        -- A backslash that is itself escaped and whole surrogate pairs step aside, marked by control characters, which
        -- stand raw in no json; what is left is half a pair. No lookbehind: its time grows with the square of the
        -- length, or worse.
        v_text := pg_catalog.regexp_replace(
            pg_catalog.replace(v_text, '\\', pg_catalog.chr(3)), '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})',
            pg_catalog.chr(1) || '\1' || pg_catalog.chr(2) || '\2', 'g');
        v_text := pg_catalog.regexp_replace(v_text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g');
        v_text := pg_catalog.replace(pg_catalog.replace(v_text, pg_catalog.chr(1), '\u'), pg_catalog.chr(2), '\u');
        v_text := pg_catalog.replace(v_text, pg_catalog.chr(3), '\\');
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    BEGIN
        -- Outside strings a long fraction is cut, a number too small is 0, one too large is null. A regular
        -- expression of PostgreSQL repeats at most 255 times.
        SELECT pg_catalog.string_agg(
            CASE
                WHEN pg_catalog.starts_with(part.text, '"') THEN part.text
                ELSE
                    pg_catalog.regexp_replace(
                        pg_catalog.regexp_replace(
                            pg_catalog.regexp_replace(part.text, '(\.[0-9]{250})[0-9]+', '\1', 'g'),
                            '-?[0-9]+(\.[0-9]+)?[eE]-[0-9]{4,}', '0', 'g'),
                        '-?[0-9]+(\.[0-9]+)?[eE][+]?[0-9]{4,}|-?[0-9]{250}[0-9]{60,}(\.[0-9]+)?([eE][-+]?[0-9]+)?',
                        'null', 'g')
            END, '' ORDER BY part.place)
        INTO v_text
        FROM (
            SELECT m.found[1] AS text, m.place
            FROM pg_catalog.regexp_matches(v_text, '"(?:[^"\\]|\\.)*"|[^"]+', 'g') WITH ORDINALITY AS m (found, place)
        ) AS part;
        RETURN v_text::jsonb;
    EXCEPTION WHEN OTHERS THEN
        RETURN NULL;
    END;
END
$body$;
COMMENT ON FUNCTION ledgerviews.json_salvage(json) IS
'The value as jsonb with what jsonb cannot hold replaced; NULL where that is not enough. Never raises.';
