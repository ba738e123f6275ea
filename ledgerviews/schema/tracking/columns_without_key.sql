-- Which column tells the day of a row: never called, but known to pg_depend, so that its name can be asked for when
-- the application has renamed it.
CREATE FUNCTION {day_of}() RETURNS date LANGUAGE sql STABLE
RETURN (SELECT ledgerviews.utc_day(t.{day}) FROM {table} AS t LIMIT 1);
REVOKE ALL ON FUNCTION {day_of}() FROM PUBLIC;
