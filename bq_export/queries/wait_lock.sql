-- Take a target's lock, after whoever has it.
SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('bq-export ' || %(target)s, 0)) IS NULL AS waited;
