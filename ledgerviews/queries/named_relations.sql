-- The relations of a name on which this role has not the rights of the owner: schema, name in full, owner.
SELECT
    n.nspname AS schema_name,
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS relation,
    o.rolname AS owner
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
INNER JOIN pg_catalog.pg_roles AS o ON c.relowner = o.oid
WHERE
    c.relname = %(name)s
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY relation;
