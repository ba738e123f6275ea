-- Whether the engine and the version table stand in this database.
SELECT
    pg_catalog.to_regclass('ledgerviews.engine') IS NOT NULL AS engine,
    pg_catalog.to_regclass('ledgerviews.alembic_version') IS NOT NULL AS version_table;
