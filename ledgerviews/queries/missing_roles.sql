-- Which of the roles that are asked for the server does not have.
SELECT w.role
FROM pg_catalog.json_array_elements_text(%(roles)s::json) AS w (role)
WHERE w.role NOT IN (SELECT r.rolname FROM pg_catalog.pg_roles AS r)
ORDER BY w.role;
