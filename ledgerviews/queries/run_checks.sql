-- The checks that failed in a run, with some of the rows.
SELECT
    c.schema_name,
    c.relation_name,
    c.check_name,
    c.severity,
    c.failed_rows,
    c.sample
FROM ledgerviews.run_check AS c
WHERE c.run_id = %(run_id)s
ORDER BY c.schema_name, c.relation_name, c.check_name;
