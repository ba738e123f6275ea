-- Engine version 3, its last part: what PostgreSQL prints of the functions whose bodies it keeps parsed.
UPDATE ledgerviews.engine SET printed = (
    SELECT pg_catalog.jsonb_object_agg(
        p.proname || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')', pg_catalog.md5(pg_catalog.pg_get_function_sqlbody(p.oid)))
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = 'ledgerviews'::pg_catalog.regnamespace AND p.prosqlbody IS NOT NULL
);
