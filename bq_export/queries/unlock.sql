-- Give a target's lock back.
SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('bq-export ' || %(target)s, 0)) AS unlocked;
