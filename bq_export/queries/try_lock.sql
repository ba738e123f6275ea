-- Take a target's lock if nobody has it.
SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('bq-export ' || %(target)s, 0)) AS locked;
