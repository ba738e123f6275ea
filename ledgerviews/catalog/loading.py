"""Finds what a models package declares, by its dotted path."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError, LedgerviewsError, UsageError

from .fields import require_tuples
from .graph import Catalog
from .model import Model
from .source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

_AGAIN = "Mend it, then run the command again."


def load(dotted: str) -> Catalog:
    """Import a models package by its dotted path and collect what it declares."""
    package = _import(dotted)
    sources: list[Source] = []
    models: list[Model] = []
    for module in _modules(package, dotted):
        declared = getattr(module, "SOURCES", ())
        require_tuples(f"Module {module.__name__}", Source, SOURCES=declared)
        sources.extend(declared)
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


def _import_module(dotted: str, package: str) -> ModuleType:
    """Import a module of a models package."""
    try:
        return importlib.import_module(dotted)
    except LedgerviewsError:
        raise
    except Exception as exc:
        if isinstance(exc, ModuleNotFoundError) and _leads_to(dotted, exc.name):
            raise
        # Whatever a declaration's own code raises is its author's to mend, an OSError, too.
        raise _fault(exc, dotted, package) from exc


def _leads_to(dotted: str, missing: str | None) -> bool:
    """Whether what is missing is the module itself, or a package that it stands in."""
    return missing is not None and f"{dotted}.".startswith(f"{missing}.")


def _fault(exc: Exception, dotted: str, package: str) -> DeclarationError:
    """The error for what the import of a module raised: file, line, what Python says, in one line."""
    if isinstance(exc, SyntaxError) and exc.filename is not None:
        line = f", line {exc.lineno}" if exc.lineno else ""
        return DeclarationError(f"{exc.filename}{line}: {exc.msg}.", hint=_AGAIN)
    words = " ".join("".join(traceback.format_exception_only(exc)).split()).rstrip(".")
    frames = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(exc.__traceback__)
        if Path(frame.f_code.co_filename).is_file()
    ]
    # Of the package's own files, or else of those that stand above it, the last one is to blame.
    own = [one for one in frames if f"{one[0]}.".startswith(f"{package}.")]
    place = (own or [one for one in frames if f"{package}.".startswith(f"{one[0]}.")])[-1:]
    if not place:
        # No line of it was run: one that cannot be read, or has a NUL in it.
        return DeclarationError(f"Module {dotted} cannot be imported: {words}.", hint=_AGAIN)
    ((_, file, at),) = place
    where = "" if frames[-1] == place[0] else f" (raised in {frames[-1][1]}, line {frames[-1][2]})"
    return DeclarationError(f"{file}, line {at}: {words}{where}.", hint=_AGAIN)


def _import(dotted: str) -> ModuleType:
    with suppress(ModuleNotFoundError):  # what the package itself lacks is another error
        if all(part.isidentifier() for part in dotted.split(".")):
            return _import_module(dotted, dotted)
    raise UsageError(
        f"The models package {dotted!r} cannot be imported.",
        hint="LEDGERVIEWS_MODELS is a dotted path; the package must be installed or on PYTHONPATH.",
    )


def _modules(package: ModuleType, dotted: str) -> Iterable[ModuleType]:
    """The package and all modules below it, but for its demonstration data (``DEMO``)."""
    yield package
    skipped = getattr(package, "DEMO", None)
    for info in pkgutil.iter_modules(getattr(package, "__path__", ()), package.__name__ + "."):
        if info.name != skipped:
            module = _import_module(info.name, dotted)
            yield from _modules(module, dotted) if info.ispkg else [module]


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
