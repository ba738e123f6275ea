"""A declaration as the operation that a revision freezes: Python text to paste. Pure."""

from __future__ import annotations

from pprint import pformat
from typing import TYPE_CHECKING, Any

from ledgerviews.catalog import Kind
from ledgerviews.errors import DeclarationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledgerviews.catalog import Catalog, Model, Source

_WIDTH = 100


def create(catalog: Catalog, name: str) -> str:
    """The operation that installs a model, or begins to track a source (``schema.table``), as it is now."""
    sources = {source.qualified: source for source in catalog.sources.values()}
    if name in sources:
        return _call(
            "ledgerviews_create_source", sources[name].name, source_arguments(sources[name], sources)
        )
    if name not in catalog.models:
        known = ", ".join([*catalog.models, *sources])
        raise UsageError(f"There is no model or source {name!r}.", hint=f"There are: {known}.")
    model = catalog[name]
    kind = "view" if model.kind is Kind.VIEW else "materialized_view"
    return _call(f"ledgerviews_create_{kind}", name, arguments_of(catalog, model))


def track(catalog: Catalog) -> str:
    """The operation that has all sources with a day tracked; the last of a revision."""
    sources = [source.qualified for source in catalog.sources.values() if source.day is not None]
    return f"op.ledgerviews_track_sources({sources!r})" if sources else ""


def arguments_of(catalog: Catalog, model: Model) -> dict[str, Any]:
    """What the operation that creates a model is called with."""
    arguments: dict[str, Any] = {"definition": model.sql}
    if model.unique_key:
        arguments["unique_key"] = list(model.unique_key)
    arguments |= {
        "comment": model.description,
        "columns": dict(model.columns),
        "reads": sorted(catalog.upstream[model.name]),
    }
    if model.day is not None:
        from .day_range import compose  # noqa: PLC0415 (loads the SQL parser)

        if vague := [source.qualified for source in catalog.day_sources(model.name) if source.day is None]:
            raise DeclarationError(
                f"Model {model.name} declares a day, but its source {', '.join(vague)} declares none.",
                hint="Declare the column of a row's own time in it, or leave the model's day out.",
            )
        arguments |= {
            "day": model.day,
            "day_definition": compose(catalog, model.name, lo="$1", hi="$2"),
            "sources": [source.qualified for source in catalog.day_sources(model.name)],
        }
    if model.checks:
        arguments["checks"] = [
            {
                "name": check.name,
                "kind": check.kind,
                "columns": check.columns,
                "expression": check.expression,
                "severity": str(check.severity),
            }
            for check in model.checks
        ]
    return arguments


def source_arguments(source: Source, sources: Mapping[str, Source]) -> dict[str, Any]:
    """What the operation that tracks a source is called with."""
    if source.day is None:
        raise DeclarationError(
            f"Source {source.qualified} declares no day, so nothing is tracked.",
            hint="Declare the column of a row's own time.",
        )
    arguments: dict[str, Any] = {"schema": source.schema, "day": source.day}
    if source.key is not None:
        arguments["key"] = source.key
    if source.parent is not None:
        parent = sources[source.parent]
        arguments["parent"] = {
            "schema": parent.schema,
            "name": parent.name,
            "key": parent.key,
            "day": parent.day,
        }
    if source.indexes:
        arguments["indexes"] = list(source.indexes)
    return arguments


def _call(operation: str, name: str, arguments: Mapping[str, Any]) -> str:
    lines = [f"op.{operation}(", f"    {name!r},"]
    for key, value in arguments.items():
        lines.append(f"    {key}={_literal(value)},")
    return "\n".join([*lines, ")"])


def _literal(value: Any) -> str:
    """A literal that reads well: text of several lines between triple quotes, as it was written."""
    if isinstance(value, str) and "\n" in value:
        text = value.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        return f'"""\\\n{text}\n"""'
    return pformat(value, width=_WIDTH, sort_dicts=False).replace("\n", "\n    ")
