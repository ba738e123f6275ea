-- What refreshes read and write outside of the schema ledgerviews: sources, published relations, and their partitions.
WITH RECURSIVE named AS (
    SELECT
        s.schema_name,
        s.table_name AS relation_name
    FROM ledgerviews.source AS s
    UNION
    SELECT
        r.schema_name,
        r.relation_name
    FROM ledgerviews.relation AS r
),

ours AS (
    SELECT c.oid
    FROM named AS o
    INNER JOIN pg_catalog.pg_namespace AS n ON o.schema_name = n.nspname
    INNER JOIN pg_catalog.pg_class AS c ON n.oid = c.relnamespace AND o.relation_name = c.relname
    UNION
    SELECT i.inhrelid
    FROM ours AS o
    INNER JOIN pg_catalog.pg_inherits AS i ON o.oid = i.inhparent
)

SELECT o.oid
FROM ours AS o;
