-- The version of the installed engine.
SELECT e.version FROM ledgerviews.engine AS e;
