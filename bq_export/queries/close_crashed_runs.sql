-- Runs that ended without a word: whoever asks this holds the lock, so none of them runs any more.
UPDATE ledgerviews.export_run AS r
SET state = 'crashed', finished_at = pg_catalog.clock_timestamp()
WHERE r.target = %(target)s AND r.state = 'running';
