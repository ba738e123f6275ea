-- What the next refresh has to do about each relation, and what was verified when.
SELECT
    t.schema_name,
    t.relation_name,
    t.rebuild,
    t.refreshed_at,
    t.scrubbed_at,
    t.scrubbed_to
FROM ledgerviews.relation_state AS t;
