-- Log the days of a row.
-- The columns are named in atomic functions only, which follow when the application renames one; a PL/pgSQL body
-- would fail, and the application's write with it.
CREATE FUNCTION {day_of}(image {table}) RETURNS date LANGUAGE sql STABLE
RETURN ledgerviews.utc_day((image).{day});
REVOKE ALL ON FUNCTION {day_of}({table}) FROM PUBLIC;
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {change} (day) VALUES ({day_of}(OLD));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {change} (day) VALUES ({day_of}(NEW));
    END IF;
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC;
