-- Log the days of a parent's row; key is that of a row that is gone, so that its children can be found.
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {change} (day) VALUES (ledgerviews.utc_day(NEW.{day}));
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(OLD.{day}), OLD.{key});
    ELSE
        INSERT INTO {change} (day, key) VALUES
            (ledgerviews.utc_day(OLD.{day}), CASE WHEN OLD.{key} IS DISTINCT FROM NEW.{key} THEN OLD.{key} END),
            (ledgerviews.utc_day(NEW.{day}), NULL);
    END IF;
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC;
