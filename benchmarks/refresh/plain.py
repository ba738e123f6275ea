"""The same marts as plain materialized views under other names, which is what the engine is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

SCHEMA = "plain"
MARTS = ("mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis")

_DEFINITION = """
SELECT pg_catalog.rtrim(pg_catalog.pg_get_viewdef(pg_catalog.to_regclass(
    CASE
        WHEN r.rollup IS NULL THEN 'public.' || r.relation_name
        ELSE 'ledgerviews.' || r.rollup || '_whole'
    END
)), ';'), r.unique_key
FROM ledgerviews.relation AS r
WHERE r.relation_name = %s
"""


def definition(connection: psycopg.Connection, mart: str) -> tuple[str, list[str]]:
    """The SELECT of a mart over the application's tables and the plain copies, and its key."""
    connection.execute("SET search_path = ''")
    text, key = connection.execute(_DEFINITION, [mart]).fetchall()[0]
    connection.execute("RESET search_path")
    return text.replace("public.mart_", f"{SCHEMA}.mart_"), key


def create(connection: psycopg.Connection) -> None:
    """Create and fill the copies."""
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
    for mart in MARTS:
        text, key = definition(connection, mart)
        name = sql.Identifier(SCHEMA, mart)
        connection.execute(sql.SQL("CREATE MATERIALIZED VIEW {} AS ").format(name) + sql.SQL(text))
        columns = sql.SQL(", ").join(map(sql.Identifier, key))
        connection.execute(sql.SQL("CREATE UNIQUE INDEX ON {} ({})").format(name, columns))
    connection.execute("VACUUM (ANALYZE)")


def refresh(connection: psycopg.Connection, *, schema: str = SCHEMA) -> None:
    """Refresh the copies, or the published views themselves, as one would by hand."""
    for mart in MARTS:
        connection.execute(
            sql.SQL("REFRESH MATERIALIZED VIEW CONCURRENTLY {}").format(sql.Identifier(schema, mart))
        )


def psql(bin_dir: Path, url: str) -> list[str]:
    """The command that refreshes the copies."""
    statements = [
        word for mart in MARTS for word in ("-c", f"REFRESH MATERIALIZED VIEW CONCURRENTLY {SCHEMA}.{mart}")
    ]
    return [str(bin_dir / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, *statements]
