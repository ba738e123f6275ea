"""The grants of a database role that exports and can do nothing else. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATE = ("export_run", "export_table", "export_partition", "export_job")


def role_statements(role: str, *, schema: str, relations: Sequence[str]) -> list[str]:
    """The SQL that makes the role, without a password, and grants what it needs on relations and state."""
    name = sql.Identifier(role)
    published = sql.SQL(", ").join(sql.Identifier(schema, one) for one in relations)
    state = sql.SQL(", ").join(sql.Identifier("ledgerviews", one) for one in _STATE)
    statements = [
        sql.SQL("CREATE ROLE {} LOGIN NOINHERIT").format(name),
        sql.SQL("GRANT USAGE ON SCHEMA {}, ledgerviews TO {}").format(sql.Identifier(schema), name),
        sql.SQL("GRANT SELECT ON {} TO {}").format(published, name),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(state, name),
    ]
    return [one.as_string() for one in statements]
