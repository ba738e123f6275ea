-- Engine version 2: the published relations, and the plan of a refresh.

CREATE VIEW ledgerviews.materialized_view AS
WITH RECURSIVE managed AS (
    SELECT
        c.oid AS relation,
        r.schema_name,
        r.relation_name,
        r.rollup,
        c.relispopulated AS populated
    FROM ledgerviews.relation AS r
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema_name
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.relation_name AND c.relkind = 'm'
    WHERE r.kind = 'materialized view'
),

-- Base is all that lies between the relation and the next published materialized views.
reaches AS (
    SELECT
        m.relation,
        d.refobjid AS upstream,
        false AS beyond
    FROM managed AS m
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = m.relation
    JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.deptype = 'n'
        AND d.refobjid <> w.ev_class
    UNION
    SELECT
        p.relation,
        d.refobjid,
        p.beyond OR EXISTS (SELECT FROM managed AS u WHERE u.relation = p.upstream) AS beyond
    FROM reaches AS p
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = p.upstream
    JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.deptype = 'n'
        AND d.refobjid <> w.ev_class
)

SELECT
    m.relation,
    m.schema_name,
    m.relation_name,
    m.rollup,
    m.populated,
    ARRAY(
        SELECT DISTINCT u.relation
        FROM reaches AS p
        JOIN managed AS u ON u.relation = p.upstream
        WHERE p.relation = m.relation
        ORDER BY u.relation
    ) AS upstream,
    NOT EXISTS (
        SELECT
        FROM reaches AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = p.upstream
        WHERE p.relation = m.relation AND NOT p.beyond AND c.relkind <> 'v'
            AND NOT EXISTS (SELECT FROM managed AS u WHERE u.relation = p.upstream)
    ) AS follows,
    (
        SELECT i.indexrelid
        FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = m.relation
            AND i.indisunique AND i.indisvalid AND i.indimmediate
            AND i.indpred IS NULL AND i.indexprs IS NULL
        ORDER BY i.indnkeyatts, i.indexrelid
        LIMIT 1
    ) AS unique_index
FROM managed AS m;
COMMENT ON VIEW ledgerviews.materialized_view IS
'The published materialized views with all published ones that they read, at any depth, whether they read nothing else, and the index that CONCURRENTLY needs.';

CREATE FUNCTION ledgerviews.source_of(relations oid[]) RETURNS TABLE (source oid)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
WITH RECURSIVE reads AS (
    SELECT r.oid AS relation FROM pg_catalog.unnest(relations) AS r (oid)
    UNION
    SELECT n.relation
    FROM reads AS p
    CROSS JOIN LATERAL (
        SELECT d.refobjid
        FROM pg_catalog.pg_rewrite AS w
        JOIN pg_catalog.pg_depend AS d
            ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
            AND d.objid = w.oid
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        WHERE w.ev_class = p.relation
        UNION ALL
        -- What a rollup is computed from.
        SELECT c.oid
        FROM pg_catalog.pg_class AS t
        JOIN ledgerviews.relation AS r ON r.rollup = t.relname
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = t.relnamespace AND c.relname = r.rollup || '_whole'
        WHERE t.oid = p.relation AND t.relnamespace = 'ledgerviews'::pg_catalog.regnamespace
    ) AS n (relation)
),

parts AS (
    SELECT p.relation FROM reads AS p
    UNION
    SELECT i.inhrelid FROM parts AS a JOIN pg_catalog.pg_inherits AS i ON i.inhparent = a.relation
)

SELECT a.relation
FROM parts AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.relation
WHERE c.relkind = 'r' AND c.relfilenode <> 0 AND c.relnamespace <> 'ledgerviews'::pg_catalog.regnamespace;
END;
COMMENT ON FUNCTION ledgerviews.source_of(oid[]) IS
'The tables, partitions one by one, that the relations read at any depth, by way of rollups too.';

CREATE FUNCTION ledgerviews.wanted(relations text[], upstream boolean) RETURNS oid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_wanted oid[] := '{}'::oid[];
    v_found oid[];
    v_name text;
BEGIN
    IF relations IS NULL THEN
        SELECT pg_catalog.array_agg(m.relation) INTO v_wanted FROM ledgerviews.materialized_view AS m;
    ELSE
        FOREACH v_name IN ARRAY relations LOOP
            SELECT pg_catalog.array_agg(m.relation) INTO v_found
            FROM ledgerviews.materialized_view AS m
            WHERE v_name IN (m.relation_name, m.schema_name || '.' || m.relation_name);
            IF v_found IS NULL OR pg_catalog.cardinality(v_found) > 1 THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'undefined_table',
                    MESSAGE = CASE
                        WHEN v_found IS NULL THEN pg_catalog.format('%s is no published materialized view of this database.', v_name)
                        ELSE pg_catalog.format('%s is published in more than one schema.', v_name)
                    END,
                    HINT = COALESCE(
                        'Published here: ' || (
                            SELECT pg_catalog.string_agg(m.schema_name || '.' || m.relation_name, ', ' ORDER BY m.schema_name, m.relation_name)
                            FROM ledgerviews.materialized_view AS m
                        ) || '.',
                        'None is installed: run alembic upgrade head.');
            END IF;
            v_wanted := v_wanted || v_found;
        END LOOP;
        IF upstream THEN
            SELECT pg_catalog.array_agg(DISTINCT w.relation) INTO v_wanted
            FROM (
                SELECT pg_catalog.unnest(v_wanted) AS relation
                UNION
                SELECT pg_catalog.unnest(m.upstream) FROM ledgerviews.materialized_view AS m WHERE m.relation = ANY (v_wanted)
            ) AS w;
        END IF;
    END IF;

    SELECT pg_catalog.string_agg(m.schema_name || '.' || m.relation_name, ', ' ORDER BY m.schema_name, m.relation_name)
    INTO v_name
    FROM ledgerviews.materialized_view AS m
    WHERE m.relation = ANY (m.upstream);
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_recursion',
            MESSAGE = 'These materialized views read each other in a circle: ' || v_name || '.',
            HINT = 'Break the circle in the views between them.';
    END IF;

    SELECT pg_catalog.string_agg(r.schema_name || '.' || r.relation_name, ', ' ORDER BY r.schema_name, r.relation_name)
    INTO v_name
    FROM ledgerviews.relation AS r
    WHERE r.kind = 'materialized view'
        AND (wanted.relations IS NULL OR r.relation_name = ANY (wanted.relations) OR r.schema_name || '.' || r.relation_name = ANY (wanted.relations))
        AND NOT EXISTS (
            SELECT FROM ledgerviews.materialized_view AS m
            WHERE m.schema_name = r.schema_name AND m.relation_name = r.relation_name
        );
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_table',
            MESSAGE = 'Installed by a migration, but no longer a materialized view in this database: ' || v_name || '.',
            HINT = 'Downgrade to the revision before the one that creates it, and upgrade again; ledgerviews db history lists them.';
    END IF;
    RETURN v_wanted;
END
$body$;
COMMENT ON FUNCTION ledgerviews.wanted(text[], boolean) IS
'The materialized views that the names mean, NULL for all; with all that they read, where upstream says so.';

CREATE FUNCTION ledgerviews.open_since() RETURNS date
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
-- Whoever wrote what this snapshot does not show got a transaction number after all that it shows as ended, so
-- after that moment, too; and after our triggers were put on, which waits for all who write. A write is logged
-- unless its day was then not over yet. An hour for clocks that are set back.
SELECT COALESCE(
    (
        (
            GREATEST(
                (
                    SELECT r.marked_at
                    FROM ledgerviews.run AS r
                    WHERE r.xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())
                    ORDER BY r.xid DESC
                    LIMIT 1
                ),
                (SELECT pg_catalog.min(s.tracked_at) FROM ledgerviews.source AS s WHERE s.tracking = 'closed days')
            ) - interval '1 hour'
        ) AT TIME ZONE 'UTC'
    )::date,
    date '0001-01-01'
);
END;
COMMENT ON FUNCTION ledgerviews.open_since() IS
'The first day that a write unseen by this snapshot can have changed without a line in a log that tracks closed days.';

CREATE TYPE ledgerviews.step AS (
    position integer,
    relation oid,
    schema_name text,
    relation_name text,
    scope text,
    ranges datemultirange,
    days integer,
    reason text,
    tentative boolean
);
COMMENT ON TYPE ledgerviews.step IS 'What a refresh does to one relation: scope is none, days (those in ranges) or all; reason says why; tentative: only if what it reads changes.';

CREATE FUNCTION ledgerviews.reads_clock(relation oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
WITH RECURSIVE reads AS (
    SELECT reads_clock.relation
    UNION
    SELECT c.oid
    FROM reads AS p
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = p.relation
    JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid AND c.relkind = 'v'
),

rule AS MATERIALIZED (
    SELECT w.oid, w.ev_action::text AS tree
    FROM reads AS p
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = p.relation
)

SELECT EXISTS (
    SELECT FROM rule AS p
    CROSS JOIN LATERAL pg_catalog.regexp_matches(p.tree, ':(?:\w*funcid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS g (found)
    JOIN pg_catalog.pg_proc AS f ON f.oid = g.found[1]::oid
    WHERE f.provolatile = 'v'
        -- What a function of somebody's own reads is not known.
        OR f.provolatile = 's'
            AND f.pronamespace NOT IN ('pg_catalog'::pg_catalog.regnamespace, 'ledgerviews'::pg_catalog.regnamespace)
        OR f.oid IN (
            'pg_catalog.now()'::pg_catalog.regprocedure,
            'pg_catalog.transaction_timestamp()'::pg_catalog.regprocedure,
            'pg_catalog.statement_timestamp()'::pg_catalog.regprocedure,
            'pg_catalog.age(timestamp)'::pg_catalog.regprocedure,
            'pg_catalog.age(timestamptz)'::pg_catalog.regprocedure
        )
    UNION ALL
    SELECT FROM rule AS p WHERE p.tree ~ '\{SQLVALUEFUNCTION :op [0-8] |\{TABLESAMPLECLAUSE '
);
$body$;
COMMENT ON FUNCTION ledgerviews.reads_clock(oid) IS
'Whether what a relation shows may change though nothing that it reads does: it, or a view that it reads, asks for the time, or by chance.';

CREATE FUNCTION ledgerviews.plan(relations text[] DEFAULT NULL, mode text DEFAULT 'incremental', upstream boolean DEFAULT true)
RETURNS SETOF ledgerviews.step
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_wanted oid[] := ledgerviews.wanted(relations, upstream);
    v_moving oid[] := '{}'::oid[];
    v_mart record;
    v_step ledgerviews.step;
    v_open datemultirange;
    v_closed integer;
    v_all integer;
    v_dirty integer;
    v_clock boolean;
BEGIN
    -- Since engine version 3: somebody may have released a table while this waited.
    IF pg_catalog.to_regprocedure('ledgerviews.require_restored()') IS NOT NULL THEN
        PERFORM ledgerviews.require_restored();
    END IF;
    PERFORM ledgerviews.observe_sources();
    v_step.position := 0;
    -- One that reads more published views than another never comes before it.
    FOR v_mart IN
        WITH known AS MATERIALIZED (
            SELECT m.* FROM ledgerviews.materialized_view AS m
        )

        SELECT
            m.relation, m.schema_name, m.relation_name, m.rollup, m.populated, m.upstream, m.follows,
            r.day_column, t.dirty, t.followed, t.refreshed_at,
            COALESCE(
                t.rebuild,
                CASE WHEN m.rollup IS NOT NULL AND t.rollup_file IS DISTINCT FROM (
                    SELECT c.relfilenode FROM pg_catalog.pg_class AS c
                    WHERE c.oid = pg_catalog.to_regclass('ledgerviews.' || pg_catalog.quote_ident(m.rollup))
                ) THEN 'its rollup was emptied or rewritten' END,
                (
                    SELECT pg_catalog.string_agg(u.source, ', ' ORDER BY u.source) || ': its days are not told by op.ledgerviews_create_source'
                    FROM pg_catalog.unnest(r.sources) AS u (source)
                    WHERE NOT EXISTS (SELECT FROM ledgerviews.source AS s WHERE s.source = u.source)
                )
            ) AS rebuild,
            CASE WHEN EXISTS (
                SELECT FROM ledgerviews.source AS s
                WHERE s.source = ANY (r.sources) AND s.tracking = 'closed days'
            ) THEN t.open_from END AS open_from,
            (
                SELECT pg_catalog.sum(u.changes)
                FROM known AS k
                JOIN ledgerviews.relation_state AS u ON u.schema_name = k.schema_name AND u.relation_name = k.relation_name
                WHERE k.relation = ANY (m.upstream)
            ) AS upstream_changes,
            (
                SELECT pg_catalog.string_agg(k.schema_name || '.' || k.relation_name, ', ' ORDER BY k.schema_name, k.relation_name)
                FROM known AS k
                WHERE k.relation = ANY (m.upstream)
            ) AS upstream_names
        FROM known AS m
        JOIN ledgerviews.relation AS r ON r.schema_name = m.schema_name AND r.relation_name = m.relation_name
        JOIN ledgerviews.relation_state AS t ON t.schema_name = m.schema_name AND t.relation_name = m.relation_name
        WHERE m.relation = ANY (v_wanted)
        ORDER BY pg_catalog.cardinality(m.upstream), m.schema_name, m.relation_name
    LOOP
        v_step.position := v_step.position + 1;
        v_step.relation := v_mart.relation;
        v_step.schema_name := v_mart.schema_name;
        v_step.relation_name := v_mart.relation_name;
        v_step.scope := 'all';
        v_step.ranges := NULL;
        v_step.days := NULL;
        v_step.tentative := false;
        IF NOT v_mart.populated THEN
            v_step.reason := 'it was never filled';
        ELSIF mode = 'full' THEN
            v_step.reason := 'a full refresh was asked for';
        ELSIF v_mart.rollup IS NULL THEN
            IF NOT v_mart.follows OR pg_catalog.cardinality(v_mart.upstream) = 0 THEN
                v_step.reason := 'it declares no day';
            ELSIF v_mart.rebuild IS NOT NULL THEN
                v_step.reason := v_mart.rebuild;
            ELSIF v_mart.upstream && v_moving OR v_mart.followed IS DISTINCT FROM v_mart.upstream_changes THEN
                v_clock := ledgerviews.reads_clock(v_mart.relation);
                v_step.reason := 'it reads ' || v_mart.upstream_names || CASE WHEN v_clock THEN ', and the clock' ELSE '' END;
                v_step.tentative := mode <> 'blocking' AND NOT v_clock;
            ELSIF ledgerviews.reads_clock(v_mart.relation) THEN
                v_step.reason := 'it reads the clock';
            ELSE
                v_step.scope := 'none';
                v_step.reason := 'nothing that it reads changed';
            END IF;
        ELSIF v_mart.rebuild IS NOT NULL THEN
            v_step.reason := v_mart.rebuild;
        ELSE
            v_open := CASE
                WHEN v_mart.open_from IS NULL THEN '{}'
                ELSE pg_catalog.datemultirange(pg_catalog.daterange(v_mart.open_from, '10000-01-01'))
            END;
            SELECT COALESCE(pg_catalog.sum(pg_catalog.upper(d.days) - pg_catalog.lower(d.days)), 0) INTO v_closed
            FROM pg_catalog.unnest(v_mart.dirty - v_open) AS d (days);
            v_step.ranges := v_mart.dirty + v_open;
            v_step.days := v_closed + CASE WHEN v_mart.open_from IS NULL THEN 0 ELSE 1 END;
            IF pg_catalog.isempty(v_step.ranges) THEN
                v_step.scope := 'none';
                v_step.ranges := NULL;
                v_step.days := NULL;
                v_step.reason := 'nothing that it reads changed';
            ELSE
                v_step.scope := 'days';
                v_step.reason := pg_catalog.concat_ws(
                    ', and ',
                    CASE WHEN v_closed = 1 THEN '1 day changed' WHEN v_closed > 1 THEN v_closed || ' days changed' END,
                    'days from ' || v_mart.open_from || ' on are open'
                    || CASE
                        WHEN v_mart.open_from < (pg_catalog.now() AT TIME ZONE 'UTC')::date - 1
                            AND v_mart.refreshed_at > v_mart.open_from + interval '2 days'
                            THEN ', because a transaction of that time had not ended at the last refresh'
                        ELSE ''
                    END);
                -- Past two fifths of all days the whole is quicker than its days.
                IF v_closed > 7 OR v_mart.open_from < (pg_catalog.now() AT TIME ZONE 'UTC')::date - 7 THEN
                    EXECUTE pg_catalog.format(
                        'SELECT pg_catalog.count(DISTINCT t.%1$I), pg_catalog.count(DISTINCT t.%1$I) FILTER (WHERE t.%1$I <@ $1)'
                        ' FROM ledgerviews.%2$I AS t', v_mart.day_column, v_mart.rollup)
                    INTO v_all, v_dirty
                    USING v_step.ranges;
                    v_dirty := GREATEST(v_dirty, v_closed);
                    IF v_dirty * 5 > GREATEST(v_all, v_dirty) * 2 THEN
                        v_step.scope := 'all';
                        v_step.ranges := NULL;
                        v_step.days := NULL;
                        v_step.reason := pg_catalog.format('%s of %s days changed', v_dirty, GREATEST(v_all, v_dirty));
                    END IF;
                END IF;
            END IF;
        END IF;
        IF mode = 'blocking' AND v_step.scope = 'none' THEN
            v_step.reason := 'a blocking refresh was asked for';
        END IF;
        IF v_step.scope <> 'none' OR mode = 'blocking' THEN
            v_moving := v_moving || v_mart.relation;
        END IF;
        RETURN NEXT v_step;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION ledgerviews.plan(text[], text, boolean) IS
'What a refresh would do, in order. It empties the logs into relation_state, so a look at it alone must be rolled back.';
