-- Takes engine version 3 back to 2.
DO $body$
BEGIN
    IF EXISTS (SELECT FROM ledgerviews.released) THEN
        RAISE EXCEPTION 'A table is released.' USING HINT = 'Restore first: ledgerviews restore.';
    END IF;
END
$body$;
DROP TRIGGER refuse_released ON ledgerviews.run;
DROP FUNCTION ledgerviews.refuse_released();
DROP FUNCTION IF EXISTS ledgerviews.require_restored();
DROP FUNCTION ledgerviews.released_tables();
DROP FUNCTION ledgerviews.restore();
DROP FUNCTION ledgerviews.put_back(integer);
DROP FUNCTION ledgerviews.put_back_one(ledgerviews.released_object);
DROP FUNCTION ledgerviews.retype_rollup(integer, text, text);
DROP FUNCTION ledgerviews.retype_log(text, text);
DROP FUNCTION ledgerviews.line_of(text, text);
DROP FUNCTION ledgerviews.altered();
DROP FUNCTION ledgerviews.release(text[], integer);
DROP FUNCTION ledgerviews.take_off(integer, oid[], integer);
DROP FUNCTION ledgerviews.note_tracking(oid[]);
DROP FUNCTION ledgerviews.note_function(integer, integer, oid);
DROP FUNCTION ledgerviews.note_relation(integer, integer, oid);
DROP FUNCTION ledgerviews.table_columns(regclass);
DROP FUNCTION ledgerviews.refuse_uncarried(oid[]);
DROP TABLE ledgerviews.released_object;
DROP TABLE ledgerviews.released;
DROP FUNCTION ledgerviews.swap(boolean, integer, integer, text[], text, text[]);
DROP FUNCTION ledgerviews.follow_renames();
DROP FUNCTION ledgerviews.exchange(boolean);
DROP FUNCTION ledgerviews.drop_old(ledgerviews.member);
DROP FUNCTION ledgerviews.settle();
DROP FUNCTION ledgerviews.rename(ledgerviews.staged);
DROP FUNCTION ledgerviews.register_checks(ledgerviews.staged);
DROP FUNCTION ledgerviews.register(ledgerviews.staged);
DROP FUNCTION ledgerviews.build(boolean);
DROP FUNCTION ledgerviews.drop_kept();
DROP FUNCTION ledgerviews.hold(oid, text);
DROP FUNCTION ledgerviews.foresee();
DROP FUNCTION ledgerviews.decide();
DROP FUNCTION ledgerviews.build_member(ledgerviews.member, jsonb);
DROP FUNCTION IF EXISTS ledgerviews.refuse_built_days(ledgerviews.member);
DROP FUNCTION IF EXISTS ledgerviews.goes_back();
DROP FUNCTION ledgerviews.make_key(ledgerviews.staged, text);
DROP FUNCTION ledgerviews.listed(jsonb);
DROP FUNCTION ledgerviews.grant_defaults(ledgerviews.member);
DROP FUNCTION ledgerviews.hang(ledgerviews.member, boolean);
DROP FUNCTION ledgerviews.refused(ledgerviews.member, text, text, text, text);
DROP FUNCTION ledgerviews.enlist();
DROP FUNCTION ledgerviews.enlist_dependents();
DROP FUNCTION ledgerviews.enlist_part(ledgerviews.staged, text, boolean);
DROP FUNCTION ledgerviews.probed(text);
DROP FUNCTION ledgerviews.probe();
DROP FUNCTION ledgerviews.rollup_is_whole(oid, text, text[], text);
DROP FUNCTION ledgerviews.path_beside(text);
DROP FUNCTION ledgerviews.make_next(text);
DROP FUNCTION ledgerviews.columns_of(oid);
DROP FUNCTION ledgerviews.stage_drop(text, text);
DROP FUNCTION ledgerviews.stage(text, text, text, text, text, text, jsonb, text[], text[], text[], text, boolean, boolean);
DROP FUNCTION ledgerviews.replace_begin(text);
DROP FUNCTION ledgerviews.run_under(text, text);
DROP FUNCTION ledgerviews.finally(text);
DROP FUNCTION ledgerviews.resolved(text, boolean);
DROP FUNCTION ledgerviews.object_reads(oid, oid);
DROP FUNCTION ledgerviews.privileges_differ(jsonb, jsonb);
DROP FUNCTION ledgerviews.privileges(oid, text);
DROP FUNCTION ledgerviews.old_schema(text);
DROP FUNCTION ledgerviews.next_schema(text);
DROP TABLE ledgerviews.member;
DROP TABLE ledgerviews.staged;
DROP FUNCTION ledgerviews.captured_function(oid, text);
DROP FUNCTION ledgerviews.captured(oid, text, text);
DROP FUNCTION ledgerviews.grants(aclitem[], oid, text, aclitem[]);
DROP FUNCTION ledgerviews.clear_grants(regprocedure);
DROP FUNCTION ledgerviews.clear_grants(regclass);
DROP FUNCTION ledgerviews.run_as(name, text);
DROP FUNCTION ledgerviews.dependents(oid[]);
DROP FUNCTION ledgerviews.moved(text, jsonb);
DROP FUNCTION ledgerviews.tokens(text);
DROP FUNCTION ledgerviews.printed_days(text, text);
DROP FUNCTION ledgerviews.printed(text, text);
DROP TABLE ledgerviews.unrefreshed;
ALTER TABLE ledgerviews.relation
    DROP COLUMN body,
    DROP COLUMN day_body,
    DROP COLUMN printed,
    DROP COLUMN printed_days,
    DROP COLUMN declared,
    DROP COLUMN history;
ALTER TABLE ledgerviews.engine DROP COLUMN printed;
UPDATE ledgerviews.engine SET version = 2, installed_at = pg_catalog.now();
