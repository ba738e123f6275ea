-- Engine version 3, replacing: what changes, what goes and all that depends on it, in order.

CREATE FUNCTION ledgerviews.enlist_part(staged ledgerviews.staged, part text, dropped boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_rollup text := staged.registered ->> 'rollup';
    v_was text := staged.rollup_was;
    v_schema text := CASE part WHEN 'relation' THEN staged.schema_name ELSE 'ledgerviews' END;
    v_suffix text := CASE part WHEN 'whole' THEN '_whole' WHEN 'days' THEN '_days' ELSE '' END;
    v_name text;
    v_old oid;
    v_kind text;
BEGIN
    IF part <> 'relation' AND (CASE WHEN dropped THEN v_was ELSE v_rollup END) IS NULL THEN
        RETURN;
    END IF;
    v_name := CASE
        WHEN part <> 'relation' THEN (CASE WHEN dropped THEN v_was ELSE v_rollup END) || v_suffix
        WHEN dropped THEN COALESCE(staged.renamed_from, staged.relation_name)
        ELSE staged.relation_name
    END;
    v_old := CASE part
        WHEN 'relation' THEN staged.stands
        WHEN 'days' THEN pg_catalog.to_regprocedure('ledgerviews.' || pg_catalog.quote_ident(v_was || '_days') || '(pg_catalog.date, pg_catalog.date)')::oid
        ELSE pg_catalog.to_regclass('ledgerviews.' || pg_catalog.quote_ident(v_was || v_suffix))::oid
    END;
    IF dropped AND v_old IS NULL THEN
        RETURN;
    END IF;
    v_kind := CASE part
        WHEN 'whole' THEN 'view'
        WHEN 'rollup' THEN 'table'
        WHEN 'days' THEN 'function'
        ELSE CASE
            WHEN dropped THEN (SELECT CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END FROM pg_catalog.pg_class AS c WHERE c.oid = v_old)
            ELSE staged.kind
        END
    END;
    INSERT INTO ledgerviews.member (
        key, schema_name, name, kind, staged_schema, staged_name, part, body, as_is, old, changed, action, reads, reads_oids
    ) VALUES (
        pg_catalog.format('%I.%I', v_schema, v_name), v_schema, v_name, v_kind, staged.schema_name, staged.relation_name, part,
        CASE part
            WHEN 'days' THEN staged.day_body
            WHEN 'relation' THEN COALESCE(staged.shown, staged.body)
            WHEN 'whole' THEN staged.body
        END,
        staged.as_is AND part = 'relation', v_old, NOT dropped, CASE WHEN dropped THEN 'drop' END,
        CASE
            WHEN dropped THEN '{}'
            WHEN part = 'whole' OR part = 'relation' AND v_rollup IS NULL THEN staged.reads
            WHEN part = 'rollup' THEN ARRAY['ledgerviews.' || pg_catalog.quote_ident(v_rollup || '_whole')]
            WHEN part = 'days' THEN staged.day_reads || ('ledgerviews.' || pg_catalog.quote_ident(v_rollup))
            ELSE ARRAY['ledgerviews.' || pg_catalog.quote_ident(v_rollup)]
        END,
        CASE
            WHEN dropped THEN '{}'
            WHEN part = 'whole' OR part = 'relation' AND v_rollup IS NULL THEN staged.reads_oids
            WHEN part = 'days' THEN staged.day_reads_oids
            ELSE '{}'
        END
    );
END
$body$;
COMMENT ON FUNCTION ledgerviews.enlist_part(ledgerviews.staged, text, boolean) IS
'Enlist a part of a staged relation: relation, rollup, whole or days; dropped: the part as it stands, to be dropped.';

CREATE FUNCTION ledgerviews.enlist_dependents() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_count bigint := 0;
    v_before bigint := -1;
BEGIN
    -- A rollup is computed by a view and a function; nothing in the catalog ties it to them.
    WHILE v_count <> v_before LOOP
        v_before := v_count;
        INSERT INTO ledgerviews.member (key, schema_name, name, kind, old)
        SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), n.nspname, c.relname,
            CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.oid
        FROM ledgerviews.dependents(ARRAY(
            SELECT m.old FROM ledgerviews.member AS m
            WHERE m.old IS NOT NULL AND m.kind <> 'function' AND m.action IS DISTINCT FROM 'drop')) AS d
        JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE d.kind = 'relation' AND NOT EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = d.objid);
        INSERT INTO ledgerviews.member (key, schema_name, name, kind, old)
        SELECT d.objid::pg_catalog.regprocedure::text, n.nspname, p.proname, 'function', p.oid
        FROM ledgerviews.dependents(ARRAY(
            SELECT m.old FROM ledgerviews.member AS m
            WHERE m.old IS NOT NULL AND m.kind <> 'function' AND m.action IS DISTINCT FROM 'drop')) AS d
        JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
        WHERE d.kind = 'function' AND NOT EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = d.objid);
        INSERT INTO ledgerviews.member (key, schema_name, name, kind, part, old)
        SELECT o.key, o.schema_name, o.name, o.kind, o.part, o.oid
        FROM (
            SELECT
                CASE p.part
                    WHEN 'days' THEN pg_catalog.to_regprocedure(pg_catalog.format('ledgerviews.%I(pg_catalog.date, pg_catalog.date)', r.rollup || '_days'))::text
                    WHEN 'relation' THEN pg_catalog.format('%I.%I', r.schema_name, r.relation_name)
                    WHEN 'rollup' THEN pg_catalog.format('ledgerviews.%I', r.rollup)
                    ELSE pg_catalog.format('ledgerviews.%I', r.rollup || '_whole')
                END AS key,
                CASE p.part WHEN 'relation' THEN r.schema_name ELSE 'ledgerviews' END AS schema_name,
                CASE p.part WHEN 'relation' THEN r.relation_name WHEN 'rollup' THEN r.rollup ELSE r.rollup || '_' || p.part END AS name,
                CASE p.part WHEN 'relation' THEN 'materialized view' WHEN 'rollup' THEN 'table' WHEN 'days' THEN 'function' ELSE 'view' END AS kind,
                p.part,
                CASE p.part
                    WHEN 'days' THEN pg_catalog.to_regprocedure(pg_catalog.format('ledgerviews.%I(pg_catalog.date, pg_catalog.date)', r.rollup || '_days'))::oid
                    WHEN 'relation' THEN pg_catalog.to_regclass(pg_catalog.format('%I.%I', r.schema_name, r.relation_name))::oid
                    WHEN 'rollup' THEN pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', r.rollup))::oid
                    ELSE pg_catalog.to_regclass(pg_catalog.format('ledgerviews.%I', r.rollup || '_whole'))::oid
                END AS oid
            FROM ledgerviews.relation AS r
            CROSS JOIN pg_catalog.unnest(ARRAY['whole', 'rollup', 'days', 'relation']) AS p (part)
            WHERE r.rollup IS NOT NULL
                AND EXISTS (
                    SELECT FROM ledgerviews.member AS m
                    WHERE m.schema_name = 'ledgerviews' AND m.staged_name IS NULL
                        AND m.name IN (r.rollup || '_whole', r.rollup || '_days', r.rollup)
                )
        ) AS o
        WHERE o.oid IS NOT NULL AND NOT EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = o.oid);
        SELECT pg_catalog.count(*) INTO v_count FROM ledgerviews.member AS m;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.enlist_dependents() IS 'Enlist all that depends on what changes, at any depth, ours or not.';

CREATE FUNCTION ledgerviews.enlist() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_staged ledgerviews.staged;
    v_part text;
    v_place integer := 0;
    v_moved bigint;
    v_name text;
    v_other text;
BEGIN
    -- What is only renamed has its old name while others are built on it: a text that would notice, for it qualifies
    -- columns by the new name or is run as it is, has it built anew.
    UPDATE ledgerviews.staged AS s
    SET change = 'rebuild'
    WHERE s.change = 'rename' AND EXISTS (
        SELECT
        FROM ledgerviews.staged AS o
        CROSS JOIN LATERAL (
            SELECT pg_catalog.replace(
                pg_catalog.concat_ws(E'\n', o.body, o.day_body),
                '"ledgerviews:next:' || pg_catalog.replace(s.schema_name, '"', '""') || '"."'
                || pg_catalog.replace(s.relation_name, '"', '""') || '"', E'\x01') AS text
        ) AS m
        WHERE o.change IN ('create', 'rebuild')
            AND pg_catalog.format('%I.%I', s.schema_name, s.relation_name) = ANY (o.reads || o.day_reads)
            AND (
                o.as_is
                OR m.text ~* (
                    '\x01\s*($|[-./,;)]|(on|using|where|join|cross|left|right|full|inner|natural|group|order|having|limit|offset'
                    '|fetch|for|union|except|intersect|window|tablesample)\M)')
                AND pg_catalog.strpos(
                    pg_catalog.lower(pg_catalog.translate(m.text, E'\x01" \n\t', '')),
                    pg_catalog.lower(pg_catalog.translate(s.relation_name, '" ', '')) || '.') > 0
            )
    );
    LOOP
        DELETE FROM ledgerviews.member;
        FOR v_staged IN
            SELECT s.* FROM ledgerviews.staged AS s WHERE s.change IN ('create', 'rebuild', 'drop') ORDER BY s.change, s.place
        LOOP
            FOREACH v_part IN ARRAY ARRAY['relation', 'whole', 'rollup', 'days'] LOOP
                IF v_staged.change <> 'drop' THEN
                    PERFORM ledgerviews.enlist_part(v_staged, v_part, false);
                END IF;
                IF v_staged.change = 'drop' OR v_part <> 'relation' AND v_staged.rollup_was IS NOT NULL AND NOT v_staged.registered ? 'rollup' THEN
                    PERFORM ledgerviews.enlist_part(v_staged, v_part, true);
                END IF;
            END LOOP;
        END LOOP;
        PERFORM ledgerviews.enlist_dependents();
        -- One that is renamed, and depends on what changes, is built anew under its new name.
        UPDATE ledgerviews.staged AS s
        SET change = 'rebuild'
        WHERE s.change = 'rename' AND EXISTS (SELECT FROM ledgerviews.member AS m WHERE m.old = s.stands);
        EXIT WHEN NOT FOUND;
    END LOOP;
    UPDATE ledgerviews.member AS m
    SET old_reads = ledgerviews.object_reads(
            CASE m.kind WHEN 'function' THEN 'pg_catalog.pg_proc'::pg_catalog.regclass ELSE 'pg_catalog.pg_class'::pg_catalog.regclass END, m.old),
        old_name = CASE m.kind
            WHEN 'function' THEN (SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) FROM pg_catalog.pg_proc AS p
                JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = m.old)
            ELSE (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = m.old)
        END
    WHERE m.old IS NOT NULL;
    UPDATE ledgerviews.member AS m
    SET reads_oids = m.old_reads,
        staged_schema = s.schema_name,
        staged_name = s.relation_name
    FROM ledgerviews.member AS o
    LEFT JOIN ledgerviews.staged AS s
        ON s.schema_name = o.schema_name AND s.relation_name = o.name AND s.change = 'none' AND o.kind <> 'function'
    WHERE o.key = m.key AND NOT m.changed AND m.action IS NULL;
    UPDATE ledgerviews.member AS m
    SET reads = ARRAY[pg_catalog.format('ledgerviews.%I', m.name || '_whole')]
    WHERE NOT m.changed AND m.action IS NULL AND m.part = 'rollup';

    -- Somebody else's relation on one that goes stops it, by name.
    SELECT x.key, pg_catalog.pg_describe_object(d.classid, d.objid, 0) INTO v_name, v_other
    FROM ledgerviews.member AS x
    CROSS JOIN LATERAL ledgerviews.dependents(ARRAY[x.old]) AS d
    WHERE x.action = 'drop' AND x.kind <> 'function' AND d.direct
        AND NOT EXISTS (
            SELECT FROM ledgerviews.member AS m
            WHERE m.old = d.objid AND (m.action = 'drop' OR m.changed AND NOT x.key = ANY (m.reads) AND NOT x.old = ANY (m.reads_oids))
        )
    ORDER BY 1, 2
    LIMIT 1;
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = pg_catalog.format('%s cannot be removed: %s depends on it; nothing was changed.', v_name, v_other),
            HINT = 'Drop it, or have it read something else, before this revision.';
    END IF;

    -- In the order of what is going to be, then in that of what is.
    LOOP
        v_place := v_place + 1;
        UPDATE ledgerviews.member AS m
        SET place = v_place
        WHERE m.place IS NULL
            AND NOT EXISTS (
                SELECT FROM ledgerviews.member AS n
                WHERE n.key <> m.key AND n.place IS NULL AND (n.key = ANY (m.reads) OR n.old = ANY (m.reads_oids) AND n.action IS NULL)
            );
        GET DIAGNOSTICS v_moved = ROW_COUNT;
        EXIT WHEN v_moved = 0;
    END LOOP;
    SELECT pg_catalog.string_agg(m.key, ', ' ORDER BY m.key) INTO v_name FROM ledgerviews.member AS m WHERE m.place IS NULL;
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_recursion',
            MESSAGE = 'These would read each other in a circle: ' || v_name || '; nothing was changed.',
            HINT = 'Break the circle in one of them.';
    END IF;
    v_place := 0;
    LOOP
        v_place := v_place + 1;
        UPDATE ledgerviews.member AS m
        SET old_place = v_place
        WHERE m.old_place IS NULL AND m.old IS NOT NULL
            AND NOT EXISTS (
                SELECT FROM ledgerviews.member AS n WHERE n.key <> m.key AND n.old_place IS NULL AND n.old = ANY (m.old_reads)
            );
        GET DIAGNOSTICS v_moved = ROW_COUNT;
        EXIT WHEN v_moved = 0;
    END LOOP;
    UPDATE ledgerviews.member AS m SET privileges = ledgerviews.privileges(m.old, m.kind) WHERE m.old IS NOT NULL;
END
$body$;
COMMENT ON FUNCTION ledgerviews.enlist() IS 'Enlist what changes, what goes, and all that depends on it, in order.';
