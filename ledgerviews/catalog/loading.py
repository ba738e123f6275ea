"""Finds what a models package declares, by its dotted path."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError, UsageError

from .graph import Catalog
from .model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from .source import Source


def load(dotted: str) -> Catalog:
    """Import a models package by its dotted path and collect what it declares."""
    package = _import(dotted)
    sources: list[Source] = []
    models: list[Model] = []
    for module in _modules(package):
        sources.extend(getattr(module, "SOURCES", ()))
        if isinstance(model := getattr(module, "MODEL", None), Model):
            models.append(model)
    if not models:
        raise DeclarationError(f"{dotted} declares no model.", hint="LEDGERVIEWS_MODELS names the package.")
    for orphan in sorted(_sql_files(package) - {model.path.with_suffix(".sql") for model in models}):
        raise DeclarationError(
            f"{orphan.parent.name}/{orphan.name} belongs to no model.",
            hint=f"Declare MODEL in {orphan.stem}.py beside it, in a folder with an __init__.py.",
        )
    return Catalog(sources, models)


def _import_module(dotted: str) -> ModuleType:
    try:
        return importlib.import_module(dotted)
    except SyntaxError as exc:
        raise DeclarationError(f"{exc.filename}, line {exc.lineno}: {exc.msg}.") from exc
    except TypeError as exc:
        # A declaration that names what there is not, or leaves out what must be there.
        place = traceback.extract_tb(exc.__traceback__)[-1]
        raise DeclarationError(f"{place.filename}, line {place.lineno}: {exc}.") from exc


def _import(dotted: str) -> ModuleType:
    try:
        if all(part.isidentifier() for part in dotted.split(".")):
            return _import_module(dotted)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (dotted == exc.name or dotted.startswith(exc.name + ".")):
            raise
    raise UsageError(
        f"The models package {dotted!r} cannot be imported.",
        hint="LEDGERVIEWS_MODELS is a dotted path; the package must be installed or on PYTHONPATH.",
    )


def _modules(package: ModuleType) -> Iterable[ModuleType]:
    """The package and all modules below it, but for its demonstration data (``DEMO``)."""
    yield package
    skipped = getattr(package, "DEMO", None)
    for info in pkgutil.iter_modules(getattr(package, "__path__", ()), package.__name__ + "."):
        if info.name != skipped:
            module = _import_module(info.name)
            yield from _modules(module) if info.ispkg else [module]


def _sql_files(package: ModuleType) -> set[Path]:
    """All .sql files below the package, but for those of its demonstration data."""
    folders = [Path(folder) for folder in getattr(package, "__path__", ())]
    _, _, skipped = getattr(package, "DEMO", "").rpartition(".")
    return {
        file
        for folder in folders
        for file in folder.rglob("*.sql")
        if not skipped or file.relative_to(folder).parts[0] != skipped
    }
