-- The published relations of which something is taken off, because a table that they read is released.
SELECT DISTINCT
    o.schema_name,
    o.relation_name
FROM ledgerviews.released_object AS o
WHERE o.part IN ('relation', 'whole', 'days');
