-- Takes engine version 2 back to 1, whose refresh.sql runs after this. RESTRICT throughout: what still uses it
-- stops the downgrade by name.
DROP FUNCTION ledgerviews.grant_refresh(name);
DROP FUNCTION ledgerviews.grant_read(name);
DROP FUNCTION IF EXISTS ledgerviews.grant_usage(name, text);
DROP FUNCTION IF EXISTS ledgerviews.require_grantor(text, oid, boolean);
DROP FUNCTION ledgerviews.require_role(name);
DROP FUNCTION ledgerviews.take_up(text, text);
DROP FUNCTION ledgerviews.set_aside(text, text);
DROP PROCEDURE ledgerviews.refresh(text, text, boolean, boolean, boolean, bigint);
DROP PROCEDURE ledgerviews.refresh(text[], text, boolean, boolean, boolean, bigint);
DROP FUNCTION ledgerviews.conclude(bigint, oid[]);
DROP FUNCTION IF EXISTS ledgerviews.refuse_rewritten(oid[]);
DROP FUNCTION IF EXISTS ledgerviews.rows_hidden(oid);
DROP FUNCTION ledgerviews.scrub(bigint);
DROP FUNCTION ledgerviews.scrub_relation(text, text);
DROP FUNCTION ledgerviews.pending(text, text);
DROP FUNCTION ledgerviews.verify(ledgerviews.step[]);
DROP FUNCTION ledgerviews.verify_relation(ledgerviews.step);
DROP FUNCTION ledgerviews.compare(text, text);
DROP FUNCTION ledgerviews.check_relation(bigint, ledgerviews.step);
DROP FUNCTION ledgerviews.upstream_changes(oid[]);
DROP FUNCTION ledgerviews.publish(bigint, ledgerviews.step, integer, text, date);
DROP FUNCTION ledgerviews.last_took(text, text);
DROP FUNCTION ledgerviews.recompute(text, text, text, datemultirange);
DROP FUNCTION IF EXISTS ledgerviews.refuse_other_days(text, text);
DROP FUNCTION IF EXISTS ledgerviews.refuse_difference(text, date, date, text, text);
DROP FUNCTION ledgerviews.apply(text, text, datemultirange);
DROP TYPE ledgerviews.difference;
DROP FUNCTION ledgerviews.key_condition(text[], text, text);
DROP FUNCTION ledgerviews.indexed(text[]);
DROP FUNCTION ledgerviews.drop_temporary(text);
DROP FUNCTION ledgerviews.fill(text, date, date, boolean);
DROP FUNCTION ledgerviews.fill_nested(text, date, date);
DROP FUNCTION ledgerviews.plan(text[], text, boolean);
DROP FUNCTION IF EXISTS ledgerviews.reads_clock(oid);
DROP TYPE ledgerviews.step;
DROP FUNCTION ledgerviews.open_since();
DROP FUNCTION ledgerviews.wanted(text[], boolean);
DROP FUNCTION ledgerviews.source_of(oid[]);
DROP VIEW ledgerviews.materialized_view;
DROP FUNCTION ledgerviews.observe_sources();
DROP FUNCTION ledgerviews.must_recompute(text, datemultirange, text);
DROP FUNCTION ledgerviews.doubt(jsonb, jsonb);
DROP FUNCTION ledgerviews.enable_always(oid);
DROP FUNCTION ledgerviews.untrack(text, integer);
DROP FUNCTION ledgerviews.track(text, text, integer);
DROP FUNCTION ledgerviews.track(text[], text, integer);
DROP FUNCTION ledgerviews.attach(text, text);
DROP FUNCTION IF EXISTS ledgerviews.write_trigger(text);
DROP FUNCTION IF EXISTS ledgerviews.stands_on(oid, oid);
DROP FUNCTION IF EXISTS ledgerviews.base_type(oid);
DROP FUNCTION IF EXISTS ledgerviews.same_type(text, text, text);
DROP FUNCTION ledgerviews.detach(text);
DROP FUNCTION ledgerviews.missing_indexes(text);
DROP VIEW ledgerviews.source_now;
DROP FUNCTION IF EXISTS ledgerviews.source_columns();
DROP TABLE ledgerviews.run_check;
-- Version 1 knows no run that left a relation as it was, and other words for the modes.
DELETE FROM ledgerviews.run_relation WHERE method = 'unchanged';
UPDATE ledgerviews.run SET mode = 'concurrently' WHERE mode <> 'blocking';
ALTER TABLE ledgerviews.run_relation
    DROP CONSTRAINT run_relation_method_check,
    DROP COLUMN scope,
    DROP COLUMN days,
    DROP COLUMN reason,
    DROP COLUMN recomputed_at;
ALTER TABLE ledgerviews.run_relation
    ADD CONSTRAINT run_relation_method_check CHECK (method IN ('concurrently', 'first fill', 'blocking'));
DROP INDEX ledgerviews.run_unfinished;
DROP INDEX ledgerviews.run_by_start;
DROP INDEX ledgerviews.run_by_xid;
ALTER TABLE ledgerviews.run
    DROP COLUMN xid,
    DROP COLUMN marked_at,
    DROP COLUMN drift,
    DROP COLUMN scrub_seconds;
DROP TABLE ledgerviews.relation_check;
DROP FUNCTION ledgerviews.check_added();
DROP TRIGGER relation_added ON ledgerviews.relation;
DROP FUNCTION ledgerviews.relation_added();
DROP FUNCTION IF EXISTS ledgerviews.refuse_undated(text, oid, text);
DROP TABLE ledgerviews.relation_state;
ALTER TABLE ledgerviews.relation
    DROP COLUMN day_column,
    DROP COLUMN rollup,
    DROP COLUMN sources,
    DROP COLUMN day_definition;
DROP TABLE ledgerviews.source_day;
DROP TABLE ledgerviews.source;
ALTER FUNCTION ledgerviews.json_salvage(json) RESET search_path;
ALTER TABLE ledgerviews.engine DROP COLUMN keep_runs;
UPDATE ledgerviews.engine SET version = 1, installed_at = pg_catalog.now();
