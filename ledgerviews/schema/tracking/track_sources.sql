-- Put the triggers on, where the role may: only an owner can have them fire ALWAYS.
DO $body$
DECLARE
    v_own text[];
    v_foreign text;
BEGIN
    SELECT
        pg_catalog.array_agg(s.source) FILTER (WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE')),
        pg_catalog.string_agg(s.source, ' and ' ORDER BY s.source) FILTER (WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE'))
    INTO v_own, v_foreign
    FROM ledgerviews.source AS s
    JOIN pg_catalog.pg_class AS c
        ON c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', s.schema_name, s.table_name))
    WHERE s.source = ANY ({sources});
    IF v_foreign IS NOT NULL THEN
        RAISE WARNING 'Of another role, so that no trigger tracks writes and each refresh scans: %.', v_foreign
            USING HINT = 'Run ledgerviews tracking install as a member of its owner.';
    END IF;
    IF v_own IS NOT NULL THEN
        -- Since engine version 3.
        IF pg_catalog.to_regprocedure('ledgerviews.follow_renames()') IS NOT NULL THEN
            PERFORM ledgerviews.follow_renames();
        END IF;
        PERFORM ledgerviews.track(v_own, {tracking});
    END IF;
END
$body$;
