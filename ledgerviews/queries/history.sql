-- The version table that a history of revisions counts in, with its schema; NULL where there is none.
SELECT (
    SELECT (n.nspname || '.' || c.relname)::text
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
    WHERE c.oid = pg_catalog.to_regclass(%(version_table)s)
) AS history;
