-- Whether definitions can be printed under temporary names here, and where names without a schema are looked up.
SELECT
    NOT pg_catalog.pg_is_in_recovery()
    AND pg_catalog.current_setting('transaction_read_only') = 'off'
    AND pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY') AS may,
    pg_catalog.current_setting('search_path') AS search_path,
    pg_catalog.to_json(pg_catalog.current_schemas(FALSE))::text AS schemas,
    pg_catalog.to_regclass('ledgerviews.engine') IS NOT NULL AS engine;
