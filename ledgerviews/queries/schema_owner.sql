-- Who owns a schema, and whether this role can trust it: its own, or of one who could do anything anyway.
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
