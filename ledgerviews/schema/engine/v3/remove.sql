-- Takes engine version 3 back to 2.
DROP FUNCTION ledgerviews.printed_days(text, text);
DROP FUNCTION ledgerviews.printed(text, text);
ALTER TABLE ledgerviews.relation
    DROP COLUMN body,
    DROP COLUMN day_body,
    DROP COLUMN printed,
    DROP COLUMN printed_days,
    DROP COLUMN declared;
UPDATE ledgerviews.engine SET version = 2, installed_at = pg_catalog.now();
