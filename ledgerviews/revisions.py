"""Where the revisions are and which one is the newest, read as text: no Alembic is imported.

``ledgerviews refresh`` compares the newest packaged revision with the database's before each run, and
importing Alembic for that would cost half a second.
"""

from __future__ import annotations

import ast
import importlib.util
from contextlib import suppress
from pathlib import Path

from .config import PACKAGED_MIGRATIONS
from .errors import DriftError, UsageError

_WRITE = "Run `ledgerviews db revision -m TEXT`, then `ledgerviews db upgrade`."


def location(migrations: str) -> Path:
    """The folder of ``package:folder`` or of a path; raises UsageError when there is none.

    The packaged migrations stand inside the package in a wheel and beside it in a checkout.
    """
    package, colon, folder = migrations.partition(":")
    if colon and "/" not in package:
        roots = _package_folders(package)
        candidates = [root / folder for root in roots]
        if migrations == PACKAGED_MIGRATIONS:
            candidates += [root.parent / folder for root in roots]
    else:
        candidates = [Path(migrations)]
    with suppress(OSError, ValueError):  # no path at all: too long, or with a NUL in it
        for candidate in candidates:
            if (candidate / "versions").is_dir():
                return candidate
    raise UsageError(
        f"There are no migrations at {migrations!r}.",
        hint="LEDGERVIEWS_MIGRATIONS is package:folder or a path, to the folder of env.py and versions/;"
        " a package must be installed, on PYTHONPATH or in the folder where the command is run.",
    )


def heads(migrations: str) -> frozenset[str]:
    """The revisions that no other one builds on."""
    graph = _graph(location(migrations))
    return frozenset(graph) - frozenset(parent for parents in graph.values() for parent in parents)


def known(migrations: str) -> frozenset[str]:
    """All revisions that stand at the location."""
    return frozenset(_graph(location(migrations)))


def flaw(folder: Path) -> UsageError | None:
    """Why the files below a folder are no history: one is no Python, or builds on one that is not there."""
    try:
        graph = _graph(folder)
    except UsageError as exc:
        return exc
    for revision, parents in graph.items():
        if missing := [parent for parent in parents if parent not in graph]:
            return UsageError(
                f"Revision {revision} builds on {missing[0]}, which is not in {folder / 'versions'}.",
                hint="Mend its down_revision, or bring the other file back, then run the command again.",
            )
    return None


def installed(migrations: str) -> bool:
    """Whether they stand inside an installed package, and not in a checkout or a project."""
    folder = location(migrations).resolve()
    inside = migrations == PACKAGED_MIGRATIONS and folder.parent == Path(__file__).resolve().parent
    return inside or not {"site-packages", "dist-packages"}.isdisjoint(folder.parts)


def none_written(migrations: str) -> str | None:
    """That a history has no revision yet, and what writes one; None where it has one."""
    folder = location(migrations)
    return (
        None if _graph(folder) else f"No revision is written yet ({folder / 'versions'} is empty). {_WRITE}"
    )


def fork(migrations: str) -> UsageError | None:
    """The error for a history with more than one newest revision; None for any other."""
    newest = heads(migrations)
    if len(newest) < 2:  # noqa: PLR2004 (one is as it should be)
        return None
    return UsageError(
        f"More than one revision is the newest: {', '.join(sorted(newest))}. They were written beside each"
        " other.",
        hint="Join them by `alembic merge heads -m TEXT`; or have one follow the other by its"
        " down_revision, if no database is at it yet. Then run this again.",
    )


def not_installed(database: str, migrations: str | None) -> DriftError:
    """The error for a database without the engine, with what installs it from this history."""
    hint: str | None = "Run `ledgerviews db upgrade`."
    if migrations is None:
        hint = (
            "Run `alembic upgrade head`, or set LEDGERVIEWS_MIGRATIONS to where the revisions are and run"
            " `ledgerviews db upgrade`."
        )
    else:
        with suppress(UsageError):  # what cannot be read is told by what reads it
            forked = fork(migrations)
            hint = str(forked) if forked else none_written(migrations) or hint
    return DriftError(f"ledgerviews is not installed in database {database!r}.", hint=hint)


def behind(database: str, installed: frozenset[str], migrations: str) -> DriftError | None:
    """The error for a database that is at other revisions than the newest of a history; None at those."""
    newest = heads(migrations)
    if installed == newest:
        return None
    if foreign := installed - known(migrations):
        return _foreign(database, ", ".join(sorted(foreign)), ", ".join(sorted(newest)), migrations)
    if forked := fork(migrations):
        return DriftError(forked.message, hint=forked.hint)
    at = ", ".join(sorted(installed)) or "no revision"
    hint = "Run `ledgerviews db upgrade` (or `alembic upgrade head`)."
    if not installed and migrations == PACKAGED_MIGRATIONS:
        # The engine is there all the same, so a history of somebody's own has installed it.
        hint += " Or set LEDGERVIEWS_MODELS, where the relations are a project's own."
    return DriftError(
        f"A migration is pending: database {database!r} is at {at}, the package at {', '.join(newest)}.",
        hint=hint,
    )


def _foreign(database: str, at: str, newest: str, migrations: str) -> DriftError:
    if migrations == PACKAGED_MIGRATIONS:
        return DriftError(
            f"Database {database!r} is at revision {at}, which this package does not have; its newest is"
            f" {newest}.",
            hint=elsewhere(migrations),
        )
    has = f"its newest is {newest}" if newest else "there is none"
    return DriftError(
        f"Database {database!r} is at revision {at}, which is not in {location(migrations) / 'versions'};"
        f" {has}.",
        hint=elsewhere(migrations),
    )


def elsewhere(migrations: str) -> str:
    """Where the revision that a database is at may be, where this history does not have it."""
    if migrations == PACKAGED_MIGRATIONS:
        return (
            "LEDGERVIEWS_MODELS and LEDGERVIEWS_MIGRATIONS are not set here: set them where the revisions are"
            " a project's own. Else upgrade the package ledgerviews here to the one that migrated the"
            " database."
        )
    return (
        f"LEDGERVIEWS_MIGRATIONS ({migrations}) leads there: bring that folder to the state that migrated"
        " the database, or set the variable to another."
    )


def _package_folders(package: str) -> list[Path]:
    if not all(part.isidentifier() for part in package.split(".")):
        return []
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # the parent of a dotted one
        return []
    return [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []


def _graph(folder: Path) -> dict[str, tuple[str, ...]]:
    """Each revision with those that it builds on."""
    graph: dict[str, tuple[str, ...]] = {}
    for path in sorted((folder / "versions").glob("*.py")):
        values = _literals(path)
        if isinstance(revision := values.get("revision"), str):
            down = values.get("down_revision")
            graph[revision] = (down,) if isinstance(down, str) else tuple(down or ())
    return graph


def _literals(path: Path) -> dict[str, str | tuple[str, ...] | None]:
    """The values of ``revision`` and ``down_revision`` in a revision file."""
    found: dict[str, str | tuple[str, ...] | None] = {}
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in {"revision", "down_revision"}:
                try:
                    found[target.id] = ast.literal_eval(value)
                except ValueError:
                    raise UsageError(
                        f"{path}: {target.id} is computed.", hint="Write its value: it is read, not run."
                    ) from None
    return found


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as exc:  # of a NUL the first versions of Python say the latter
        raise no_python(str(path), exc) from None


def no_python(file: str, exc: SyntaxError | ValueError) -> UsageError:
    """The error for a file that cannot be parsed."""
    where, what = "", str(exc)
    if isinstance(exc, SyntaxError):
        where, what = f"line {exc.lineno}, " if exc.lineno else "", exc.msg
    return UsageError(
        f"{file} is no Python: {where}{what}.", hint="Mend it, or take it away, then run the command again."
    )
