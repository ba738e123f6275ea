-- Empty the log of a source and tell its days. $1: nothing before is known, so nothing is told.
CREATE FUNCTION {changed}(fresh boolean) RETURNS TABLE (source text, day date)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp BEGIN ATOMIC
WITH taken AS (
    DELETE FROM {change} AS c RETURNING c.day
)
SELECT DISTINCT {source}, t.day FROM taken AS t WHERE NOT $1;
END;
REVOKE ALL ON FUNCTION {changed}(boolean) FROM PUBLIC;
