"""The catalog of a database as a dict, read without a function of ours, to be compared with another one."""

# ruff: noqa: E501 (SQL, one kind of object in a paragraph)

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

Print = dict[str, str]

_ACL = """(SELECT string_agg(g.line, ', ' ORDER BY g.line) FROM (SELECT DISTINCT format('%s gives %s %s%s',
    pg_get_userbyid(a.grantor), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
    a.privilege_type, CASE WHEN a.is_grantable THEN '*' ELSE '' END) AS line FROM aclexplode({acl}) AS a
    WHERE a.grantee = 0 OR pg_get_userbyid(a.grantee) <> 'worlds_late') AS g)"""

_CATALOG = f"""
WITH space AS (
    SELECT n.* FROM pg_namespace AS n
    WHERE n.nspname !~ '^pg_(catalog|toast|temp)' AND n.nspname <> 'information_schema'
),
rel AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS name FROM pg_class AS c JOIN space AS s ON s.oid = c.relnamespace
)
SELECT 'schema ' || s.nspname, concat_ws('|', pg_get_userbyid(s.nspowner), obj_description(s.oid, 'pg_namespace'),
    {_ACL.format(acl="COALESCE(s.nspacl, acldefault('n', s.nspowner))")}) FROM space AS s
UNION ALL
SELECT 'relation ' || r.name, concat_ws('|', r.relkind, pg_get_userbyid(r.relowner), r.relpersistence, r.relreplident,
    r.relispopulated, r.relrowsecurity, (SELECT m.amname FROM pg_am AS m WHERE m.oid = r.relam), r.reltablespace,
    (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(r.reloptions) AS o),
    (SELECT string_agg(o, ',' ORDER BY o) FROM pg_class AS t, unnest(t.reloptions) AS o WHERE t.oid = r.reltoastrelid))
    FROM rel AS r WHERE r.relkind IN ('r', 'v', 'm', 'p', 'S', 'f')
UNION ALL
SELECT 'comment on ' || r.name, obj_description(r.oid, 'pg_class') FROM rel AS r
UNION ALL
SELECT 'acl of ' || r.name, {_ACL.format(acl="COALESCE(r.relacl, acldefault('r', r.relowner))")}
    FROM rel AS r WHERE r.relkind IN ('r', 'v', 'm', 'p')
UNION ALL
SELECT 'definition of ' || r.name, pg_get_viewdef(r.oid) FROM rel AS r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 'column ' || r.name || '.' || a.attname, concat_ws('|',
    row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
    a.attcollation::regcollation, a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attstattarget, a.attstorage,
    a.attcompression,
    (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(a.attoptions) AS o WHERE NOT starts_with(o, 'pg_')),
    col_description(a.attrelid, a.attnum),
    {_ACL.format(acl="a.attacl")})
    FROM rel AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
    WHERE r.relkind IN ('r', 'v', 'm', 'p')
UNION ALL
SELECT 'index ' || i.name, concat_ws('|', pg_get_indexdef(x.indexrelid), x.indisvalid, x.indisclustered, x.indisreplident,
    i.reltablespace, (SELECT string_agg(a.attnum || '=' || a.attstattarget, ',' ORDER BY a.attnum) FROM pg_attribute AS a
        WHERE a.attrelid = x.indexrelid AND COALESCE(a.attstattarget, -1) >= 0))
    FROM rel AS i JOIN pg_index AS x ON x.indexrelid = i.oid
UNION ALL
SELECT 'statistics ' || s.nspname || '.' || x.stxname, concat_ws('|', pg_get_statisticsobjdef(x.oid),
    pg_get_userbyid(x.stxowner), NULLIF(x.stxstattarget, -1), obj_description(x.oid, 'pg_statistic_ext'))
    FROM pg_statistic_ext AS x JOIN space AS s ON s.oid = x.stxnamespace
UNION ALL
SELECT 'rule ' || w.rulename || ' on ' || r.name, concat_ws('|', pg_get_ruledef(w.oid), w.ev_enabled,
    obj_description(w.oid, 'pg_rewrite')) FROM pg_rewrite AS w JOIN rel AS r ON r.oid = w.ev_class
    WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 'trigger ' || t.tgname || ' on ' || r.name, concat_ws('|', pg_get_triggerdef(t.oid), t.tgenabled,
    obj_description(t.oid, 'pg_trigger')) FROM pg_trigger AS t JOIN rel AS r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'constraint ' || c.conname || ' on ' || r.name, pg_get_constraintdef(c.oid)
    FROM pg_constraint AS c JOIN rel AS r ON r.oid = c.conrelid WHERE c.contype <> 'n'
UNION ALL
SELECT format('function %I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), concat_ws('|',
    pg_get_functiondef(p.oid), pg_get_userbyid(p.proowner), obj_description(p.oid, 'pg_proc'),
    {_ACL.format(acl="COALESCE(p.proacl, acldefault('f', p.proowner))")})
    FROM pg_proc AS p JOIN space AS s ON s.oid = p.pronamespace WHERE p.prokind <> 'a'
UNION ALL
SELECT concat_ws(' ', 'default acl', pg_get_userbyid(d.defaclrole), d.defaclnamespace::regnamespace, d.defaclobjtype),
    {_ACL.format(acl="d.defaclacl")} FROM pg_default_acl AS d
UNION ALL
SELECT 'dependencies of ' || d.name, string_agg(DISTINCT d.deptype::text || ' ' || d.other, ', ')
    FROM (
        SELECT d.deptype, pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS other,
            COALESCE((SELECT r.name FROM pg_rewrite AS w JOIN rel AS r ON r.oid = w.ev_class WHERE w.oid = d.objid
                AND d.classid = 'pg_rewrite'::regclass), pg_describe_object(d.classid, d.objid, 0)) AS name
        FROM pg_depend AS d
        WHERE d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass)
            AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_extension'::regclass)
            AND d.objid >= 16384
    ) AS d WHERE d.name !~ 'toast' AND d.other !~ 'toast' GROUP BY d.name
"""

_REGISTRY = """
SELECT 'registered ' || r.schema_name || '.' || r.relation_name, (pg_catalog.to_jsonb(r) - 'installed_at')::text
FROM ledgerviews.relation AS r
UNION ALL
SELECT 'check ' || concat_ws('.', c.schema_name, c.relation_name, c.check_name), pg_catalog.to_jsonb(c)::text
FROM ledgerviews.relation_check AS c
UNION ALL
SELECT 'source ' || s.source, (pg_catalog.to_jsonb(s) - 'tracked_at' - 'seen')::text FROM ledgerviews.source AS s
UNION ALL
SELECT 'state ' || t.schema_name || '.' || t.relation_name, '' FROM ledgerviews.relation_state AS t
UNION ALL
SELECT 'unrefreshed ' || u.schema_name || '.' || u.relation_name, pg_catalog.to_jsonb(u)::text
FROM ledgerviews.unrefreshed AS u
UNION ALL
SELECT 'staged', s.relation_name FROM ledgerviews.staged AS s
UNION ALL
SELECT 'member', m.key FROM ledgerviews.member AS m
"""

_STATE = """
SELECT 'state of ' || t.schema_name || '.' || t.relation_name, pg_catalog.to_jsonb(t)::text FROM ledgerviews.relation_state AS t
"""


def fingerprint(connection: psycopg.Connection, *, state: bool = False) -> Print:
    """Everything of the catalog that a schema dump tells, and more; ``state``: that of refreshes, too."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        found: Print = {}
        for query in (_CATALOG, _REGISTRY, *([_STATE] if state else [])):
            for name, value in connection.execute(query.encode()).fetchall():
                if value is not None:
                    assert name not in found, name
                    found[name] = value
        return found


def contents(connection: psycopg.Connection) -> Print:
    """The rows of all that is stored, hashed, and the oid and file of each relation."""
    found: Print = {}
    rows = connection.execute(
        "SELECT c.oid::int8, c.relfilenode::int8, format('%I.%I', n.nspname, c.relname), c.relispopulated"
        " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_|^information_schema$'"
        " AND NOT (n.nspname = 'ledgerviews' AND c.relname LIKE 'run%')"
    )
    for oid, file, name, populated in rows.fetchall():
        hashed = (
            connection.execute(
                f"SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {name} AS t".encode()
            ).fetchone()
            if populated
            else None
        )
        found[f"rows of {name}"] = f"{oid} {file} {hashed}"
    return found


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """What differs, in words; empty where nothing does."""
    return [
        f"{name}:\n    {first.get(name)}\n    {second.get(name)}"
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]
