-- Log a child's row; key is that of the parent, whose day is looked up at the refresh, for it may move.
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(NEW.{day}), NEW.{key});
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(OLD.{day}), OLD.{key});
    ELSE
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(NEW.{day}), NEW.{key});
        IF OLD.{key} IS DISTINCT FROM NEW.{key} OR OLD.{day} IS DISTINCT FROM NEW.{day} THEN
            INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(OLD.{day}), OLD.{key});
        END IF;
    END IF;
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC;
