-- Engine version 2: what the roles need beside the owner.

CREATE FUNCTION ledgerviews.require_role(role name) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = role) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('There is no role %s.', role),
            HINT = pg_catalog.format('Create it: CREATE ROLE %I LOGIN.', role);
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.require_role(name) IS 'Raise an error that names the mend where there is no such role.';

-- PostgreSQL only warns where nothing was granted, and whoever granted would be told that it was.
CREATE FUNCTION ledgerviews.require_grantor(object text, owner oid, may boolean) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT (may OR pg_catalog.pg_has_role(owner, 'USAGE')) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_grantor',
            MESSAGE = pg_catalog.format('%s may not grant on %s, so nothing was granted.', CURRENT_USER, object),
            HINT = pg_catalog.format('Run it as %s, its owner.', pg_catalog.pg_get_userbyid(owner));
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.require_grantor(text, oid, boolean) IS
'Raise an error that names the owner where the current role neither is one nor may grant.';

CREATE FUNCTION ledgerviews.grant_usage(role name, schema_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_owner oid := (SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = grant_usage.schema_name);
    v_grant text := pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', schema_name, role);
BEGIN
    -- Whoever may not grant on the schema must not have to where the role may use it already.
    IF pg_catalog.has_schema_privilege(role, schema_name, 'USAGE') THEN
        RETURN;
    END IF;
    -- Its owner need not be who may grant all else.
    IF NOT (
        pg_catalog.pg_has_role(v_owner, 'USAGE') OR pg_catalog.has_schema_privilege(schema_name, 'USAGE WITH GRANT OPTION')
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_grantor',
            MESSAGE = pg_catalog.format('%s may not grant on schema %s, so nothing was granted.', CURRENT_USER, schema_name),
            HINT = pg_catalog.format(
                'Have %s, its owner, run %s; then run this again.', pg_catalog.pg_get_userbyid(v_owner), v_grant);
    END IF;
    EXECUTE v_grant;
END
$body$;
COMMENT ON FUNCTION ledgerviews.grant_usage(name, text) IS
'Let a role use a schema, or raise an error with the statement that does and who may run it.';

CREATE FUNCTION ledgerviews.grant_read(role name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_relation record;
BEGIN
    PERFORM ledgerviews.require_role(role);
    FOR v_relation IN
        SELECT r.schema_name, r.relation_name, c.oid, c.relowner
        FROM ledgerviews.relation AS r
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema_name
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.relation_name
        ORDER BY r.schema_name, r.relation_name
    LOOP
        PERFORM ledgerviews.grant_usage(role, v_relation.schema_name);
        PERFORM ledgerviews.require_grantor(
            v_relation.schema_name || '.' || v_relation.relation_name, v_relation.relowner,
            pg_catalog.has_table_privilege(v_relation.oid, 'SELECT WITH GRANT OPTION'));
        EXECUTE pg_catalog.format('GRANT SELECT ON %I.%I TO %I', v_relation.schema_name, v_relation.relation_name, role);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.grant_read(name) IS
'Let a role read the published relations, and nothing else; again after a revision that publishes more.';

CREATE FUNCTION ledgerviews.grant_refresh(role name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_owner name;
    v_owner_oid oid;
    v_relation record;
    v_name text;
BEGIN
    PERFORM ledgerviews.require_role(role);
    SELECT o.rolname, o.oid INTO v_owner, v_owner_oid
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
    WHERE c.oid = 'ledgerviews.relation'::pg_catalog.regclass;
    IF pg_catalog.pg_has_role(role, v_owner, 'USAGE') THEN
        RAISE NOTICE '% may refresh already: it is, or is a member of, the owner %.', role, v_owner;
        RETURN;
    END IF;
    IF pg_catalog.current_setting('server_version_num')::integer < 170000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format(
                'Before PostgreSQL 17 only an owner may refresh a materialized view, so nothing was granted to %s.', role),
            HINT = pg_catalog.format('Make it a member of the owner, which lets it do all that the owner may: GRANT %I TO %I.', v_owner, role);
    END IF;

    PERFORM ledgerviews.require_grantor('schema ledgerviews', v_owner_oid, false);
    IF NOT pg_catalog.has_database_privilege(role, pg_catalog.current_database(), 'TEMPORARY') THEN
        EXECUTE pg_catalog.format('GRANT TEMPORARY ON DATABASE %I TO %I', pg_catalog.current_database(), role);
    END IF;
    EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA ledgerviews TO %I', role);
    EXECUTE pg_catalog.format(
        'GRANT SELECT ON ledgerviews.engine, ledgerviews.relation, ledgerviews.relation_check, ledgerviews.source,'
        ' ledgerviews.source_day, ledgerviews.relation_state, ledgerviews.run, ledgerviews.run_relation, ledgerviews.run_check,'
        ' ledgerviews.source_now, ledgerviews.materialized_view TO %I', role);
    IF pg_catalog.to_regclass('ledgerviews.alembic_version') IS NOT NULL THEN
        EXECUTE pg_catalog.format('GRANT SELECT ON ledgerviews.alembic_version TO %I', role);
    END IF;
    IF pg_catalog.to_regclass('ledgerviews.unrefreshed') IS NOT NULL THEN
        EXECUTE pg_catalog.format('GRANT SELECT ON ledgerviews.unrefreshed TO %I', role);
    END IF;
    -- Column by column, so that nobody writes a run in another's name.
    EXECUTE pg_catalog.format(
        'GRANT DELETE, INSERT (mode, requested, backend_started_at, marked_at, xid),'
        ' UPDATE (state, finished_at, failed_relation, sqlstate, error, drift, scrub_seconds) ON ledgerviews.run TO %I', role);
    EXECUTE pg_catalog.format('GRANT INSERT ON ledgerviews.run_relation, ledgerviews.run_check TO %I', role);
    EXECUTE pg_catalog.format('GRANT UPDATE (seen) ON ledgerviews.source TO %I', role);
    EXECUTE pg_catalog.format('GRANT INSERT, UPDATE, DELETE ON ledgerviews.source_day TO %I', role);
    EXECUTE pg_catalog.format('GRANT UPDATE ON ledgerviews.relation_state TO %I', role);
    EXECUTE pg_catalog.format('GRANT MAINTAIN ON ledgerviews.refresh_lock TO %I', role);

    FOR v_relation IN
        SELECT m.schema_name, m.relation_name, m.rollup, c.relowner
        FROM ledgerviews.materialized_view AS m
        JOIN pg_catalog.pg_class AS c ON c.oid = m.relation
        ORDER BY m.schema_name, m.relation_name
    LOOP
        PERFORM ledgerviews.require_grantor(v_relation.schema_name || '.' || v_relation.relation_name, v_relation.relowner, false);
        PERFORM ledgerviews.grant_usage(role, v_relation.schema_name);
        EXECUTE pg_catalog.format('GRANT SELECT, MAINTAIN ON %I.%I TO %I', v_relation.schema_name, v_relation.relation_name, role);
        IF v_relation.rollup IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON ledgerviews.%I TO %I', v_relation.rollup, role);
            EXECUTE pg_catalog.format('GRANT SELECT ON ledgerviews.%I TO %I', v_relation.rollup || '_whole', role);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION ledgerviews.%I(date, date) TO %I', v_relation.rollup || '_days', role);
        END IF;
    END LOOP;
    FOR v_name IN SELECT s.stem FROM ledgerviews.source AS s ORDER BY s.stem LOOP
        EXECUTE pg_catalog.format(
            'GRANT EXECUTE ON FUNCTION ledgerviews.%I(boolean), ledgerviews.%I() TO %I', v_name || '_changed', v_name || '_scan', role);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.grant_refresh(name) IS
'Let a role refresh, from PostgreSQL 17 on, without reading the sources; again after a revision that publishes more.';
