-- The tables that are released and not restored; NULL for none.
SELECT ledgerviews.released_tables();
