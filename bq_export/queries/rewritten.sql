-- Whether a relation, or a table below a view, was replaced or rewritten after this transaction's moment: then
-- what is read of it now would be of another. Catalog functions see what is there now, SELECT sees the moment.
WITH RECURSIVE below AS (
    SELECT %(relation_id)s::oid AS relid
    UNION
    SELECT n.relid
    FROM below AS b
    CROSS JOIN LATERAL (
        SELECT d.refobjid AS relid
        FROM pg_catalog.pg_rewrite AS w
        INNER JOIN pg_catalog.pg_class AS v ON w.ev_class = v.oid AND v.relkind = 'v'
        INNER JOIN pg_catalog.pg_depend AS d
            ON
                w.oid = d.objid
                AND d.classid = 'pg_catalog.pg_rewrite'::regclass
                AND d.refclassid = 'pg_catalog.pg_class'::regclass
        WHERE w.ev_class = b.relid
        UNION ALL
        SELECT i.inhrelid
        FROM pg_catalog.pg_inherits AS i
        WHERE i.inhparent = b.relid
    ) AS n
)

SELECT
    (
        pg_catalog.to_regclass(pg_catalog.quote_ident(%(schema)s) || '.' || pg_catalog.quote_ident(%(name)s))
        = %(relation_id)s::oid
    ) IS NOT TRUE
    OR EXISTS (
        SELECT
        FROM below AS b
        INNER JOIN pg_catalog.pg_class AS c ON b.relid = c.oid
        WHERE c.relkind IN ('r', 'm') AND (c.relfilenode = pg_catalog.pg_relation_filenode(c.oid)) IS NOT TRUE
    ) AS rewritten;
