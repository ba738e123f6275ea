"""Deliberately wrong engines: each makes one mistake that a replacement could well make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mutants import Mutant, rewrite

if TYPE_CHECKING:
    import psycopg

_HANG = "ledgerviews.hang(ledgerviews.member, boolean)"
_DECIDE = "ledgerviews.decide()"
_BUILD = "ledgerviews.build(boolean)"
_SETTLE = "ledgerviews.settle()"
_SKIP = "        IF v_other AND v_captured.kind"


def forgets_an_index(connection: psycopg.Connection) -> None:
    """An index that was made by hand is not made again."""
    skip = "v_captured.kind = 'index' AND v_captured.object ~ 'byhand' OR "
    rewrite(connection, _HANG, (_SKIP, _SKIP.replace("IF ", f"IF {skip}")))


def forgets_column_grants(connection: psycopg.Connection) -> None:
    """A grant on a column is not given again."""
    skip = "v_captured.kind = 'grant' AND v_captured.columns <> '{}' OR "
    rewrite(connection, _HANG, (_SKIP, _SKIP.replace("IF ", f"IF {skip}")))


def keeps_default_privileges(connection: psycopg.Connection) -> None:
    """What the default privileges of the shadow schema give stays on what is swapped in."""
    skip = "v_captured.statement LIKE '%clear_grants%' OR "
    rewrite(connection, _HANG, (_SKIP, _SKIP.replace("IF ", f"IF {skip}")))


def forgets_options_in_place(connection: psycopg.Connection) -> None:
    """A view that is replaced in place loses its security_barrier."""
    rewrite(
        connection,
        _DECIDE,
        (
            "WHERE c.oid = m.old\n                ) || ')'",
            "WHERE false\n                ) || ')'",
        ),
    )


def repoints_to_the_old_one(connection: psycopg.Connection) -> None:
    """A view that others have on what is swapped goes on reading the old one."""
    rewrite(
        connection,
        _DECIDE,
        (
            "ELSE ledgerviews.moved(pg_catalog.rtrim(pg_catalog.pg_get_viewdef(m.old, false), ';'), v_names)",
            "ELSE pg_catalog.rtrim(pg_catalog.pg_get_viewdef(m.old, false), ';')",
        ),
    )


def empties_what_it_rebuilds(connection: psycopg.Connection) -> None:
    """A materialized view that had rows is swapped for one that has none."""
    rewrite(
        connection,
        _BUILD,
        ("THEN (SELECT c.relkind = 'v' OR c.relispopulated FROM", "THEN (SELECT false FROM"),
    )


def calls_it_never_computed(connection: psycopg.Connection) -> None:
    """The next refresh recomputes everything that was rebuilt."""
    rewrite(connection, _SETTLE, ("WHEN NOT m.needed THEN", "WHEN true THEN"))


MUTANTS = (
    Mutant(mutate=forgets_an_index, seed=1),
    Mutant(mutate=forgets_column_grants, seed=1),
    Mutant(mutate=keeps_default_privileges, seed=3),
    Mutant(mutate=forgets_options_in_place, seed=3),
    Mutant(mutate=repoints_to_the_old_one, seed=1),
    Mutant(mutate=empties_what_it_rebuilds, seed=1),
    Mutant(mutate=calls_it_never_computed, seed=13),
)
