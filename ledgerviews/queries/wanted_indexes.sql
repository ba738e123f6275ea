-- The indexes that the sources want, whether each is there, which of its columns are gone, and its table's size.
SELECT
    s.source,
    w.wanted AS columns,
    w.wanted <> ALL(ledgerviews.missing_indexes(s.source)) AS present,
    c.oid AS relation,
    c.relkind AS kind,
    o.rolname AS owner,
    pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owned,
    x.row_estimate,
    x.size_bytes,
    ARRAY(
        SELECT k.name
        FROM pg_catalog.string_to_table(w.wanted, ',') WITH ORDINALITY AS k (name, place)
        WHERE
            NOT EXISTS (
                SELECT
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attname = k.name AND NOT a.attisdropped
            )
        ORDER BY k.place
    ) AS gone
FROM ledgerviews.source AS s
CROSS JOIN LATERAL pg_catalog.unnest(s.wanted_indexes) AS w (wanted)
INNER JOIN pg_catalog.pg_namespace AS n ON s.schema_name = n.nspname
INNER JOIN pg_catalog.pg_class AS c ON n.oid = c.relnamespace AND s.table_name = c.relname
INNER JOIN pg_catalog.pg_roles AS o ON c.relowner = o.oid
INNER JOIN LATERAL (
    SELECT
        COALESCE(pg_catalog.sum(
            CASE
                -- Never analyzed: rows of about a hundred bytes.
                WHEN l.reltuples < 0 THEN pg_catalog.pg_relation_size(l.oid) / 100
                ELSE l.reltuples
            END
        ), 0)::bigint AS row_estimate,
        COALESCE(pg_catalog.sum(pg_catalog.pg_table_size(l.oid)), 0)::bigint AS size_bytes
    FROM pg_catalog.pg_class AS l
    WHERE
        l.relkind = 'r'
        AND (
            l.oid = c.oid
            OR (c.relkind = 'p' AND l.oid IN (
                SELECT t.relid
                FROM pg_catalog.pg_partition_tree(c.oid) AS t
            ))
        )
) AS x ON TRUE
ORDER BY s.source, w.wanted;
