"""Debian's plpgsql_check reads every PL/pgSQL routine of the engine, and has nothing to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

ROUTINES = """
SELECT p.oid, p.oid::regprocedure::text, p.prorettype = 'trigger'::regtype, COALESCE(t.tgrelid, 0)
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
LEFT JOIN LATERAL (SELECT t.tgrelid FROM pg_trigger AS t WHERE t.tgfoid = p.oid LIMIT 1) AS t ON true
WHERE p.pronamespace = 'ledgerviews'::regnamespace
ORDER BY 2
"""
# What the engine makes for a transaction must be there to be checked against.
TEMPORARY = """
CREATE TEMPORARY TABLE ledgerviews_grants (
    schema_name text, relation_name text, grantee oid, privilege text, grantable boolean
)
"""


# What is executed there is composed of names and literals that format() quoted before, of queries that the
# engine wrote itself, or of catalog words; plpgsql_check cannot follow that.
COMPOSED = {
    "ledgerviews.apply(text,text,datemultirange)": "v_set and v_same: %I = %I of catalog names",
    "ledgerviews.compare(text,text)": "both queries come from format() with %I in its two callers",
    "ledgerviews.take_up(text,text)": "privileges by the catalog's own words, grantees by quote_ident",
    "ledgerviews.attach(text,text)": "the WHEN conditions: %I of the source's columns",
    "ledgerviews.build_member(ledgerviews.member,jsonb)": "the SELECT itself, of the revision or the catalog",
    "ledgerviews.clear_grants(regclass)": "grantees by quote_ident",
    "ledgerviews.clear_grants(regprocedure)": "grantees by quote_ident",
    "ledgerviews.exchange(boolean)": "names by format() and regprocedure, words of its own",
    "ledgerviews.grant_defaults(ledgerviews.member)": "privileges by the catalog's own words, quote_ident",
    "ledgerviews.hang(ledgerviews.member,boolean)": "what captured() wrote of catalog text, with %I and %L",
    "ledgerviews.put_back_one(ledgerviews.released_object)": "what captured() wrote, and catalog text",
    "ledgerviews.rename(ledgerviews.staged)": "v_word: VIEW or MATERIALIZED VIEW",
    "ledgerviews.retype_log(text,text)": "v_type: the catalog's own format_type",
    "ledgerviews.retype_rollup(integer,text,text)": "v_change: %I and the catalog's own format_type",
    "ledgerviews.run_as(name,text)": "one statement that captured() wrote; no rights beyond the caller's",
    "ledgerviews.run_under(text,text)": "one statement of ours; no rights beyond the caller's",
    "ledgerviews.take_off(integer,oid[],integer)": "drop_statement: put together from words and format()",
    "ledgerviews.check_added()": "the expression is the declaration itself, of who may write the registry",
}


@pytest.mark.parametrize("kind", ["warnings", "security"])
def test_plpgsql_check_finds_nothing(installed_url: str, connect: Connect, kind: str) -> None:
    """No error, warning or doubt about security in any function or procedure, triggers included."""
    connection = connect(installed_url)
    available = "SELECT FROM pg_available_extensions WHERE name = 'plpgsql_check'"
    if not connection.execute(available).fetchall():
        version = connection.info.server_version // 10000
        pytest.skip(f"PLPGSQL_CHECK IS NOT RUN on {version}: install postgresql-{version}-plpgsql-check.")
    connection.execute("CREATE EXTENSION plpgsql_check")
    connection.execute(TEMPORARY)

    found = {
        name: [
            line
            for (line,) in connection.execute(
                "SELECT * FROM plpgsql_check_function(%s::oid::regprocedure, %s::oid::regclass,"
                " fatal_errors => false, other_warnings => true, extra_warnings => true,"
                " performance_warnings => false, security_warnings => %s)",
                [oid, relation, kind == "security"],
            )
        ]
        for oid, name, is_trigger, relation in connection.execute(ROUTINES).fetchall()
        if not is_trigger or relation
    }
    told = {name for name, lines in found.items() if lines}

    assert len(found) > 25
    assert any("_track" in name for name in found)
    assert told == (set(COMPOSED) if kind == "security" else set())
