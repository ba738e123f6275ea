-- Which views, and functions whose body PostgreSQL knows, read the columns that are asked for; all where none is named.
SELECT DISTINCT
    w.schema_name,
    w.table_name,
    w.name,
    n.nspname AS reader_schema,
    COALESCE(v.relname, f.proname) AS reader_name
FROM pg_catalog.json_to_recordset(%(wanted)s::json) AS w (schema_name text, table_name text, name text)
INNER JOIN pg_catalog.pg_namespace AS s ON w.schema_name = s.nspname
INNER JOIN pg_catalog.pg_class AS c ON s.oid = c.relnamespace AND w.table_name = c.relname
LEFT JOIN pg_catalog.pg_attribute AS a ON c.oid = a.attrelid AND w.name = a.attname
INNER JOIN pg_catalog.pg_depend AS d
    ON
        d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.refobjid
        AND (w.name IS NULL OR a.attnum = d.refobjsubid)
LEFT JOIN pg_catalog.pg_rewrite AS e
    ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = e.oid
LEFT JOIN pg_catalog.pg_class AS v ON e.ev_class = v.oid
LEFT JOIN pg_catalog.pg_proc AS f
    ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = COALESCE(v.relnamespace, f.pronamespace);
