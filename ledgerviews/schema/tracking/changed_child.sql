-- Empty the log of a child and tell the days. A row counts on the day of its parent where there is one, else on
-- its own; both are told where that may have changed. $1: nothing before is known, so only the memory of orphans
-- is made anew.
CREATE FUNCTION {changed}(fresh boolean) RETURNS TABLE (source text, day date)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp BEGIN ATOMIC
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
orphaned AS (
    SELECT l.key, l.day FROM linked AS l WHERE l.key IS NOT NULL AND NOT l.found
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
adopted AS (
    DELETE FROM {orphan} AS o USING {parent} AS p WHERE p.{parent_key} = o.key AND NOT $1 RETURNING o.day
),
noted AS (
    INSERT INTO {orphan} (key, day)
    SELECT n.key, n.day FROM orphaned AS n
    WHERE $1 OR NOT EXISTS (SELECT FROM {orphan} AS o WHERE o.key = n.key AND o.day = n.day)
)
SELECT {source}, CASE WHEN l.found THEN l.parent_day ELSE l.day END FROM linked AS l
UNION
SELECT {source}, b.day FROM left_behind AS b
UNION
SELECT {source}, a.day FROM adopted AS a;
END;
REVOKE ALL ON FUNCTION {changed}(boolean) FROM PUBLIC;
