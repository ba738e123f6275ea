-- Engine version 2: the refresh: one transaction, one snapshot, one at a time.

CREATE FUNCTION ledgerviews.rows_hidden(relation oid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN pg_catalog.row_security_active(relation);
COMMENT ON FUNCTION ledgerviews.rows_hidden(oid) IS
'Whether a policy is applied now to what the engine''s owner reads of a table; the catalog''s cache says, not the snapshot.';

CREATE FUNCTION ledgerviews.refuse_rewritten(relations oid[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_name text;
    v_sources oid[];
BEGIN
    -- Where nothing was read, nothing could be hidden.
    IF relations = '{}' THEN
        RETURN;
    END IF;
    v_sources := ARRAY(SELECT s.source FROM ledgerviews.source_of(relations) AS s);
    -- TRUNCATE and a rewriting ALTER TABLE hide rows from a snapshot that was taken before them. The
    -- catalog's cache knows the file of now, the snapshot that of then.
    SELECT pg_catalog.string_agg(s.source::pg_catalog.regclass::text, ', ') INTO v_name
    FROM pg_catalog.unnest(v_sources) AS s (source)
    JOIN pg_catalog.pg_class AS c ON c.oid = s.source
    WHERE pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode;
    IF v_name IS NULL THEN
        -- A query reads the partitions of the catalog of now, so that two queries of one snapshot may read others.
        SELECT pg_catalog.string_agg(s.source, ', ') INTO v_name
        FROM ledgerviews.source AS s
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.schema_name
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = s.table_name AND c.relkind = 'p'
        WHERE ARRAY(SELECT p.relid::oid FROM pg_catalog.pg_partition_tree(c.oid) AS p ORDER BY 1) <> ARRAY(
            WITH RECURSIVE part AS (
                SELECT c.oid
                UNION ALL
                SELECT i.inhrelid FROM part AS p
                JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.oid AND NOT i.inhdetachpending
            )

            SELECT p.oid FROM part AS p ORDER BY 1
        );
        IF v_name IS NOT NULL THEN
            RAISE EXCEPTION USING
                ERRCODE = 'serialization_failure',
                MESSAGE = 'Given other partitions while it was read: ' || v_name || '.',
                HINT = 'Run the refresh again.';
        END IF;
        -- Whoever has read a table holds it, so what is so now was so then. OFFSET 0 keeps the question to these tables.
        SELECT pg_catalog.string_agg(h.source::pg_catalog.regclass::text, ', ') INTO v_name
        FROM (
            SELECT
                c.oid AS source,
                c.relrowsecurity AND NOT o.rolsuper AND NOT o.rolbypassrls
                    AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(o.oid, c.relowner, 'USAGE')) AS hidden
            FROM (
                SELECT u.source FROM pg_catalog.unnest(v_sources) AS u (source)
                UNION
                -- Of a partitioned table the policies are its own.
                SELECT c.oid
                FROM ledgerviews.source AS s
                JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.schema_name
                JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = s.table_name AND c.relkind = 'p'
            ) AS s
            JOIN pg_catalog.pg_class AS c ON c.oid = s.source
            JOIN pg_catalog.pg_class AS e ON e.oid = 'ledgerviews.source'::pg_catalog.regclass
            JOIN pg_catalog.pg_roles AS o ON o.oid = e.relowner
            OFFSET 0
        ) AS h
        WHERE ledgerviews.rows_hidden(h.source) <> h.hidden;
        IF v_name IS NOT NULL THEN
            RAISE EXCEPTION USING
                ERRCODE = 'serialization_failure',
                MESSAGE = 'Given other row level security while it was read: ' || v_name || '.',
                HINT = 'Run the refresh again.';
        END IF;
    END IF;
    IF v_name IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'serialization_failure',
            MESSAGE = 'Truncated or rewritten while it was read: ' || v_name || '.',
            HINT = 'Run the refresh again.';
    END IF;
END
$body$;
COMMENT ON FUNCTION ledgerviews.refuse_rewritten(oid[]) IS
'A serialization failure where a table that the relations read was truncated, rewritten, or given other partitions or row level security meanwhile.';

CREATE FUNCTION ledgerviews.conclude(run_id bigint, relations oid[]) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM ledgerviews.refuse_rewritten(relations);
    DELETE FROM ledgerviews.run AS r
    USING ledgerviews.engine AS e
    WHERE r.started_at < pg_catalog.now() - e.keep_runs AND r.run_id <> conclude.run_id;
    UPDATE ledgerviews.run AS r
    SET state = 'succeeded', finished_at = pg_catalog.clock_timestamp()
    WHERE r.run_id = conclude.run_id;
    RETURN EXISTS (
        SELECT FROM ledgerviews.run_relation AS p WHERE p.run_id = conclude.run_id AND p.method <> 'unchanged'
    );
END
$body$;
COMMENT ON FUNCTION ledgerviews.conclude(bigint, oid[]) IS
'End a run before its commit: were the sources of the relations left in place? Returns whether anything changed.';

CREATE PROCEDURE ledgerviews.refresh(
    IN relations text[] DEFAULT NULL,
    IN mode text DEFAULT 'incremental',
    IN upstream boolean DEFAULT true,
    IN wait boolean DEFAULT true,
    IN scrub boolean DEFAULT true,
    INOUT run_id bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $body$
DECLARE
    v_marked timestamptz;
    v_attempt integer := 1;
    v_open_since date;
    v_steps ledgerviews.step[];
    v_step ledgerviews.step;
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
    -- Losing this and the next transaction in a crash of the server costs nothing but the line in the log.
    SET LOCAL synchronous_commit = off;
    IF mode IS NULL OR mode NOT IN ('incremental', 'full', 'blocking', 'verify') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('There is no refresh mode %L.', mode),
            HINT = 'The modes are incremental, full, blocking and verify.';
    END IF;

    -- Before this transaction got its number, which a caller's block may have done: ledgerviews.open_since relies
    -- on it.
    v_marked := pg_catalog.now();
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
    INSERT INTO ledgerviews.run AS r (mode, requested, backend_started_at, marked_at, xid)
    SELECT refresh.mode, refresh.relations, a.backend_start, v_marked, pg_catalog.pg_current_xact_id()
    FROM (SELECT) AS always
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = pg_catalog.pg_backend_pid()
    RETURNING r.run_id INTO run_id;
    COMMIT;
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL synchronous_commit = off;

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
            -- REFRESH ... CONCURRENTLY of 15 to 18 cannot be run with it on.
            SET LOCAL quote_all_identifiers = off;
            v_open_since := ledgerviews.open_since();
            SELECT pg_catalog.array_agg(p ORDER BY p.position) INTO v_steps
            FROM ledgerviews.plan(relations, CASE mode WHEN 'verify' THEN 'incremental' ELSE mode END, upstream) AS p;
            v_steps := COALESCE(v_steps, '{}');
            FOREACH v_step IN ARRAY v_steps LOOP
                v_current := v_step.schema_name || '.' || v_step.relation_name;
                PERFORM ledgerviews.publish(run_id, v_step, pg_catalog.cardinality(v_steps), mode, v_open_since);
            END LOOP;
            v_current := NULL;
            IF mode = 'verify' THEN
                PERFORM ledgerviews.verify(v_steps);
            END IF;
            IF NOT ledgerviews.conclude(
                run_id, ARRAY(SELECT p.relation FROM pg_catalog.unnest(v_steps) AS p WHERE p.scope <> 'none' OR mode = 'verify'))
            THEN
                SET LOCAL synchronous_commit = off;
            END IF;
        EXCEPTION WHEN OTHERS OR query_canceled THEN
            GET STACKED DIAGNOSTICS
                v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT,
                v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            v_state := CASE v_sqlstate WHEN '57014' THEN 'cancelled' ELSE 'failed' END;
            -- What was found in a table that only looks empty is no finding.
            IF v_sqlstate IN ('LV001', 'LV002') THEN
                BEGIN
                    PERFORM ledgerviews.refuse_rewritten(ARRAY(SELECT p.relation FROM pg_catalog.unnest(v_steps) AS p));
                EXCEPTION WHEN serialization_failure THEN
                    GET STACKED DIAGNOSTICS
                        v_sqlstate = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT,
                        v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
                END;
            END IF;
        END;
        IF v_state IS NULL AND scrub THEN
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
            SET LOCAL search_path = pg_catalog, pg_temp;
            SET LOCAL jit = off;
            SET LOCAL quote_all_identifiers = off;
            SET LOCAL synchronous_commit = off;
            -- Whatever stops the scrub, the refresh is published.
            BEGIN
                PERFORM ledgerviews.scrub(run_id);
            EXCEPTION
                WHEN query_canceled THEN
                    RAISE NOTICE 'The scrub was cancelled; run % is published.', run_id;
                WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
                    NULL;
            END;
            COMMIT;
            RETURN;
        ELSIF v_state IS NULL THEN
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
    IF v_sqlstate = 'LV001' THEN
        INSERT INTO ledgerviews.run_check (run_id, schema_name, relation_name, check_name, severity, failed_rows, sample)
        SELECT
            refresh.run_id, f.value ->> 'schema', f.value ->> 'relation', f.value ->> 'check', f.value ->> 'severity',
            (f.value ->> 'failed_rows')::bigint, f.value -> 'sample'
        FROM pg_catalog.jsonb_array_elements(v_detail::jsonb) AS f (value);
    END IF;
    IF v_sqlstate = 'LV002' THEN
        UPDATE ledgerviews.relation_state AS t
        SET rebuild = pg_catalog.format('verify (run %s) found %s rows that the sources do not give', run_id, d.value ->> 'differing_rows')
        FROM pg_catalog.jsonb_array_elements(v_detail::jsonb) AS d (value)
        WHERE t.schema_name = d.value ->> 'schema' AND t.relation_name = d.value ->> 'relation';
    END IF;
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
COMMENT ON PROCEDURE ledgerviews.refresh(text[], text, boolean, boolean, boolean, bigint) IS
'Refresh the published materialized views in one transaction and one snapshot; call it outside a transaction block. '
'relations: names, NULL for all; mode: incremental, full, blocking or verify; upstream: take along what they read; '
'wait: for a running refresh; scrub: verify one day more after the publication.';

CREATE PROCEDURE ledgerviews.refresh(
    IN relation text,
    IN mode text DEFAULT 'incremental',
    IN upstream boolean DEFAULT true,
    IN wait boolean DEFAULT true,
    IN scrub boolean DEFAULT true,
    INOUT run_id bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $body$
BEGIN
    CALL ledgerviews.refresh(CASE WHEN relation IS NOT NULL THEN ARRAY[relation] END, mode, upstream, wait, scrub, run_id);
END
$body$;
COMMENT ON PROCEDURE ledgerviews.refresh(text, text, boolean, boolean, boolean, bigint) IS
'Refresh one published materialized view and what it reads, in one transaction and one snapshot.';
