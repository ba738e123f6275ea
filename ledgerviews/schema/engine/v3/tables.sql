-- Engine version 3: what the registry keeps so that a relation can be compared, replaced and released. Frozen.

UPDATE ledgerviews.engine SET version = 3, installed_at = pg_catalog.now();

ALTER TABLE ledgerviews.engine ADD COLUMN printed jsonb;
COMMENT ON COLUMN ledgerviews.engine.printed IS
'Of each function whose body PostgreSQL keeps parsed, a digest of what was printed of it right after it was installed.';

ALTER TABLE ledgerviews.relation
    ADD COLUMN body text,
    ADD COLUMN day_body text,
    ADD COLUMN printed text,
    ADD COLUMN printed_days text,
    ADD COLUMN declared jsonb NOT NULL DEFAULT '{}',
    -- What stands is taken for that of whoever brings the engine to this version.
    ADD COLUMN history text DEFAULT NULLIF(pg_catalog.current_setting('ledgerviews.history', true), '');
COMMENT ON COLUMN ledgerviews.relation.body IS
'The SELECT as it was run, with the names of where it was installed; line by line the definition. NULL where nobody knows.';
COMMENT ON COLUMN ledgerviews.relation.day_body IS 'The same of the SELECT of single days.';
COMMENT ON COLUMN ledgerviews.relation.printed IS
'What ledgerviews.printed said right after it was installed: while it says the same, the relation is as it was installed.';
COMMENT ON COLUMN ledgerviews.relation.printed_days IS 'The same of the function of single days.';
COMMENT ON COLUMN ledgerviews.relation.declared IS
'The indexes, grants, options and owner that were declared when it was installed; what is not declared is left alone.';
COMMENT ON COLUMN ledgerviews.relation.history IS
'The version table of the history of revisions that installed it: no other one proposes to drop it. NULL where nobody knows.';

CREATE TABLE ledgerviews.unrefreshed (
    schema_name text NOT NULL,
    relation_name text NOT NULL,
    definition text NOT NULL,
    printed text,
    declared jsonb NOT NULL DEFAULT '{}',
    history text DEFAULT NULLIF(pg_catalog.current_setting('ledgerviews.history', true), ''),
    PRIMARY KEY (schema_name, relation_name)
);
COMMENT ON TABLE ledgerviews.unrefreshed IS
'The materialized views that revisions installed without a key: no refresh of ours renews them. As in relation.';

CREATE FUNCTION ledgerviews.printed(schema_name text, relation_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
BEGIN ATOMIC
SELECT pg_catalog.pg_get_viewdef(
    COALESCE(
        (
            SELECT pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', r.rollup || '_whole'))
            FROM ledgerviews.relation AS r
            WHERE r.schema_name = printed.schema_name AND r.relation_name = printed.relation_name AND r.rollup IS NOT NULL
        ),
        pg_catalog.to_regclass(pg_catalog.format('%I.%I', printed.schema_name, printed.relation_name))
    ),
    false
);
END;
COMMENT ON FUNCTION ledgerviews.printed(text, text) IS
'The SELECT of a published relation as PostgreSQL prints it: of all its rows, where it is computed by day.';

CREATE FUNCTION ledgerviews.printed_days(schema_name text, relation_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
BEGIN ATOMIC
SELECT pg_catalog.pg_get_functiondef(
    pg_catalog.to_regprocedure(
        pg_catalog.format('ledgerviews.%I(pg_catalog.date, pg_catalog.date)', r.rollup || '_days'))
)
FROM ledgerviews.relation AS r
WHERE r.schema_name = printed_days.schema_name AND r.relation_name = printed_days.relation_name AND r.rollup IS NOT NULL;
END;
COMMENT ON FUNCTION ledgerviews.printed_days(text, text) IS 'The function of single days as PostgreSQL prints it; NULL where there is none.';

-- Models are written against public, so there the text that was run is the text as it was written.
UPDATE ledgerviews.relation AS r
SET body = CASE WHEN r.schema_name = 'public' THEN r.definition END,
    day_body = CASE WHEN r.schema_name = 'public' THEN r.day_definition END,
    printed = ledgerviews.printed(r.schema_name, r.relation_name),
    printed_days = ledgerviews.printed_days(r.schema_name, r.relation_name);
