-- Which of the roles that are asked for the server does not have.
SELECT w.role
FROM pg_catalog.json_array_elements_text(%(roles)s::json) AS w (role)
LEFT JOIN pg_catalog.pg_roles AS r ON w.role = r.rolname
WHERE r.rolname IS NULL
ORDER BY w.role;
