-- Engine version 1: what refreshes. Split from install.sql, which runs before it; version 2 replaces this part.

-- Refreshing ----------------------------------------------------------------------------------------------

CREATE VIEW ledgerviews.materialized_view AS
WITH RECURSIVE managed AS (
    SELECT
        c.oid AS relation,
        r.schema_name,
        r.relation_name,
        c.relispopulated AS populated
    FROM ledgerviews.relation AS r
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema_name
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.relation_name AND c.relkind = 'm'
    WHERE r.kind = 'materialized view'
),

reads AS (
    SELECT DISTINCT
        w.ev_class AS relation,
        d.refobjid AS upstream
    FROM pg_catalog.pg_rewrite AS w
    JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.deptype = 'n'
        AND d.refobjid <> w.ev_class
),

reaches AS (
    SELECT
        m.relation,
        s.upstream
    FROM managed AS m
    JOIN reads AS s ON s.relation = m.relation
    UNION
    SELECT
        p.relation,
        s.upstream
    FROM reaches AS p
    JOIN reads AS s ON s.relation = p.upstream
)

SELECT
    m.relation,
    m.schema_name,
    m.relation_name,
    m.populated,
    ARRAY(
        SELECT u.relation
        FROM reaches AS p
        JOIN managed AS u ON u.relation = p.upstream
        WHERE p.relation = m.relation
        ORDER BY u.relation
    ) AS upstream,
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
'The published materialized views with all published ones that they read, at any depth, and the index that CONCURRENTLY needs.';

CREATE FUNCTION ledgerviews.source_of(relations oid[]) RETURNS TABLE (source oid)
LANGUAGE sql STABLE
BEGIN ATOMIC
WITH RECURSIVE reads AS (
    SELECT r.oid AS relation FROM pg_catalog.unnest(relations) AS r (oid)
    UNION
    SELECT d.refobjid
    FROM reads AS p
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = p.relation
    JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
),

parts AS (
    SELECT p.relation FROM reads AS p
    UNION
    SELECT i.inhrelid FROM parts AS a JOIN pg_catalog.pg_inherits AS i ON i.inhparent = a.relation
)

SELECT a.relation
FROM parts AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.relation
WHERE c.relkind = 'r' AND c.relfilenode <> 0;
END;
COMMENT ON FUNCTION ledgerviews.source_of(oid[]) IS
'The tables, partitions one by one, that the relations read at any depth.';

CREATE PROCEDURE ledgerviews.refresh(
    IN relations text[] DEFAULT NULL,
    IN mode text DEFAULT 'concurrently',
    IN upstream boolean DEFAULT true,
    IN wait boolean DEFAULT true,
    INOUT run_id bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $body$
DECLARE
    v_name text;
    v_found oid[];
    v_wanted oid[];
    v_mart record;
    v_key text;
    v_method text;
    v_started timestamptz;
    v_position integer;
    v_attempt integer := 1;
    v_total integer;
    v_before bigint;
    v_after bigint;
    v_inserted bigint;
    v_updated bigint;
    v_written bigint;
    v_removed bigint;
    v_current text;
    v_state text;
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_hint text;
BEGIN
    -- A procedure with a SET clause could not COMMIT, so each transaction sets its own search_path: no operator
    -- or function that a session's path puts in front is ever called.
    SET LOCAL search_path = pg_catalog, pg_temp;
    IF mode IS NULL OR mode NOT IN ('concurrently', 'blocking') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('There is no refresh mode %L.', mode),
            HINT = 'The modes are concurrently and blocking.';
    END IF;

    -- A run that neither holds nor awaits the lock of a refresh has ended without a word. A process id may be
    -- another session's by now, which its start tells where this role may see it.
    UPDATE ledgerviews.run AS r
    SET state = 'crashed', finished_at = pg_catalog.clock_timestamp(), error = 'The session ended before the run did.'
    WHERE r.state IN ('waiting', 'running')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_locks AS l
            JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.relation = 'ledgerviews.refresh_lock'::pg_catalog.regclass
                AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
                AND l.pid = r.backend_pid
                AND (a.backend_start IS NULL OR r.backend_started_at IS NULL OR a.backend_start = r.backend_started_at)
        );
    INSERT INTO ledgerviews.run AS r (mode, requested, backend_started_at)
    SELECT refresh.mode, refresh.relations, a.backend_start
    FROM (SELECT) AS always
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = pg_catalog.pg_backend_pid()
    RETURNING r.run_id INTO run_id;
    COMMIT;
    SET LOCAL search_path = pg_catalog, pg_temp;

    -- Queue for the lock where its failure can be caught and written down.
    BEGIN
        IF wait THEN
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
        ELSE
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE NOWAIT;
        END IF;
        UPDATE ledgerviews.run AS r SET state = 'running' WHERE r.run_id = refresh.run_id;
    EXCEPTION WHEN OTHERS OR query_canceled THEN
        GET STACKED DIAGNOSTICS
            v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT,
            v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
        v_state := CASE v_sqlstate WHEN '57014' THEN 'cancelled' WHEN '55P03' THEN 'locked' ELSE 'failed' END;
    END;

    -- Take it again in the transaction of the refresh, before its snapshot; who came in between goes first.
    -- Nothing between COMMIT and LOCK TABLE may read: not even an IF, because PL/pgSQL takes a snapshot to
    -- plan its condition, nor a block with EXCEPTION, in which it takes one for every statement.
    WHILE v_state IS NULL LOOP
        IF wait THEN
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
            SET LOCAL search_path = pg_catalog, pg_temp;
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
        ELSE
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
            SET LOCAL search_path = pg_catalog, pg_temp;
            LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE NOWAIT;
        END IF;
        BEGIN
            SET LOCAL jit = off;

            SELECT pg_catalog.array_agg(m.relation) INTO v_wanted FROM ledgerviews.materialized_view AS m;
            IF relations IS NOT NULL THEN
                v_wanted := ARRAY[]::oid[];
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
                AND (refresh.relations IS NULL OR r.relation_name = ANY (refresh.relations) OR r.schema_name || '.' || r.relation_name = ANY (refresh.relations))
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

            v_total := pg_catalog.cardinality(v_wanted);
            v_position := 0;
            -- One that reads more published views than another never comes before it.
            FOR v_mart IN
                SELECT m.*
                FROM ledgerviews.materialized_view AS m
                WHERE m.relation = ANY (v_wanted)
                ORDER BY pg_catalog.cardinality(m.upstream), m.schema_name, m.relation_name
            LOOP
                v_position := v_position + 1;
                v_current := v_mart.schema_name || '.' || v_mart.relation_name;
                v_started := pg_catalog.clock_timestamp();
                IF v_mart.unique_index IS NULL AND mode = 'concurrently' THEN
                    RAISE EXCEPTION USING
                        ERRCODE = 'object_not_in_prerequisite_state',
                        MESSAGE = 'Cannot refresh ' || v_current || ' concurrently: it has no unique index on columns only.',
                        HINT = COALESCE(
                            'Run ' || (
                                SELECT pg_catalog.format('CREATE UNIQUE INDEX ON %I.%I (', r.schema_name, r.relation_name)
                                    || pg_catalog.string_agg(pg_catalog.quote_ident(k.name), ', ' ORDER BY k.ordinality)
                                    || ')'
                                FROM ledgerviews.relation AS r
                                CROSS JOIN LATERAL pg_catalog.unnest(r.unique_key) WITH ORDINALITY AS k (name, ordinality)
                                WHERE r.schema_name = v_mart.schema_name AND r.relation_name = v_mart.relation_name
                                GROUP BY r.schema_name, r.relation_name
                            ),
                            'Declare its grain and install the revision that says so'
                        ) || ', or pass --blocking (mode => ''blocking'').';
                END IF;
                v_method := CASE
                    WHEN NOT v_mart.populated THEN 'first fill'
                    WHEN mode = 'blocking' THEN 'blocking'
                    ELSE 'concurrently'
                END;
                RAISE NOTICE '[%/%] %: %', v_position, v_total, v_current,
                    CASE v_method
                        WHEN 'first fill' THEN 'first fill, by a plain REFRESH'
                        WHEN 'blocking' THEN 'REFRESH that blocks its readers'
                        ELSE 'REFRESH CONCURRENTLY'
                    END;

                -- Rows are told apart by the unique index's columns; without one (blocking only) by the whole row.
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.ordinality)
                INTO v_key
                FROM pg_catalog.pg_index AS i
                CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                WHERE i.indexrelid = v_mart.unique_index AND k.ordinality <= i.indnkeyatts;
                v_before := 0;
                IF pg_catalog.to_regclass('pg_temp.ledgerviews_before') IS NOT NULL THEN
                    DROP TABLE pg_temp.ledgerviews_before;
                END IF;
                IF v_mart.populated THEN
                    EXECUTE pg_catalog.format(
                        'CREATE TEMPORARY TABLE ledgerviews_before ON COMMIT DROP AS SELECT %s%s FROM %I.%I AS m',
                        COALESCE(v_key, 'ROW(m.*)::pg_catalog.text AS ledgerviews_whole'),
                        CASE WHEN v_method = 'blocking' THEN ', ROW(m.*)::pg_catalog.text AS ledgerviews_row' ELSE '' END,
                        v_mart.schema_name, v_mart.relation_name);
                    GET DIAGNOSTICS v_before = ROW_COUNT;
                END IF;
                v_written := pg_catalog.pg_stat_get_xact_tuples_inserted(v_mart.relation);
                v_removed := pg_catalog.pg_stat_get_xact_tuples_deleted(v_mart.relation);

                EXECUTE pg_catalog.format(
                    'REFRESH MATERIALIZED VIEW %s %I.%I',
                    CASE WHEN v_method = 'concurrently' THEN 'CONCURRENTLY' ELSE '' END,
                    v_mart.schema_name, v_mart.relation_name);

                EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %I.%I', v_mart.schema_name, v_mart.relation_name)
                INTO v_after;
                v_written := pg_catalog.pg_stat_get_xact_tuples_inserted(v_mart.relation) - v_written;
                v_removed := pg_catalog.pg_stat_get_xact_tuples_deleted(v_mart.relation) - v_removed;
                v_updated := 0;
                IF NOT v_mart.populated THEN
                    v_inserted := v_after;
                ELSIF v_method = 'concurrently' AND v_written = 0 AND v_removed = 0
                    AND pg_catalog.current_setting('track_counts')::boolean THEN
                    v_inserted := 0;
                ELSE
                    EXECUTE pg_catalog.format(
                        'SELECT pg_catalog.count(*) FILTER (WHERE o.ledgerviews_old IS NULL), %s '
                        'FROM (SELECT %s, ROW(m.*)::pg_catalog.text AS ledgerviews_row FROM %I.%I AS m) AS n '
                        'LEFT JOIN (SELECT *, true AS ledgerviews_old FROM pg_temp.ledgerviews_before) AS o USING (%s)',
                        CASE
                            WHEN v_method = 'blocking'
                                THEN 'pg_catalog.count(*) FILTER (WHERE o.ledgerviews_row <> n.ledgerviews_row)'
                            ELSE 'NULL::bigint'
                        END,
                        COALESCE(v_key, 'ROW(m.*)::pg_catalog.text AS ledgerviews_whole'),
                        v_mart.schema_name, v_mart.relation_name,
                        COALESCE(v_key, 'ledgerviews_whole'))
                    INTO v_inserted, v_updated;
                    IF v_method = 'concurrently' AND pg_catalog.current_setting('track_counts')::boolean THEN
                        v_updated := v_written - v_inserted;
                    END IF;
                END IF;
                INSERT INTO ledgerviews.run_relation (
                    run_id, position, schema_name, relation_name, method, started_at, finished_at,
                    rows_before, rows_after, rows_inserted, rows_updated, rows_deleted
                ) VALUES (
                    refresh.run_id, v_position, v_mart.schema_name, v_mart.relation_name, v_method,
                    v_started, pg_catalog.clock_timestamp(),
                    v_before, v_after, v_inserted, v_updated, v_before - (v_after - v_inserted)
                );
                IF v_mart.populated THEN
                    DROP TABLE pg_temp.ledgerviews_before;
                END IF;
            END LOOP;
            v_current := NULL;

            -- TRUNCATE and a rewriting ALTER TABLE hide rows from a snapshot that was taken before them. The
            -- catalog's cache knows the file of now, the snapshot that of then.
            SELECT pg_catalog.string_agg(s.source::pg_catalog.regclass::text, ', ') INTO v_name
            FROM ledgerviews.source_of(v_wanted) AS s
            JOIN pg_catalog.pg_class AS c ON c.oid = s.source
            WHERE pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode;
            IF v_name IS NOT NULL THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'serialization_failure',
                    MESSAGE = 'Truncated or rewritten while it was read: ' || v_name || '.',
                    HINT = 'Run the refresh again.';
            END IF;
            UPDATE ledgerviews.run AS r
            SET state = 'succeeded', finished_at = pg_catalog.clock_timestamp()
            WHERE r.run_id = refresh.run_id;
        EXCEPTION WHEN OTHERS OR query_canceled THEN
            GET STACKED DIAGNOSTICS
                v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT,
                v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            v_state := CASE v_sqlstate WHEN '57014' THEN 'cancelled' ELSE 'failed' END;
        END;
        IF v_state IS NULL THEN
            COMMIT;
            RETURN;
        END IF;
        ROLLBACK;
        SET LOCAL search_path = pg_catalog, pg_temp;
        -- Somebody refreshed one of them by hand, or rewrote a source, after our snapshot, or we were the victim
        -- of a deadlock: once more, from a new snapshot. A duplicate key is a row that it did not show.
        IF v_sqlstate IN ('40001', '40P01', '23505') AND v_attempt < 3 THEN
            RAISE NOTICE 'Beginning again: %', v_message;
            v_attempt := v_attempt + 1;
            v_state := NULL;
        END IF;
    END LOOP;

    UPDATE ledgerviews.run AS r
    SET state = v_state, finished_at = pg_catalog.clock_timestamp(),
        sqlstate = v_sqlstate, error = v_message, failed_relation = v_current
    WHERE r.run_id = refresh.run_id;
    COMMIT;
    SET LOCAL search_path = pg_catalog, pg_temp;
    IF v_state = 'locked' AND NOT wait THEN
        v_message := 'Another refresh is running.';
        v_hint := 'Wait for it (--wait), or look at it: ledgerviews status.';
    ELSIF v_state = 'locked' THEN
        v_message := 'Another refresh is running, and the lock time-out passed.';
        v_hint := 'Raise the lock time-out, or look at it: ledgerviews status.';
    ELSIF v_current IS NOT NULL AND pg_catalog.strpos(v_message, v_current) = 0 THEN
        v_message := 'Refreshing ' || v_current || ': ' || v_message;
    END IF;
    -- psql shows an empty DETAIL or HINT as a line of its own.
    IF v_detail <> '' AND v_hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message, DETAIL = v_detail, HINT = v_hint;
    ELSIF v_detail <> '' THEN
        RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message, DETAIL = v_detail;
    ELSIF v_hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message, HINT = v_hint;
    END IF;
    RAISE EXCEPTION USING ERRCODE = v_sqlstate, MESSAGE = v_message;
END
$body$;
COMMENT ON PROCEDURE ledgerviews.refresh(text[], text, boolean, boolean, bigint) IS
'Refresh the published materialized views in one transaction and one snapshot; call it outside a transaction block. '
'relations: names, NULL for all; mode: concurrently or blocking; upstream: take along what they read; wait: for a running refresh.';

CREATE PROCEDURE ledgerviews.refresh(
    IN relation text,
    IN mode text DEFAULT 'concurrently',
    IN upstream boolean DEFAULT true,
    IN wait boolean DEFAULT true,
    INOUT run_id bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $body$
BEGIN
    CALL ledgerviews.refresh(ARRAY[relation], mode, upstream, wait, run_id);
END
$body$;
COMMENT ON PROCEDURE ledgerviews.refresh(text, text, boolean, boolean, bigint) IS
'Refresh one published materialized view and what it reads, in one transaction and one snapshot.';
