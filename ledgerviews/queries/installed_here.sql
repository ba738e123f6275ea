-- The published relations that revisions counted in our own version table installed, whoever's they are.
SELECT
    r.schema_name,
    r.relation_name
FROM ledgerviews.relation AS r
WHERE
    COALESCE(pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(r), 'history'), %(history)s::text)
    = %(history)s::text
ORDER BY r.schema_name, r.relation_name;
