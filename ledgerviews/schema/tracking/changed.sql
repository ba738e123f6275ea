-- Empty the log of a source and tell its days. $1: nothing before is known, so nothing is told.
CREATE FUNCTION {taken}(fresh boolean) RETURNS TABLE (source text, day date)
LANGUAGE sql SET search_path = pg_catalog, pg_temp BEGIN ATOMIC
WITH taken AS (
    DELETE FROM {change} AS c RETURNING c.day
)
SELECT DISTINCT {source}, t.day FROM taken AS t WHERE NOT $1;
END;
REVOKE ALL ON FUNCTION {taken}(boolean) FROM PUBLIC;

-- Mostly nothing was written, and to plan the above takes longer than to see that.
CREATE FUNCTION {changed}(fresh boolean) RETURNS TABLE (source text, day date)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF fresh OR EXISTS (SELECT FROM {change}) THEN
        RETURN QUERY SELECT t.source, t.day FROM {taken}(fresh) AS t;
    END IF;
END
$body$;
REVOKE ALL ON FUNCTION {changed}(boolean) FROM PUBLIC;
