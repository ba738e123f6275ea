-- What a transaction of a revision is like, and what it locks before its snapshot.
SELECT
    -- Operators are named in full: anybody may have put some on the search_path that this is asked under.
    pg_catalog.pg_current_xact_id_if_assigned() IS NULL
    AND pg_catalog.current_setting('transaction_isolation') OPERATOR (pg_catalog.=) 'read committed' AS fresh,
    pg_catalog.current_setting('role') AS role,
    pg_catalog.current_setting('search_path') AS search_path,
    pg_catalog.current_setting('lock_timeout') AS lock_timeout,
    pg_catalog.current_setting('statement_timeout') AS statement_timeout,
    ARRAY(
        SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname))
        FROM
            ledgerviews.source_of(
                ARRAY(
                    SELECT o.oid
                    FROM ledgerviews.relation AS r
                    INNER JOIN pg_catalog.pg_namespace AS m
                        ON m.nspname::pg_catalog.text OPERATOR (pg_catalog.=) r.schema_name::pg_catalog.text
                    INNER JOIN pg_catalog.pg_class AS o
                        ON
                            m.oid OPERATOR (pg_catalog.=) o.relnamespace
                            AND o.relname::pg_catalog.text OPERATOR (pg_catalog.=) r.relation_name::pg_catalog.text
                )
            ) AS s
        INNER JOIN pg_catalog.pg_class AS c ON s.source OPERATOR (pg_catalog.=) c.oid
        INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace OPERATOR (pg_catalog.=) n.oid
        WHERE pg_catalog.has_table_privilege(c.oid, 'SELECT')
        ORDER BY c.oid
    ) AS tables;
