-- Which columns tell the day and the key of a row: never called, but known to pg_depend, so that their names can be
-- asked for when the application has renamed them.
CREATE FUNCTION {day_of}() RETURNS date LANGUAGE sql STABLE
RETURN (SELECT ledgerviews.utc_day(t.{day}) FROM {table} AS t LIMIT 1);
REVOKE ALL ON FUNCTION {day_of}() FROM PUBLIC;
CREATE FUNCTION {key_of}() RETURNS {change}.key%TYPE LANGUAGE sql STABLE
RETURN (SELECT t.{key} FROM {table} AS t LIMIT 1);
REVOKE ALL ON FUNCTION {key_of}() FROM PUBLIC;
