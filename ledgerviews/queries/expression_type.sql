-- The type of a view's only column.
SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = %(view)s::pg_catalog.regclass AND a.attnum = 1;
