-- Put the triggers on, where the role may: only an owner can have them fire ALWAYS.
DO $body$
BEGIN
    IF (
        SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE')
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', {schema}, {name}))
    ) THEN
        PERFORM ledgerviews.track({source}, {tracking});
    ELSE
        RAISE WARNING '% belongs to another role, so no trigger tracks its writes: each refresh scans it.', {source}
            USING HINT = 'Run ledgerviews tracking install as a member of its owner.';
    END IF;
END
$body$;
