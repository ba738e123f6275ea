-- Log the days of a row.
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {change} (day) VALUES (ledgerviews.utc_day(OLD.{day}));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {change} (day) VALUES (ledgerviews.utc_day(NEW.{day}));
    END IF;
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC;
