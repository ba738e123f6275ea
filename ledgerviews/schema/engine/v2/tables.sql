-- Engine version 2: what the incremental refresh remembers. Frozen, like version 1.

UPDATE ledgerviews.engine SET version = 2, installed_at = pg_catalog.now();
ALTER TABLE ledgerviews.engine ADD COLUMN keep_runs interval NOT NULL DEFAULT interval '90 days';
COMMENT ON COLUMN ledgerviews.engine.keep_runs IS 'How long the run log is kept; each refresh deletes what is older.';

-- Sources -------------------------------------------------------------------------------------------------

CREATE TABLE ledgerviews.source (
    source text PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    stem text NOT NULL UNIQUE,
    day_column text,
    key_column text,
    parent text REFERENCES ledgerviews.source (source),
    wanted_indexes text[] NOT NULL DEFAULT '{}',
    tracking text NOT NULL DEFAULT 'none' CHECK (tracking IN ('closed days', 'every write', 'none')),
    tracked_at timestamptz,
    logged text[],
    seen jsonb,
    UNIQUE (schema_name, table_name)
);
COMMENT ON TABLE ledgerviews.source IS 'The application''s tables whose rows find their day, and how their writes are tracked.';
COMMENT ON COLUMN ledgerviews.source.source IS 'schema.table, as relation.sources names it.';
COMMENT ON COLUMN ledgerviews.source.stem IS 'What the names of its log and functions begin with: stem_change, stem_track, stem_changed, stem_scan.';
COMMENT ON COLUMN ledgerviews.source.key_column IS
'Of a source with a parent: the column that points at the parent''s key. Of a parent: that key. Else NULL.';
COMMENT ON COLUMN ledgerviews.source.wanted_indexes IS 'Leading columns, comma-separated, of the indexes that the narrowed queries need.';
COMMENT ON COLUMN ledgerviews.source.tracking IS
'closed days: a write to a day that is over is logged, the others are recomputed at each refresh; '
'every write: each is logged; none: each refresh scans for what changed.';
COMMENT ON COLUMN ledgerviews.source.tracked_at IS 'A moment before its triggers were put on.';
COMMENT ON COLUMN ledgerviews.source.logged IS
'The names that the columns have in the function of its triggers; source_columns() tells those that they have now.';
COMMENT ON COLUMN ledgerviews.source.seen IS 'Files and triggers of the table at the last refresh; a difference forces a full one.';

CREATE TABLE ledgerviews.source_day (
    source text NOT NULL REFERENCES ledgerviews.source (source) ON DELETE CASCADE,
    day date NOT NULL,
    row_count bigint NOT NULL,
    fingerprint numeric NOT NULL,
    PRIMARY KEY (source, day)
);
COMMENT ON TABLE ledgerviews.source_day IS 'Of a source without triggers: what each of its days looked like at the last refresh.';

-- Relations -----------------------------------------------------------------------------------------------

ALTER TABLE ledgerviews.relation
    ADD COLUMN day_column text,
    ADD COLUMN rollup text UNIQUE,
    ADD COLUMN sources text[] NOT NULL DEFAULT '{}',
    ADD COLUMN day_definition text;
COMMENT ON COLUMN ledgerviews.relation.day_column IS 'The column of its key that holds the day, where days are computed one by one.';
COMMENT ON COLUMN ledgerviews.relation.rollup IS
'The table in this schema that the materialized view then reads; rollup_whole and rollup_days compute it.';
COMMENT ON COLUMN ledgerviews.relation.sources IS 'The sources that its days depend on, as source.source names them.';
COMMENT ON COLUMN ledgerviews.relation.day_definition IS 'The SELECT of the days from lo up to, not including, hi, as it was composed.';

CREATE TABLE ledgerviews.relation_state (
    schema_name text NOT NULL,
    relation_name text NOT NULL,
    dirty datemultirange NOT NULL DEFAULT '{}',
    open_from date,
    rebuild text DEFAULT 'it was never computed',
    row_count bigint NOT NULL DEFAULT 0,
    changes bigint NOT NULL DEFAULT EXTRACT(EPOCH FROM pg_catalog.clock_timestamp())::bigint,
    followed bigint,
    refreshed_at timestamptz,
    rollup_file oid,
    scrubbed_to date,
    scrubbed_at timestamptz,
    unchecked boolean NOT NULL DEFAULT false,
    PRIMARY KEY (schema_name, relation_name),
    FOREIGN KEY (schema_name, relation_name) REFERENCES ledgerviews.relation (schema_name, relation_name) ON DELETE CASCADE
);
COMMENT ON TABLE ledgerviews.relation_state IS 'What each published materialized view still has to recompute; written by refreshes only.';
COMMENT ON COLUMN ledgerviews.relation_state.dirty IS 'Days whose rows changed since they were last computed.';
COMMENT ON COLUMN ledgerviews.relation_state.open_from IS
'From this day on, writes may have gone unlogged (tracking closed days), so the next refresh recomputes it and all later ones.';
COMMENT ON COLUMN ledgerviews.relation_state.rebuild IS 'Why the next refresh recomputes it as a whole; NULL where days are enough.';
COMMENT ON COLUMN ledgerviews.relation_state.row_count IS 'Rows of a relation that is computed by day.';
COMMENT ON COLUMN ledgerviews.relation_state.changes IS 'Grows with each refresh that changed a row.';
COMMENT ON COLUMN ledgerviews.relation_state.followed IS 'Sum of changes of what it reads, at its last refresh.';
COMMENT ON COLUMN ledgerviews.relation_state.refreshed_at IS 'When it was last found to be as its sources are.';
COMMENT ON COLUMN ledgerviews.relation_state.rollup_file IS 'The file of its rollup at its last refresh; another one forces a full refresh.';
COMMENT ON COLUMN ledgerviews.relation_state.scrubbed_to IS 'The rolling scrub has verified all days before this one in its present round.';
COMMENT ON COLUMN ledgerviews.relation_state.unchecked IS
'Whether rows stand in it on which its checks were never run: they are others since, or the relation was replaced.';

INSERT INTO ledgerviews.relation_state (schema_name, relation_name)
SELECT r.schema_name, r.relation_name
FROM ledgerviews.relation AS r
WHERE r.kind = 'materialized view';

CREATE FUNCTION ledgerviews.refuse_undated(begins text, rollup oid, day_column text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_type text;
BEGIN
    SELECT pg_catalog.format_type(a.atttypid, NULL) INTO v_type
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = rollup AND a.attname = day_column AND NOT a.attisdropped
        AND a.atttypid <> 'date'::pg_catalog.regtype;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'datatype_mismatch',
            MESSAGE = pg_catalog.format('%s day column %s is of type %s, and must be a date.', begins, day_column, v_type),
            HINT = 'Have its SELECT give a date, as ledgerviews.utc_day(...) does, or leave the day out.';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.refuse_undated(text, oid, text) IS
'Raise an error where the day of a rollup is no date: it could be filled, and never be refreshed.';

CREATE FUNCTION ledgerviews.relation_added() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NEW.rollup IS NOT NULL THEN
        PERFORM ledgerviews.refuse_undated(
            NEW.schema_name || '.' || NEW.relation_name || ': its',
            pg_catalog.to_regclass('ledgerviews.' || pg_catalog.quote_ident(NEW.rollup)), NEW.day_column);
    END IF;
    IF NEW.kind = 'materialized view' THEN
        INSERT INTO ledgerviews.relation_state (schema_name, relation_name) VALUES (NEW.schema_name, NEW.relation_name);
    END IF;
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION ledgerviews.relation_added() IS 'Begin the state of a materialized view with its registration.';
CREATE TRIGGER relation_added AFTER INSERT ON ledgerviews.relation
FOR EACH ROW EXECUTE FUNCTION ledgerviews.relation_added();

CREATE TABLE ledgerviews.relation_check (
    schema_name text NOT NULL,
    relation_name text NOT NULL,
    check_name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('not_null', 'unique', 'expression')),
    columns text[] NOT NULL DEFAULT '{}',
    expression text,
    severity text NOT NULL CHECK (severity IN ('error', 'warn')),
    PRIMARY KEY (schema_name, relation_name, check_name),
    FOREIGN KEY (schema_name, relation_name) REFERENCES ledgerviews.relation (schema_name, relation_name) ON DELETE CASCADE
);
CREATE FUNCTION ledgerviews.check_added() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_message text;
BEGIN
    UPDATE ledgerviews.relation_state AS t
    SET unchecked = true
    WHERE t.schema_name = NEW.schema_name AND t.relation_name = NEW.relation_name;
    IF NEW.kind = 'expression' AND (TG_OP = 'INSERT' OR NEW.expression IS DISTINCT FROM OLD.expression) THEN
        -- Asked of a view, so that it is read and bound, whether the relation is filled or not.
        EXECUTE pg_catalog.format(
            E'CREATE TEMPORARY VIEW ledgerviews_check AS SELECT m.* FROM %I.%I AS m WHERE NOT (%s\n)',
            NEW.schema_name, NEW.relation_name, NEW.expression);
        DROP VIEW pg_temp.ledgerviews_check;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT;
    RAISE EXCEPTION USING
        ERRCODE = SQLSTATE,
        MESSAGE = pg_catalog.format('Check %s of %s.%s: %s', NEW.check_name, NEW.schema_name, NEW.relation_name, v_message),
        HINT = 'An expression is one condition over the relation''s columns.';
END
$body$;
COMMENT ON FUNCTION ledgerviews.check_added() IS
'Refuse a check that could never be run when it is installed, not at each refresh; the next refresh runs it on all rows.';
CREATE TRIGGER check_added AFTER INSERT OR UPDATE ON ledgerviews.relation_check
FOR EACH ROW EXECUTE FUNCTION ledgerviews.check_added();
COMMENT ON TABLE ledgerviews.relation_check IS
'What must hold of a published materialized view; a failing error keeps the refresh from being published.';

-- The run log ---------------------------------------------------------------------------------------------

ALTER TABLE ledgerviews.run
    ADD COLUMN xid xid8,
    ADD COLUMN marked_at timestamptz,
    ADD COLUMN drift text,
    ADD COLUMN scrub_seconds double precision;
COMMENT ON COLUMN ledgerviews.run.xid IS 'The transaction that wrote this row first; marked_at is a moment before it got its number.';
COMMENT ON COLUMN ledgerviews.run.drift IS 'What the scrub found after the publication; NULL where all agreed.';
CREATE INDEX run_by_xid ON ledgerviews.run (xid) INCLUDE (marked_at);
CREATE INDEX run_by_start ON ledgerviews.run (started_at);
CREATE INDEX run_unfinished ON ledgerviews.run (run_id) WHERE state IN ('waiting', 'running');

ALTER TABLE ledgerviews.run_relation DROP CONSTRAINT run_relation_method_check;
ALTER TABLE ledgerviews.run_relation
    ADD CONSTRAINT run_relation_method_check CHECK (method IN ('concurrently', 'first fill', 'blocking', 'unchanged')),
    ADD COLUMN scope text NOT NULL DEFAULT 'all' CHECK (scope IN ('none', 'days', 'all')),
    ADD COLUMN days integer,
    ADD COLUMN reason text,
    ADD COLUMN recomputed_at timestamptz;
COMMENT ON COLUMN ledgerviews.run_relation.scope IS 'What was recomputed: none, days or all.';
COMMENT ON COLUMN ledgerviews.run_relation.days IS 'How many days were recomputed, those from the first open day on counted as one; NULL where not by day.';
COMMENT ON COLUMN ledgerviews.run_relation.reason IS 'Why that much.';
COMMENT ON COLUMN ledgerviews.run_relation.recomputed_at IS 'When the new rows were known; the view is refreshed from then on.';

CREATE TABLE ledgerviews.run_check (
    run_id bigint NOT NULL REFERENCES ledgerviews.run (run_id) ON DELETE CASCADE,
    schema_name text NOT NULL,
    relation_name text NOT NULL,
    check_name text NOT NULL,
    severity text NOT NULL,
    failed_rows bigint NOT NULL,
    sample jsonb NOT NULL,
    PRIMARY KEY (run_id, schema_name, relation_name, check_name)
);
COMMENT ON TABLE ledgerviews.run_check IS 'One row for each check that failed; sample holds up to ten of the rows.';

-- Version 1 left its operators to the caller's search_path.
DO $body$
BEGIN
    ALTER FUNCTION ledgerviews.json_salvage(json) SET search_path = pg_catalog, pg_temp;
END
$body$;

-- Gone with version 1's way of refreshing.
DROP PROCEDURE ledgerviews.refresh(text, text, boolean, boolean, bigint);
DROP PROCEDURE ledgerviews.refresh(text[], text, boolean, boolean, bigint);
DROP FUNCTION ledgerviews.source_of(oid[]);
DROP VIEW ledgerviews.materialized_view;
