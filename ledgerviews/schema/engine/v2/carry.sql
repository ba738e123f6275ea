-- Engine version 2: keep the rows and grants of a materialized view over its replacement in one transaction.

CREATE FUNCTION ledgerviews.set_aside(schema_name text, relation_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_relation oid := pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema_name, relation_name));
BEGIN
    IF pg_catalog.to_regclass('pg_temp.ledgerviews_grants') IS NULL THEN
        CREATE TEMPORARY TABLE ledgerviews_grants (
            schema_name text, relation_name text, grantee oid, privilege text, grantable boolean
        ) ON COMMIT DROP;
    END IF;
    IF v_relation IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO pg_temp.ledgerviews_grants
    SELECT set_aside.schema_name, set_aside.relation_name, a.grantee, a.privilege_type, a.is_grantable
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
    WHERE c.oid = v_relation AND a.grantee <> c.relowner;
    IF (SELECT c.relispopulated FROM pg_catalog.pg_class AS c WHERE c.oid = v_relation) THEN
        EXECUTE pg_catalog.format(
            'CREATE TEMPORARY TABLE %I ON COMMIT DROP AS SELECT * FROM %I.%I',
            'ledgerviews_' || pg_catalog.md5(schema_name || '.' || relation_name), schema_name, relation_name);
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.set_aside(text, text) IS
'Keep the rows and grants of a materialized view that is dropped next, until the transaction ends.';

CREATE FUNCTION ledgerviews.take_up(schema_name text, relation_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_kept text := 'ledgerviews_' || pg_catalog.md5(schema_name || '.' || relation_name);
    v_rollup text;
    v_grant record;
    v_rows bigint := 0;
BEGIN
    IF pg_catalog.to_regclass('pg_temp.ledgerviews_grants') IS NULL THEN
        RETURN;
    END IF;
    SELECT r.rollup INTO v_rollup FROM ledgerviews.relation AS r
    WHERE r.schema_name = take_up.schema_name AND r.relation_name = take_up.relation_name;
    IF pg_catalog.to_regclass('pg_temp.' || pg_catalog.quote_ident(v_kept)) IS NOT NULL THEN
        IF v_rollup IS NOT NULL THEN
            EXECUTE pg_catalog.format('INSERT INTO ledgerviews.%I SELECT * FROM pg_temp.%I', v_rollup, v_kept);
            GET DIAGNOSTICS v_rows = ROW_COUNT;
            UPDATE ledgerviews.relation_state AS t SET row_count = v_rows
            WHERE t.schema_name = take_up.schema_name AND t.relation_name = take_up.relation_name;
        END IF;
        EXECUTE pg_catalog.format('REFRESH MATERIALIZED VIEW %I.%I', schema_name, relation_name);
        EXECUTE pg_catalog.format('DROP TABLE pg_temp.%I', v_kept);
    END IF;
    FOR v_grant IN
        SELECT g.privilege, g.grantable, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(o.rolname) END AS grantee
        FROM pg_temp.ledgerviews_grants AS g
        LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = g.grantee
        WHERE g.schema_name = take_up.schema_name AND g.relation_name = take_up.relation_name
            AND (g.grantee = 0 OR o.oid IS NOT NULL)
    LOOP
        EXECUTE pg_catalog.format(
            'GRANT %s ON %I.%I TO %s%s', v_grant.privilege, schema_name, relation_name, v_grant.grantee,
            CASE WHEN v_grant.grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.take_up(text, text) IS
'Give a materialized view that was created anew the rows and grants that ledgerviews.set_aside kept.';
