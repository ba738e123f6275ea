-- The temporary views that were made to be compared, as PostgreSQL prints them, with the names that they stand for.
SELECT
    w.name,
    pg_catalog.quote_ident(w.schema) || '.' || pg_catalog.quote_ident(w.relation) AS stands_for,
    pg_catalog.quote_ident(w.relation) AS bare,
    pg_catalog.pg_get_viewdef(c.oid, FALSE) AS printed,
    (
        SELECT
            pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_array(
                    a.attname,
                    pg_catalog.format_type(a.atttypid, a.atttypmod),
                    a.attcollation::pg_catalog.regcollation,
                    NULL
                )
                ORDER BY a.attnum
            )
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0
    )::text AS columns,
    (
        SELECT pg_catalog.pg_get_function_sqlbody(f.oid)
        FROM pg_catalog.pg_proc AS f
        WHERE f.pronamespace = c.relnamespace AND f.proname = w.days
    ) AS days,
    (
        SELECT
            pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_array(
                    x.relname,
                    pg_catalog.substr(
                        pg_catalog.pg_get_indexdef(x.oid),
                        pg_catalog.length(
                            'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
                            || 'INDEX ' || pg_catalog.quote_ident(x.relname)
                            || ' ON ' || t.oid::pg_catalog.regclass::text || ' '
                        ) + 1
                    )
                )
            )
        FROM pg_catalog.pg_class AS t
        INNER JOIN pg_catalog.pg_index AS i ON t.oid = i.indrelid
        INNER JOIN pg_catalog.pg_class AS x ON i.indexrelid = x.oid
        WHERE t.relnamespace = c.relnamespace AND t.relname = w.name || ':rows'
    )::text AS indexes,
    (
        SELECT pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_array(s.nspname, r.relname, a.attname))
        FROM pg_catalog.pg_rewrite AS e
        INNER JOIN pg_catalog.pg_depend AS d
            ON
                d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND e.oid = d.objid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid
        INNER JOIN pg_catalog.pg_class AS r ON d.refobjid = r.oid
        INNER JOIN pg_catalog.pg_namespace AS s ON r.relnamespace = s.oid
        LEFT JOIN pg_catalog.pg_attribute AS a ON d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND a.attnum > 0
        WHERE e.ev_class = c.oid AND r.relnamespace <> c.relnamespace
    )::text AS reads,
    (
        SELECT pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_array(s.nspname, r.relname, a.attname))
        FROM pg_catalog.pg_proc AS f
        INNER JOIN pg_catalog.pg_depend AS d
            ON
                d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND f.oid = d.objid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        INNER JOIN pg_catalog.pg_class AS r ON d.refobjid = r.oid
        INNER JOIN pg_catalog.pg_namespace AS s ON r.relnamespace = s.oid
        LEFT JOIN pg_catalog.pg_attribute AS a ON d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND a.attnum > 0
        WHERE f.pronamespace = c.relnamespace AND f.proname = w.days AND r.relnamespace <> c.relnamespace
    )::text AS reads_days,
    (
        SELECT pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_array(t.days, m.name))
        FROM (
            SELECT
                FALSE AS days,
                e.ev_action::text AS tree
            FROM pg_catalog.pg_rewrite AS e
            WHERE e.ev_class = c.oid
            UNION ALL
            SELECT
                TRUE AS days,
                f.prosqlbody::text AS tree
            FROM pg_catalog.pg_proc AS f
            WHERE f.pronamespace = c.relnamespace AND f.proname = w.days
        ) AS t
        CROSS JOIN LATERAL (
            SELECT f.oid::pg_catalog.regprocedure::text AS name
            FROM pg_catalog.regexp_matches(t.tree, ':(?:\w*funcid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS g (found)
            INNER JOIN pg_catalog.pg_proc AS f ON f.oid = g.found[1]::oid
            WHERE
                f.provolatile = 'v'
                OR f.oid IN (
                    'pg_catalog.now()'::pg_catalog.regprocedure,
                    'pg_catalog.transaction_timestamp()'::pg_catalog.regprocedure,
                    'pg_catalog.statement_timestamp()'::pg_catalog.regprocedure,
                    'pg_catalog.age(timestamp)'::pg_catalog.regprocedure,
                    'pg_catalog.age(timestamptz)'::pg_catalog.regprocedure
                )
            UNION ALL
            -- Numbered as PostgreSQL's SQLValueFunctionOp is. What follows there are roles and schemas.
            SELECT v.name
            FROM pg_catalog.regexp_matches(t.tree, 'SQLVALUEFUNCTION :op ([0-9]+) ', 'g') AS g (found)
            INNER JOIN
                pg_catalog.unnest(
                    ARRAY[
                        'CURRENT_DATE', 'CURRENT_TIME', 'CURRENT_TIME', 'CURRENT_TIMESTAMP', 'CURRENT_TIMESTAMP',
                        'LOCALTIME', 'LOCALTIME', 'LOCALTIMESTAMP', 'LOCALTIMESTAMP'
                    ]
                ) WITH ORDINALITY AS v (name, number)
                ON v.number = g.found[1]::integer + 1
        ) AS m
    )::text AS moving
FROM pg_catalog.json_to_recordset(%(names)s::json) AS w (name text, schema text, relation text, days text)
INNER JOIN pg_catalog.pg_class AS c ON w.name = c.relname
WHERE c.relnamespace = pg_catalog.pg_my_temp_schema();
