-- Log a child's row; key is that of the parent, whose day is looked up at the refresh, for it may move.
-- The columns are named in atomic functions only, which follow when the application renames one; a PL/pgSQL body
-- would fail, and the application's write with it.
CREATE FUNCTION {day_of}(image {table}) RETURNS date LANGUAGE sql STABLE
RETURN ledgerviews.utc_day((image).{day});
REVOKE ALL ON FUNCTION {day_of}({table}) FROM PUBLIC;
CREATE FUNCTION {key_of}(image {table}) RETURNS {change}.key%TYPE LANGUAGE sql STABLE
RETURN (image).{key};
REVOKE ALL ON FUNCTION {key_of}({table}) FROM PUBLIC;
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {change} (day, key) VALUES ({day_of}(NEW), {key_of}(NEW));
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {change} (day, key) VALUES ({day_of}(OLD), {key_of}(OLD));
    ELSE
        INSERT INTO {change} (day, key) VALUES ({day_of}(NEW), {key_of}(NEW));
        IF {key_of}(OLD) IS DISTINCT FROM {key_of}(NEW) OR {day_of}(OLD) IS DISTINCT FROM {day_of}(NEW) THEN
            INSERT INTO {change} (day, key) VALUES ({day_of}(OLD), {key_of}(OLD));
        END IF;
    END IF;
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC;
