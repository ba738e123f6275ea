-- Empty the log of a child and tell the days. A row counts on the day of its parent where there is one, else on
-- its own; both are told where that may have changed. $1: nothing before is known, so only the memory of orphans
-- is made anew. An orphan is remembered as long as its row stands. Where they are many, their parents are sought on
-- the days that have a line in the log or are open, which are recomputed anyway, and not one by one.
CREATE FUNCTION {taken}(fresh boolean) RETURNS TABLE (source text, day date)
LANGUAGE sql SET search_path = pg_catalog, pg_temp BEGIN ATOMIC
WITH taken AS (
    DELETE FROM {change} AS c RETURNING c.day, c.key
),
asked AS (
    SELECT DISTINCT t.day, t.key FROM taken AS t WHERE NOT $1
),
linked AS (
    SELECT a.day, a.key, p.{parent_key} IS NOT NULL AS found, ledgerviews.utc_day(p.{parent_day}) AS parent_day
    FROM asked AS a
    LEFT JOIN {parent} AS p ON p.{parent_key} = a.key
),
gone AS (
    SELECT DISTINCT c.key FROM {parent_change} AS c WHERE c.key IS NOT NULL AND NOT $1
),
left_behind AS (
    SELECT DISTINCT t.{key} AS key, ledgerviews.utc_day(t.{day}) AS day
    FROM gone AS g
    JOIN {table} AS t ON t.{key} = g.key
),
written AS (
    SELECT c.day AS lo, c.day + 1 AS hi FROM {parent_change} AS c
    UNION
    SELECT pg_catalog.min(t.open_from), date '10000-01-01' FROM ledgerviews.relation_state AS t
    WHERE EXISTS (SELECT FROM ledgerviews.source AS s WHERE s.source = {parent_source} AND s.tracking = 'closed days')
    HAVING pg_catalog.min(t.open_from) IS NOT NULL
),
remembered AS (
    SELECT pg_catalog.count(*) > 1000 AS many FROM (SELECT FROM {orphan} LIMIT 1001) AS o
),
orphaned AS (
    SELECT l.key, l.day FROM linked AS l
    WHERE l.key IS NOT NULL AND NOT l.found
        AND EXISTS (SELECT FROM {table} AS t WHERE t.{key} = l.key AND ledgerviews.utc_day(t.{day}) = l.day)
    UNION
    SELECT b.key, b.day FROM left_behind AS b
    WHERE NOT EXISTS (SELECT FROM {parent} AS p WHERE p.{parent_key} = b.key)
    UNION
    SELECT t.{key}, ledgerviews.utc_day(t.{day}) FROM {table} AS t
    WHERE $1 AND t.{key} IS NOT NULL AND NOT EXISTS (SELECT FROM {parent} AS p WHERE p.{parent_key} = t.{key})
),
forgotten AS (
    DELETE FROM {orphan} AS o WHERE $1
),
removed AS (
    DELETE FROM {orphan} AS o USING linked AS l
    WHERE o.key = l.key AND o.day = l.day AND NOT l.found
        AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = l.key AND ledgerviews.utc_day(t.{day}) = l.day)
),
adopted AS (
    DELETE FROM {orphan} AS o USING {parent} AS p
    WHERE p.{parent_key} = o.key AND NOT $1 AND NOT (SELECT r.many FROM remembered AS r)
    RETURNING o.day
),
-- OFFSET 0 has each day's parents read once.
adopted_of_many AS (
    DELETE FROM {orphan} AS o
    USING written AS w, LATERAL (
        SELECT p.{parent_key} AS key FROM {parent} AS p WHERE ledgerviews.in_days(p.{parent_day}, w.lo, w.hi) OFFSET 0
    ) AS p
    WHERE p.key = o.key AND NOT $1 AND (SELECT r.many FROM remembered AS r)
    RETURNING o.day
),
-- No look-up of each in a table that this statement fills.
noted AS (
    INSERT INTO {orphan} (key, day)
    SELECT n.key, n.day FROM orphaned AS n
    EXCEPT
    SELECT o.key, o.day FROM {orphan} AS o WHERE NOT $1 AND EXISTS (SELECT FROM orphaned)
)
SELECT {source}, CASE WHEN l.found THEN l.parent_day ELSE l.day END FROM linked AS l
UNION
SELECT {source}, b.day FROM left_behind AS b
UNION
SELECT {source}, a.day FROM adopted AS a
UNION
SELECT {source}, m.day FROM adopted_of_many AS m;
END;
REVOKE ALL ON FUNCTION {taken}(boolean) FROM PUBLIC;

-- Mostly nothing was written, and to plan the above takes longer than to see that. Orphans may be adopted unlogged,
-- on an open day.
CREATE FUNCTION {changed}(fresh boolean) RETURNS TABLE (source text, day date)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF fresh OR EXISTS (SELECT FROM {change}) OR EXISTS (SELECT FROM {parent_change}) OR EXISTS (SELECT FROM {orphan}) THEN
        RETURN QUERY SELECT t.source, t.day FROM {taken}(fresh) AS t;
    END IF;
END
$body$;
REVOKE ALL ON FUNCTION {changed}(boolean) FROM PUBLIC;
