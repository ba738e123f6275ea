-- How a run ended, and what it moved.
UPDATE ledgerviews.export_run AS r
SET
    state = %(state)s,
    error = %(error)s,
    finished_at = pg_catalog.clock_timestamp(),
    relations = %(relations)s,
    partitions = %(partitions)s,
    rows_sent = %(rows_sent)s,
    bytes_sent = %(bytes_sent)s,
    bytes_billed = %(bytes_billed)s
WHERE r.run_id = %(run_id)s;
