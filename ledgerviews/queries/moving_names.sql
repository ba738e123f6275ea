-- Which of some names are functions of PostgreSQL's own that read the clock, or give another value at each call.
SELECT f.proname
FROM pg_catalog.pg_proc AS f
WHERE f.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND f.proname = ANY(%(names)s::text[])
GROUP BY f.proname
HAVING
    pg_catalog.bool_and(f.provolatile = 'v')
    OR f.proname IN ('now', 'transaction_timestamp', 'statement_timestamp')
ORDER BY f.proname;
