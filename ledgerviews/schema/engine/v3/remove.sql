-- Takes engine version 3 back to 2.
DROP FUNCTION ledgerviews.captured_function(oid);
DROP FUNCTION ledgerviews.captured(oid, text, text);
DROP FUNCTION ledgerviews.grants(aclitem[], oid, text);
DROP FUNCTION ledgerviews.clear_grants(regprocedure);
DROP FUNCTION ledgerviews.clear_grants(regclass);
DROP FUNCTION ledgerviews.run_as(name, text);
DROP FUNCTION ledgerviews.dependents(oid[]);
DROP FUNCTION ledgerviews.moved(text, jsonb);
DROP FUNCTION ledgerviews.tokens(text);
DROP FUNCTION ledgerviews.printed_days(text, text);
DROP FUNCTION ledgerviews.printed(text, text);
ALTER TABLE ledgerviews.relation
    DROP COLUMN body,
    DROP COLUMN day_body,
    DROP COLUMN printed,
    DROP COLUMN printed_days,
    DROP COLUMN declared;
UPDATE ledgerviews.engine SET version = 2, installed_at = pg_catalog.now();
