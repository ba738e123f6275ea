-- A new run, written down before its work begins.
INSERT INTO ledgerviews.export_run (target, state, requested, full_load)
VALUES (%(target)s, 'running', %(requested)s, %(full_load)s)
RETURNING run_id;
