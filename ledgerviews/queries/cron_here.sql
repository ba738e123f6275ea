-- Whether pg_cron is an extension of this database, its version, and whether this server has it at all.
SELECT
    (
        SELECT e.extversion
        FROM pg_catalog.pg_extension AS e
        WHERE e.extname = 'pg_cron'
    ) AS version,
    (
        SELECT pg_catalog.count(*)
        FROM pg_catalog.pg_available_extensions AS a
        WHERE a.name = 'pg_cron'
    ) > 0 AS available,
    pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') AS settings_readable,
    CASE
        WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')
            THEN pg_catalog.current_setting('cron.database_name', TRUE)
    END AS database;
