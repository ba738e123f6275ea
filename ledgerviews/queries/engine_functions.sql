-- The functions in the schema ledgerviews: name and types, attributes, whether a parsed body is printed as at first.
SELECT
    f.proname || '(' || pg_catalog.oidvectortypes(f.proargtypes) || ')' AS signature,
    pg_catalog.jsonb_build_object(
        'kind', f.prokind,
        'language', l.lanname,
        'volatility', f.provolatile,
        'parallel', f.proparallel,
        'strict', f.proisstrict,
        'leakproof', f.proleakproof,
        'definer', f.prosecdef,
        'settings', COALESCE(pg_catalog.to_jsonb(f.proconfig), '[]'),
        'body', CASE WHEN f.prosqlbody IS NULL THEN pg_catalog.md5(f.prosrc) END
    )::text AS attributes,
    COALESCE(
        pg_catalog.md5(pg_catalog.pg_get_function_sqlbody(f.oid))
        = pg_catalog.to_jsonb(e.*) -> 'printed' ->> (
            f.proname || '(' || pg_catalog.oidvectortypes(f.proargtypes) || ')'
        ),
        FALSE
    ) AS as_printed
FROM pg_catalog.pg_proc AS f
INNER JOIN pg_catalog.pg_language AS l ON f.prolang = l.oid
CROSS JOIN ledgerviews.engine AS e
WHERE f.pronamespace = 'ledgerviews'::pg_catalog.regnamespace;
