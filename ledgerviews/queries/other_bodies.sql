-- The temporary functions of which one of the same name and types in the schema ledgerviews has another parsed body.
SELECT
    f.proname || '(' || pg_catalog.oidvectortypes(f.proargtypes) || ')' AS signature,
    pg_catalog.pg_get_functiondef(f.oid) AS definition
FROM pg_catalog.pg_proc AS f
INNER JOIN pg_catalog.pg_proc AS o ON f.proname = o.proname AND f.proargtypes = o.proargtypes
WHERE
    f.pronamespace = pg_catalog.pg_my_temp_schema()
    AND o.pronamespace = 'ledgerviews'::pg_catalog.regnamespace
    AND pg_catalog.pg_get_function_sqlbody(f.oid) <> pg_catalog.pg_get_function_sqlbody(o.oid);
