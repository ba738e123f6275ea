"""A model's SELECT, narrowed to some days: composed from the model and its sources' conditions. Pure.

The model's own SQL stays one plain SELECT. Each relation that it names is replaced, in place, by a subquery:
a view by its own narrowed SQL, a source by its rows of these days. All else stands as it was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import sqlglot
from psycopg.sql import Identifier
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ledgerviews.catalog import Kind
from ledgerviews.errors import DeclarationError, UnreadableError
from ledgerviews.sqltext import MODEL_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledgerviews.catalog import Catalog, Source

_DIALECT = "postgres"


def compose(catalog: Catalog, name: str, *, lo: str, hi: str) -> str:
    """The model's SELECT over its rows of the days from ``lo`` up to, not including, ``hi``.

    ``lo`` and ``hi`` are SQL expressions of type date. Raises DeclarationError where the model has no day, or
    reads what cannot be narrowed: a materialized view, or a source without ``day_rows``.
    """
    model = catalog[name]
    if model.day is None:
        raise DeclarationError(f"Model {name} declares no day column, so it is computed as a whole.")
    return _narrowed(catalog, name, model.sql, lo=lo, hi=hi)


@dataclass(frozen=True)
class _Replacement:
    start: int
    end: int
    text: str


def _narrowed(catalog: Catalog, name: str, sql: str, *, lo: str, hi: str) -> str:
    replacements = []
    for table in _model(name, sql).find_all(exp.Table):
        key = (table.db, table.name)
        if key in catalog.sources:
            body = _rows(catalog.sources[key], name, lo=lo, hi=hi)
        elif table.db == MODEL_SCHEMA and table.name in catalog.models:
            read = catalog.models[table.name]
            if read.kind is not Kind.VIEW:
                raise DeclarationError(
                    f"Model {name} declares a day, but reads {read.name}, a materialized view.",
                    hint="Leave its day out: it follows what it reads.",
                )
            body = _narrowed(catalog, read.name, read.sql, lo=lo, hi=hi)
        elif table.db:
            raise _unknown(catalog, name, table.db, table.name)
        else:
            continue  # a common table expression
        alias = "" if table.alias else " AS " + _identifier(table.name)
        start, end = table.args["db"].meta["start"], table.this.meta["end"] + 1
        # The subquery ends on a line of its own, because it may end in a comment.
        replacements.append(_Replacement(start, end, f"(\n{body}\n){alias}"))
    return _replaced(sql, replacements)


def _unknown(catalog: Catalog, reader: str, schema: str, name: str) -> DeclarationError:
    """What to say of a name that no model and no source has."""
    known = {model: f"{MODEL_SCHEMA}.{model}" for model in catalog.models if model != reader}
    known |= {source.name: source.qualified for source in catalog.sources.values()}
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    meant = f"; did you mean {known[near[0]]}?" if near else "."
    return DeclarationError(
        f"Model {reader} reads {schema}.{name}, and no model or source has that name{meant}",
        hint=f"Mend the name in {reader}.sql, or declare {name}: as a model, or as a source with day_rows;"
        " or leave out the day of what reads it.",
    )


def _rows(source: Source, reader: str, *, lo: str, hi: str) -> str:
    """The source's rows of the days: one arm for each of its conditions, which exclude each other."""
    if not source.day_rows:
        raise DeclarationError(
            f"Model {reader} declares a day, but its source {source.schema}.{source.name} has no day_rows.",
            hint="Declare which of its rows belong to the days from lo to hi.",
        )
    table = _identifier(source.schema, source.name)
    # Only what is declared: a column that nobody reads may be dropped.
    columns = ", ".join(_identifier(source.name, column) for column in source.columns)
    return "\nUNION ALL\n".join(
        f"SELECT {columns} FROM {table} WHERE {_bounded(source, condition, lo=lo, hi=hi)}"  # noqa: S608
        for condition in source.day_rows
    )


def _bounded(source: Source, condition: str, *, lo: str, hi: str) -> str:
    """The condition with its bare names ``lo`` and ``hi`` replaced."""
    bounds = {"lo": lo, "hi": hi}
    replacements = []
    for column in _condition(source, condition).find_all(exp.Column):
        if not column.table and column.name in bounds:
            meta = column.this.meta
            replacements.append(_Replacement(meta["start"], meta["end"] + 1, bounds[column.name]))
        elif not column.table:
            raise DeclarationError(
                f"Source {source.name}: the column {column.name} in its day_rows is not qualified.",
                hint=f"Write {source.name}.{column.name}.",
            )
    return _replaced(condition, replacements)


def _replaced(text: str, replacements: Iterable[_Replacement]) -> str:
    for replacement in sorted(replacements, key=lambda one: one.start, reverse=True):
        text = text[: replacement.start] + replacement.text + text[replacement.end :]
    return text


def _identifier(*names: str) -> str:
    return Identifier(*names).as_string()


def _model(name: str, sql: str) -> exp.Expr:
    try:
        return sqlglot.parse_one(sql, read=_DIALECT)
    except SqlglotError as exc:
        raise UnreadableError(
            f"The SQL of {name} cannot be read: {str(exc).splitlines()[0]}",
            hint=f"Mend it in {name}.sql. Where psql runs that as it is, leave out the day of what reads it:"
            " single days are composed by a parser that does not know all of PostgreSQL.",
            name=name,
            text=sql,
        ) from exc


def _condition(source: Source, condition: str) -> exp.Expr:
    try:
        return sqlglot.parse_one(condition, read=_DIALECT)
    except SqlglotError as exc:
        raise DeclarationError(
            f"Source {source.name}: a condition of its day_rows cannot be read: {str(exc).splitlines()[0]}",
            shown=[condition],
            hint=f"Write conditions on columns of {source.name}, joined by AND.",
        ) from exc
