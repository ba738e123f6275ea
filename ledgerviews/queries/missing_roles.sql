-- Which of the roles that are asked for the server does not have.
SELECT w.role
FROM pg_catalog.json_array_elements_text(%(roles)s::json) AS w (role)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = w.role)
ORDER BY w.role;
