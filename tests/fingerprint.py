"""What stands in a database, read from the catalog without any function of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    import psycopg

# Privileges in any order, and as PostgreSQL takes them where none was ever granted.
_ACL = "(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(COALESCE({0}, acldefault({1}, {2}))) AS a)"
_QUERIES: dict[str, LiteralString] = {
    "relations": """
SELECT c.oid::regclass::text, c.relkind::text,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
    c.relowner::regrole::text, c.reloptions, {acl}, obj_description(c.oid, 'pg_class'),
    c.relispopulated, c.relreplident::text, c.reltablespace, c.relam
FROM pg_class AS c
WHERE c.relkind IN ('v', 'm', 'r', 'p') AND {ours}
""".replace("{acl}", _ACL.format("c.relacl", "'r'", "c.relowner")),
    "columns": """
SELECT c.oid::regclass::text, a.attnum - (
        SELECT count(*) FROM pg_attribute AS g
        WHERE g.attrelid = c.oid AND g.attnum BETWEEN 1 AND a.attnum AND g.attisdropped
    ), a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation,
    COALESCE(a.attstattarget, -1), a.attstorage::text,
    a.attcompression::text,
    -- PostgreSQL keeps a column's version there, too, since 15.20.
    (SELECT array_agg(o ORDER BY o) FROM unnest(a.attoptions) AS o WHERE NOT starts_with(o, 'pg_')),
    (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(a.attacl) AS x),
    col_description(c.oid, a.attnum), pg_get_expr(d.adbin, d.adrelid)
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind IN ('v', 'm', 'r', 'p') AND {ours}
""",
    "indexes": """
SELECT pg_get_indexdef(i.indexrelid), i.indisclustered, i.indisreplident, i.indisvalid,
    obj_description(i.indexrelid, 'pg_class'),
    (
        SELECT array_agg(COALESCE(a.attstattarget, -1) ORDER BY a.attnum)
        FROM pg_attribute AS a WHERE a.attrelid = i.indexrelid
    )
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE {ours} AND c.relnamespace <> 'pg_toast'::regnamespace
""",
    "statistics": """
SELECT pg_get_statisticsobjdef(s.oid), obj_description(s.oid, 'pg_statistic_ext'),
    COALESCE(s.stxstattarget, -1),
    s.stxowner::regrole::text
FROM pg_statistic_ext AS s
""",
    "triggers": """
SELECT t.tgrelid::regclass::text, pg_get_triggerdef(t.oid), t.tgenabled::text,
    obj_description(t.oid, 'pg_trigger')
FROM pg_trigger AS t
WHERE NOT t.tgisinternal
""",
    "rules": """
SELECT pg_get_ruledef(w.oid), w.ev_enabled::text, obj_description(w.oid, 'pg_rewrite')
FROM pg_rewrite AS w
JOIN pg_class AS c ON c.oid = w.ev_class
WHERE w.rulename <> '_RETURN' AND {ours}
""",
    # PostgreSQL prints a name for a column that had none, once it read back what it had printed.
    "functions": """
SELECT p.oid::regprocedure::text,
    CASE WHEN p.prokind <> 'a' THEN replace(pg_get_functiondef(p.oid), '''::text AS text,', '''::text,') END,
    p.proowner::regrole::text, {acl}, obj_description(p.oid, 'pg_proc')
FROM pg_proc AS p
JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
""".replace("{acl}", _ACL.format("p.proacl", "'f'", "p.proowner")),
    "policies": "SELECT * FROM pg_policies",
    "registry": """
SELECT r.schema_name, r.relation_name, r.body, r.day_body, r.printed, r.printed_days
FROM ledgerviews.relation AS r
""",
    "sources": "SELECT s.source, s.tracking, s.key_column, s.day_column FROM ledgerviews.source AS s",
}
_OURS = "c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"


def fingerprint(connection: psycopg.Connection, *, without: str = "") -> dict[str, list[tuple[Any, ...]]]:
    """Everything that hangs on relations and functions; rows whose first word is ``without`` are left out."""
    connection.execute("SET search_path = pg_catalog")
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, query in _QUERIES.items():
        rows = connection.execute(query.replace("{ours}", _OURS).encode()).fetchall()
        found[name] = sorted((row for row in rows if row[0] != without), key=repr)
    connection.execute("RESET search_path")
    return found


def rows(connection: psycopg.Connection, *relations: LiteralString) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of relations, in an order that says nothing."""
    return {
        name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in relations
    }
