-- The version table that a history of revisions counts in, with its schema; NULL where there is none.
SELECT (
    SELECT pg_catalog.concat(n.nspname, '.', c.relname)
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace OPERATOR (pg_catalog.=) n.oid
    -- Asked under the path of the run, on which anybody may have put operators.
    WHERE c.oid OPERATOR (pg_catalog.=) pg_catalog.to_regclass(%(version_table)s)::pg_catalog.oid
) AS history;
