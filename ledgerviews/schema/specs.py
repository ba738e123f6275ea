"""Declarations as specs: the plain dicts that are compared with the database and frozen in revisions. Pure.

A key is a bare name (of a model, in the target schema) or ``schema.name`` (exactly there: an entity of
alembic-utils, whose text is run as it is, or a source). What a spec does not hold is not declared.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from ledgerviews.errors import DeclarationError
from ledgerviews.sqltext import MODEL_SCHEMA, identifiers, qualified_names, statement

from .keys import LONGEST_NAME, SOURCE, Spec, located
from .render import arguments_of, source_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ledgerviews.catalog import Catalog, Model, Source

_KINDS = {"view": "view", "materialized_view": "materialized view"}


def declared(
    catalog: Catalog | None,
    entities: Iterable[Any] = (),
    *,
    schema: str,
    search_path: Sequence[str] = (MODEL_SCHEMA,),
) -> dict[str, Spec]:
    """The specs of all models, tracked sources and entities, each after all that it reads.

    Args:
        catalog: the models and sources; None where there are entities only.
        entities: alembic-utils' PGView and PGMaterializedView.
        schema: the target schema of the models.
        search_path: the schemas in which a name without one is looked up in an entity's text.

    Raises DeclarationError where two have one name, or read each other in a circle.
    """
    found: dict[str, Spec] = {}
    if catalog is not None:
        sources = {source.qualified: source for source in catalog.sources.values()}
        tracked = [source for source in sources.values() if source.day is not None]
        for source in sorted(tracked, key=lambda one: one.parent is not None):
            found[source.qualified] = _source(source, sources)
        found |= {model.name: _model(catalog, model) for model in catalog.models.values()}
    places = {located(key, schema): key for key, spec in found.items() if spec["kind"] != SOURCE}
    for entity in entities:
        key, spec = _entity(entity)
        if located(key, schema) in places:
            raise DeclarationError(f"{key} is declared twice: one relation, one declaration.")
        places[located(key, schema)] = key
        found[key] = spec
    for key, spec in found.items():
        if spec["kind"] != SOURCE:
            spec["reads"] = sorted(_reads(key, spec, places, search_path))
    return {key: found[key] for key in ordered(found)}


def ordered(specs: Mapping[str, Spec]) -> list[str]:
    """The keys, sources first, so that each stands after all that it reads; a circle is refused by name."""
    graph = {
        key: [read for read in spec.get("reads", ()) if read in specs and read != key]
        for key, spec in specs.items()
    }
    sorter = TopologicalSorter(graph)
    try:
        order = list(sorter.static_order())
    except CycleError as exc:
        raise DeclarationError(
            "The relations read each other in a circle: " + " -> ".join(reversed(exc.args[1])) + ".",
            hint="Have the SELECT of one of them do without the next.",
        ) from None
    return sorted(order, key=lambda key: specs[key]["kind"] != SOURCE)


def still_read(
    specs: Mapping[str, Spec], gone: Iterable[str], *, schema: str, search_path: Sequence[str]
) -> list[tuple[str, str]]:
    """Each declared relation whose text names one that goes, with that one."""
    going = list(gone)
    found = []
    for key, spec in specs.items():
        if spec["kind"] == SOURCE:
            continue
        # A model is written against public; a name that is declared stands for that.
        here = schema if "." in key else MODEL_SCHEMA
        places = {located(one, here): one for one in [*going, *specs]}
        named = _named(spec["definition"], places, search_path if "." in key else ())
        found += [(key, one) for one in going if one in named]
    return found


def checked(check: Mapping[str, Any]) -> Spec:
    """A check without what it leaves to the default."""
    defaults: Spec = {"columns": [], "expression": None, "severity": "error"}
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in check.items()}
    return {name: value for name, value in listed.items() if name not in defaults or value != defaults[name]}


def _model(catalog: Catalog, model: Model) -> Spec:
    spec: Spec = {"kind": str(model.kind), **arguments_of(catalog, model)}
    if "checks" in spec:
        spec["checks"] = [checked(check) for check in spec["checks"]]
    if model.indexes:
        spec["indexes"] = list(model.indexes)
    if model.options:
        spec["options"] = dict(model.options)
    if model.grants:
        spec["grants"] = {role: sorted(privileges) for role, privileges in model.grants.items()}
    if model.owner is not None:
        spec["owner"] = model.owner
    if model.formerly is not None:
        spec["renamed_from"] = model.formerly
    return spec


def _source(source: Source, sources: Mapping[str, Source]) -> Spec:
    return {"kind": SOURCE, "name": source.name, **source_arguments(source, sources)}


def _entity(entity: Any) -> tuple[str, Spec]:
    kind = _KINDS.get(str(getattr(entity, "type_", "")))
    if kind is None:
        raise DeclarationError(
            f"{entity!r} is no PGView and no PGMaterializedView.",
            hint="Only views and materialized views are taken; leave the others with alembic-utils.",
        )
    if "." in entity.schema:
        raise DeclarationError(f"The schema {entity.schema!r} has a dot in its name; none such is taken.")
    for name in (entity.schema, entity.signature):
        if len(name.encode()) > LONGEST_NAME:
            raise DeclarationError(
                f"{entity.schema}.{entity.signature}:"
                f" PostgreSQL cuts a name of more than {LONGEST_NAME} bytes.",
                hint=f"Give {name} a shorter name.",
            )
    # alembic-utils sends its text through SQLAlchemy, where a colon may have to be written \:.
    spec: Spec = {"kind": kind, "definition": statement(entity.definition.replace("\\:", ":"))}
    if kind != "view" and not getattr(entity, "with_data", True):
        spec["with_data"] = False
    return f"{entity.schema}.{entity.signature}", spec


def _reads(
    key: str,
    spec: Spec,
    places: Mapping[tuple[str, str], str],
    search_path: Sequence[str],
) -> set[str]:
    """The declared relations that a definition names."""
    text = spec["definition"]
    if "." not in key:
        # A model is written against public, and what it reads of the models is moved with it.
        return set(spec["reads"]) | {one for one in _named(text, places, ()) if "." in one}
    return _named(text, places, search_path) - {key}


def _named(text: str, places: Mapping[tuple[str, str], str], search_path: Sequence[str]) -> set[str]:
    """The keys of what a text names, with a schema or by the search_path."""
    named = set(qualified_names(text))
    words = identifiers(text) & {name for _, name in places} if search_path else frozenset[str]()
    for name in words:
        first = next((place for one in search_path if (place := (one, name)) in places), None)
        if first is not None and name in _tables(text):
            named.add(first)
    return {places[one] for one in named if one in places}


def _tables(text: str) -> set[str]:
    """The names without a schema that stand where a table may stand."""
    import sqlglot  # noqa: PLC0415 (a third of a second, and seldom needed)
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tree = sqlglot.parse_one(text, read="postgres")
    except SqlglotError:
        return set(identifiers(text))
    common = {one.alias for one in tree.find_all(exp.CTE)}
    return {one.name for one in tree.find_all(exp.Table) if not one.db} - common
