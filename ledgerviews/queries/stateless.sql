-- The published materialized views whose entry in relation_state is gone, so that no refresh looks at them.
SELECT
    pg_catalog.string_agg(
        pg_catalog.quote_ident(r.schema_name) || '.' || pg_catalog.quote_ident(r.relation_name),
        ', ' ORDER BY r.schema_name, r.relation_name
    ) AS relations
FROM ledgerviews.relation AS r
LEFT JOIN ledgerviews.relation_state AS t
    ON r.schema_name = t.schema_name AND r.relation_name = t.relation_name
WHERE r.kind = 'materialized view' AND t.relation_name IS NULL;
