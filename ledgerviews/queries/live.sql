-- All that is compared of the relations that are asked for, by schema, name, rollup and its key, as they stand now.
SELECT
    n.nspname::text AS schema_name,
    c.relname::text AS relation_name,
    pg_catalog.jsonb_build_object(
        'oid', c.oid,
        'kind', CASE c.relkind
            WHEN 'v' THEN 'view'
            WHEN 'm' THEN 'materialized view'
            WHEN 'r' THEN 'table'
            WHEN 'p' THEN 'partitioned table'
            WHEN 'f' THEN 'foreign table'
            ELSE c.relkind::text
        END,
        'populated', c.relispopulated,
        'owner', pg_catalog.pg_get_userbyid(c.relowner),
        'comment', pg_catalog.obj_description(c.oid, 'pg_class'),
        'options', pg_catalog.to_jsonb(c.reloptions),
        'printed', CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(COALESCE(h.oid, c.oid), FALSE) END,
        'printed_days', CASE WHEN f.oid IS NOT NULL THEN pg_catalog.pg_get_functiondef(f.oid) END,
        'days', CASE WHEN f.oid IS NOT NULL THEN pg_catalog.pg_get_function_sqlbody(f.oid) END,
        'missing', pg_catalog.array_remove(
            ARRAY[
                CASE WHEN w.rollup IS NOT NULL AND t.oid IS NULL THEN w.rollup END,
                CASE WHEN w.rollup IS NOT NULL AND h.oid IS NULL THEN w.rollup || '_whole' END,
                CASE WHEN w.rollup IS NOT NULL AND f.oid IS NULL THEN w.rollup || '_days' END,
                CASE
                    WHEN t.oid IS NOT NULL AND NOT EXISTS (
                        SELECT
                        FROM pg_catalog.pg_index AS i
                        WHERE
                            i.indrelid = t.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                            AND i.indpred IS NULL AND i.indexprs IS NULL
                            AND w.unique_key = (
                                SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.ordinality)
                                FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
                                INNER JOIN pg_catalog.pg_attribute AS a ON k.attnum = a.attnum
                                WHERE a.attrelid = i.indrelid AND k.ordinality <= i.indnkeyatts
                            )
                    ) THEN w.rollup || '_key'
                END,
                CASE
                    WHEN t.oid IS NOT NULL AND w.day <> w.unique_key[1] AND NOT EXISTS (
                        SELECT
                        FROM pg_catalog.pg_index AS i
                        INNER JOIN pg_catalog.pg_attribute AS a ON i.indrelid = a.attrelid AND i.indkey[0] = a.attnum
                        WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = w.day
                    ) THEN w.rollup || '_day'
                END
            ],
            NULL
        ),
        'altered', pg_catalog.array_remove(
            ARRAY[
                -- PostgreSQL 16 and later leave out an alias that nothing needs.
                CASE
                    WHEN
                        c.relkind = 'm' AND t.oid IS NOT NULL
                        -- Without the semicolon.
                        AND pg_catalog.left(pg_catalog.pg_get_viewdef(c.oid, FALSE), -1) NOT IN (
                            SELECT
                                ' SELECT '
                                || pg_catalog.string_agg(
                                    q.prefix || pg_catalog.quote_ident(a.attname), E',\n    ' ORDER BY a.attnum
                                )
                                || E'\n   FROM ledgerviews.' || pg_catalog.quote_ident(t.relname) || ' r'
                            FROM pg_catalog.pg_attribute AS a
                            CROSS JOIN (VALUES ('r.'), ('')) AS q (prefix)
                            WHERE a.attrelid = c.oid AND a.attnum > 0
                            GROUP BY q.prefix
                        )
                        THEN
                            pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
                            || ' is no plain SELECT of its rollup'
                END,
                CASE
                    WHEN (
                        SELECT
                            pg_catalog.array_agg(
                                (a.attname, a.atttypid, a.atttypmod, a.attcollation)::text ORDER BY a.attnum
                            )
                        FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
                    ) <> (
                        SELECT
                            pg_catalog.array_agg(
                                (a.attname, a.atttypid, a.atttypmod, a.attcollation)::text ORDER BY a.attnum
                            )
                        FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid = h.oid AND a.attnum > 0 AND NOT a.attisdropped
                    ) THEN 'ledgerviews.' || w.rollup || ' has other columns than ledgerviews.' || h.relname
                END,
                CASE
                    WHEN t.oid IS NOT NULL AND f.oid IS NOT NULL
                        THEN 'ledgerviews.' || f.proname || ' is ' || NULLIF(
                            pg_catalog.concat_ws(
                                ', ',
                                CASE WHEN NOT f.prosecdef THEN 'SECURITY INVOKER' END,
                                CASE f.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 'v' THEN 'VOLATILE' END,
                                CASE f.proparallel
                                    WHEN 's' THEN 'PARALLEL SAFE'
                                    WHEN 'r' THEN 'PARALLEL RESTRICTED'
                                END,
                                CASE WHEN f.proisstrict THEN 'STRICT' END,
                                CASE WHEN f.proleakproof THEN 'LEAKPROOF' END,
                                CASE
                                    WHEN f.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
                                        THEN
                                            'SET '
                                            || COALESCE(pg_catalog.array_to_string(f.proconfig, ' SET '), 'nothing')
                                END,
                                CASE
                                    WHEN f.proowner <> t.relowner
                                        THEN
                                            'owned by ' || pg_catalog.pg_get_userbyid(f.proowner) || ', not by '
                                            || pg_catalog.pg_get_userbyid(t.relowner) || ' as its rollup'
                                END
                            ), ''
                        )
                END
            ],
            NULL
        ),
        'columns', (
            SELECT
                pg_catalog.jsonb_agg(
                    pg_catalog.jsonb_build_array(
                        a.attname,
                        pg_catalog.format_type(a.atttypid, a.atttypmod),
                        a.attcollation::pg_catalog.regcollation,
                        pg_catalog.col_description(c.oid, a.attnum)
                    )
                    ORDER BY a.attnum
                )
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ),
        'gives', (
            SELECT pg_catalog.jsonb_agg(a.attname ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = COALESCE(h.oid, c.oid) AND a.attnum > 0 AND NOT a.attisdropped
        ),
        'indexes', (
            SELECT
                pg_catalog.jsonb_agg(
                    pg_catalog.jsonb_build_object(
                        'name', x.relname,
                        'valid', i.indisvalid,
                        'unique', i.indisunique,
                        'plain', i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate,
                        'columns', (
                            SELECT pg_catalog.array_agg(a.attname ORDER BY k.ordinality)
                            FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
                            INNER JOIN pg_catalog.pg_attribute AS a ON k.attnum = a.attnum
                            WHERE a.attrelid = i.indrelid AND k.ordinality <= i.indnkeyatts
                        ),
                        'definition', pg_catalog.substr(
                            pg_catalog.pg_get_indexdef(i.indexrelid),
                            pg_catalog.length(
                                'CREATE '
                                || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
                                || 'INDEX '
                                || pg_catalog.quote_ident(x.relname)
                                || ' ON ' || c.oid::pg_catalog.regclass::text || ' '
                            ) + 1
                        )
                    )
                    ORDER BY x.relname
                )
            FROM pg_catalog.pg_index AS i
            INNER JOIN pg_catalog.pg_class AS x ON i.indexrelid = x.oid
            WHERE i.indrelid = c.oid
        ),
        'grants', (
            SELECT pg_catalog.jsonb_object_agg(g.role, g.privileges)
            FROM (
                SELECT
                    CASE WHEN p.grantee = 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(p.grantee)::text END AS role,
                    pg_catalog.array_agg(p.privilege_type ORDER BY p.privilege_type) AS privileges
                FROM pg_catalog.aclexplode(c.relacl) AS p
                WHERE p.grantee <> c.relowner
                GROUP BY p.grantee
            ) AS g
        )
    )::text AS found
FROM
    pg_catalog.json_to_recordset(%(wanted)s::json)
        AS w (
            schema_name text, relation_name text, rollup text, unique_key text[], day text
        )
INNER JOIN pg_catalog.pg_namespace AS n ON w.schema_name = n.nspname
INNER JOIN pg_catalog.pg_class AS c ON n.oid = c.relnamespace AND w.relation_name = c.relname
LEFT JOIN pg_catalog.pg_namespace AS l ON l.nspname = 'ledgerviews'
LEFT JOIN pg_catalog.pg_class AS t ON l.oid = t.relnamespace AND w.rollup = t.relname AND t.relkind = 'r'
LEFT JOIN pg_catalog.pg_class AS h ON l.oid = h.relnamespace AND w.rollup || '_whole' = h.relname AND h.relkind = 'v'
LEFT JOIN pg_catalog.pg_proc AS f
    ON
        l.oid = f.pronamespace AND w.rollup || '_days' = f.proname
        AND f.proargtypes = '1082 1082'::pg_catalog.oidvector AND f.prosqlbody IS NOT NULL
WHERE c.relkind NOT IN ('i', 'I');
