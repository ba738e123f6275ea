-- Which of the columns that are asked for are read by a view, or by a function whose body PostgreSQL knows.
SELECT
    w.schema_name,
    w.table_name,
    w.name
FROM pg_catalog.json_to_recordset(%(wanted)s::json) AS w (schema_name text, table_name text, name text)
INNER JOIN pg_catalog.pg_namespace AS n ON w.schema_name = n.nspname
INNER JOIN pg_catalog.pg_class AS c ON n.oid = c.relnamespace AND w.table_name = c.relname
INNER JOIN pg_catalog.pg_attribute AS a ON c.oid = a.attrelid AND w.name = a.attname
WHERE
    EXISTS (
        SELECT
        FROM pg_catalog.pg_depend AS d
        WHERE
            d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
            AND d.classid IN ('pg_catalog.pg_rewrite'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass)
    );
