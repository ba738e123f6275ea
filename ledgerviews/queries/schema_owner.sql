-- Who owns a schema, and whether this role can trust what stands in it.
-- It can as the owner or a member of it, and where the owner, of the database or a superuser, could do anything.
SELECT
    o.rolname AS owner,
    (NOT u.rolsuper AND pg_catalog.pg_has_role(u.oid, o.oid, 'USAGE'))
    OR o.oid = u.oid
    OR o.rolsuper
    OR o.oid = d.datdba
    OR o.rolname = 'pg_database_owner' AS trusted
FROM pg_catalog.pg_namespace AS n
INNER JOIN pg_catalog.pg_roles AS o ON n.nspowner = o.oid
INNER JOIN pg_catalog.pg_roles AS u ON u.rolname = CURRENT_USER
INNER JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
WHERE n.nspname = %(schema)s;
