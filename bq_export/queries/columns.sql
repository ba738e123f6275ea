-- The columns of a relation in their order, domains followed down to the type that they stand on.
WITH RECURSIVE base AS (
    SELECT
        a.attnum,
        a.attname,
        a.atttypid AS type_id,
        a.atttypmod AS typmod
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = %(relation_id)s::oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT
        b.attnum,
        b.attname,
        t.typbasetype,
        t.typtypmod
    FROM base AS b
    INNER JOIN pg_catalog.pg_type AS t ON b.type_id = t.oid AND t.typtype = 'd'
)

SELECT
    b.attname::text AS name,
    t.typname::text AS type_name,
    t.typtype::text AS kind,
    e.typname::text AS element,
    e.typtype::text AS element_kind,
    CASE WHEN t.typname = 'numeric' AND b.typmod >= 4 THEN ((b.typmod - 4) >> 16) & 65535 END AS precision,
    -- Eleven bits with a sign.
    CASE
        WHEN t.typname = 'numeric' AND b.typmod >= 4 THEN ((b.typmod - 4 + 1024) & 2047) - 1024
    END AS scale,
    pg_catalog.col_description(%(relation_id)s::oid, b.attnum) AS comment
FROM base AS b
INNER JOIN pg_catalog.pg_type AS t ON b.type_id = t.oid AND t.typtype <> 'd'
LEFT JOIN pg_catalog.pg_type AS e
    ON t.typelem = e.oid AND t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc
ORDER BY b.attnum;
