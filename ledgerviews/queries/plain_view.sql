-- The published plain view of a name, which may stand without its schema.
SELECT r.schema_name || '.' || r.relation_name AS relation
FROM ledgerviews.relation AS r
WHERE
    r.kind = 'view'
    AND %(name)s::text IN (r.relation_name, r.schema_name || '.' || r.relation_name)
ORDER BY relation;
