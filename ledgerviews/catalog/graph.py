"""The declarations of one team, checked against each other, in dependency order."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError, UsageError
from ledgerviews.sqltext import MODEL_SCHEMA, qualified_names

from .model import Kind
from .source import require_parent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .model import Model
    from .source import Source

_LONGEST_NAME = 63  # bytes; PostgreSQL's NAMEDATALEN less one


class Catalog:
    """The sources and models of one team, checked, in dependency order."""

    def __init__(self, sources: Iterable[Source], models: Iterable[Model]) -> None:
        """Check the declarations against each other; raises DeclarationError."""
        self.sources: dict[tuple[str, str], Source] = {}
        for source in sources:
            if self.sources.setdefault((source.schema, source.name), source) != source:
                raise DeclarationError(
                    f"Source {source.schema}.{source.name} is declared twice, differently."
                )
        for source in self.sources.values():
            require_parent(source, self.sources)
        by_name: dict[str, Model] = {}
        for model in models:
            if model.name in by_name:
                raise DeclarationError(f"Two models are named {model.name}: one model, one name, one place.")
            if len(model.name.encode()) > _LONGEST_NAME:
                raise DeclarationError(
                    f"Model {model.name}: PostgreSQL cuts a name of more than {_LONGEST_NAME} bytes."
                )
            if (MODEL_SCHEMA, model.name) in self.sources:
                raise DeclarationError(f"Model {model.name} has the name of a source.")
            by_name[model.name] = model
        _require_former_names(by_name)
        self.upstream = {name: _reads(model, by_name) for name, model in by_name.items()}
        self.models = {name: by_name[name] for name in _ordered(self.upstream)}

    def __getitem__(self, name: str) -> Model:
        """The model of that name; a UsageError lists what there is."""
        try:
            return self.models[name]
        except KeyError:
            raise UsageError(
                f"There is no model {name!r}.", hint="The models are: " + ", ".join(self.models) + "."
            ) from None

    def sources_of(self, name: str) -> list[Source]:
        """The sources that a model's SELECT names itself."""
        named = qualified_names(self.models[name].sql)
        return [source for key, source in self.sources.items() if key in named]

    def day_sources(self, name: str) -> list[Source]:
        """The sources that a model's days depend on: what it reads, through views too, and their parents."""
        found = {source.qualified: source for source in self.sources_of(name)}
        for read in sorted(self.upstream[name]):
            if self.models[read].kind is Kind.VIEW:
                found.update((source.qualified, source) for source in self.day_sources(read))
        by_name = {source.qualified: source for source in self.sources.values()}
        for source in list(found.values()):
            if source.parent is not None:
                found[source.parent] = by_name[source.parent]
        return [found[key] for key in sorted(found)]


def _require_former_names(models: Mapping[str, Model]) -> None:
    """Raise DeclarationError where a former name is still a model's, or two models'."""
    seen: dict[str, str] = {}
    for model in models.values():
        if model.formerly is None:
            continue
        if model.formerly in models:
            raise DeclarationError(
                f"Model {model.name} was formerly {model.formerly}, which is a model of its own."
            )
        if (other := seen.setdefault(model.formerly, model.name)) != model.name:
            raise DeclarationError(f"Models {other} and {model.name} were both formerly {model.formerly}.")


def _reads(model: Model, models: Mapping[str, Model]) -> frozenset[str]:
    return frozenset(
        name for schema, name in qualified_names(model.sql) if schema == MODEL_SCHEMA and name in models
    )


def _ordered(upstream: Mapping[str, frozenset[str]]) -> list[str]:
    """Names so that each stands after all that it reads; ties in alphabetical order."""
    sorter = TopologicalSorter({name: sorted(upstream[name]) for name in sorted(upstream)})
    try:
        sorter.prepare()
    except CycleError as exc:
        circle = list(reversed(exc.args[1]))
        raise DeclarationError(
            "The models read each other in a circle: " + " -> ".join(circle) + ".",
            hint=f"Have one of them do without the next, as {circle[0]}.sql without"
            f" {MODEL_SCHEMA}.{circle[1]}.",
        ) from None
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return order
