-- The revisions that the database is at.
SELECT v.version_num FROM ledgerviews.alembic_version AS v;
