-- The exporter's tables, for a database whose revisions are a team's own; ours has them by revision 0004.
CREATE TABLE IF NOT EXISTS ledgerviews.export_run (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'crashed')),
    requested text[],
    full_load boolean NOT NULL,
    requested_by text NOT NULL DEFAULT current_user,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    relations integer NOT NULL DEFAULT 0,
    partitions integer NOT NULL DEFAULT 0,
    rows_sent bigint NOT NULL DEFAULT 0,
    bytes_sent bigint NOT NULL DEFAULT 0,
    bytes_billed bigint NOT NULL DEFAULT 0,
    error text
);
COMMENT ON TABLE ledgerviews.export_run IS 'One row for each run of bq-export, written before the work begins.';

CREATE TABLE IF NOT EXISTS ledgerviews.export_table (
    target text NOT NULL,
    relation text NOT NULL,
    lineage uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    version bigint NOT NULL DEFAULT 0,
    table_created bigint NOT NULL,
    exported_at timestamptz,
    PRIMARY KEY (target, relation)
);
COMMENT ON TABLE ledgerviews.export_table IS
'The tables at a target: version counts what was published, lineage tells this memory from an older one.';

CREATE TABLE IF NOT EXISTS ledgerviews.export_partition (
    target text NOT NULL,
    relation text NOT NULL,
    partition_key text NOT NULL,
    fingerprint text,
    row_count bigint NOT NULL,
    job_id text NOT NULL,
    exported_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (target, relation, partition_key),
    FOREIGN KEY (target, relation) REFERENCES ledgerviews.export_table ON DELETE CASCADE
);
COMMENT ON TABLE ledgerviews.export_partition IS
'What stands in each partition at the target; a NULL fingerprint is one of which that is not known.';

CREATE TABLE IF NOT EXISTS ledgerviews.export_job (
    job_id text PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES ledgerviews.export_run ON DELETE CASCADE,
    target text NOT NULL,
    relation text NOT NULL,
    operation text NOT NULL CHECK (operation IN ('stage', 'prove', 'publish', 'replace')),
    change_id text NOT NULL,
    generation integer NOT NULL,
    state text NOT NULL CHECK (state IN ('sent', 'done', 'failed', 'fenced', 'stuck')),
    changes jsonb NOT NULL,
    staging text,
    sent_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    error text
);
COMMENT ON TABLE ledgerviews.export_job IS
'Every job, written down before it is sent: one that is left as sent may have been done or not.';
CREATE INDEX IF NOT EXISTS export_job_open
ON ledgerviews.export_job (target, relation) WHERE state IN ('sent', 'stuck');
CREATE INDEX IF NOT EXISTS export_job_sent_at ON ledgerviews.export_job (sent_at);
