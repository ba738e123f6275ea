"""What no revision is written for: definitions that cannot be, and drops of what is still read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews import db
from ledgerviews.config import DEFAULT_MODELS
from ledgerviews.errors import DeclarationError, UnwritableError
from ledgerviews.sqltext import dotted_name, qualified_names, statement

from .compare import DROP
from .contract import what_declares
from .denied import NOT_ALLOWED
from .engine_versions import SCHEMA
from .keys import SOURCE
from .pointing import in_file
from .specs import still_read
from .sql_errors import SYNTAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ledgerviews.catalog import Catalog

    from .compare import Difference
    from .declare import Comparison
    from .keys import Spec
    from .printed import Normal

_PACKAGED = Path(__file__).resolve().parents[1] / DEFAULT_MODELS.rpartition(".")[2]
_NO_COLUMN = "42703"
_NO_TABLE = "42P01"
_NO_ENGINE = frozenset({"3F000", "42883"})
"""No such schema, no such function."""
_AMONG = "among the columns of its source in sources.py, which are all that single days read"
_IN_PYTHON = {"indexes", "options", "checks"}
_PARTS = {
    "definition": "",
    "day_definition": " (in its SELECT of single days)",
    "indexes": " (in its indexes)",
    "options": " (in its options)",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why no revision can be written of what is declared.

    Attributes:
        told: the object and the cause, without a full stop.
        shown: the lines that show where it is.
        mend: what to do first, without a full stop.
        again: whether it is to be said that the revision comes after that.
    """

    told: str
    shown: Sequence[str] = ()
    mend: str
    again: bool = True


def require_possible(
    found: Comparison, *, catalog: Catalog | None, schema: str, others: bool, writing: bool = True
) -> None:
    """Raise DeclarationError where the revision could not be applied; UnwritableError if none is asked for.

    Args:
        found: what differs.
        catalog: the models, whose files are shown.
        schema: the target schema.
        others: whether the revision also changes tables, functions and the like, on which a definition may
            wait.
        writing: whether one is to be written; else code and database are only compared.
    """
    for fault in faults(found, catalog=catalog, schema=schema, others=others):
        # What is shown may be a list, which the first line leads to.
        ends = ":" if fault.told.endswith(":") else "."
        told = fault.told.removesuffix(":")
        if writing:
            raise DeclarationError(
                f"{told}; nothing was written{ends}",
                shown=fault.shown,
                hint=f"{fault.mend}{', then write the revision again' if fault.again else ''}.",
            )
        then = ", then `ledgerviews db revision -m TEXT` writes the revision"
        raise UnwritableError(
            f"{told}{ends}",
            shown=fault.shown,
            hint=f"{fault.mend}{then if fault.again else ''}.",
        )


def faults(
    found: Comparison, *, catalog: Catalog | None, schema: str, others: bool = False
) -> Iterator[Fault]:
    """Everything for which no revision is written, in the order in which it is told."""
    gone = [one.key for one in found.differences if one.what == DROP and (one.before or {})["kind"] != SOURCE]
    for reader, going in still_read(found.specs, gone, schema=schema, search_path=found.schemas):
        # Only a model has a former name: an entity's key has a schema.
        renamed = "" if "." in going else f"; where {going} has another name now, say so with formerly"
        yield Fault(
            told=f"{going} is declared no longer, and {reader} still reads it",
            mend=f"Declare {going} again, or have {reader} do without it{renamed}",
            again=False,
        )
    # Where the revision changes tables, too, columns may become what is declared.
    if found.misfits and not others:
        yield Fault(
            told="The columns that sources declare are not those of the application's tables:",
            shown=[f"{line}." for lines in found.misfits.values() for line in lines],
            mend=f"Mend what {what_declares(found.misfits)}, or run the application's own migrations first",
        )
    waiting: set[str] = set()
    for one in found.differences:
        normal = one.normal
        if one.after is None or normal is None or normal.error is None:
            continue
        # Whoever writes the revision may do less than who runs it.
        if normal.sqlstate == NOT_ALLOWED or (
            normal.sqlstate != SYNTAX
            and _may_come(one.after, normal)
            and (others or waiting & set(one.after.get("reads", ())) or _waits_for_engine(one, found))
        ):
            waiting.add(one.key)
            continue
        yield Fault(
            told=(
                f"{one.key} cannot be created: {normal.error}{_PARTS[normal.part]}"
                if normal.check is None
                else f"Check {normal.check} of {one.key} cannot be run: {normal.error}"
            ),
            shown=shown(catalog, one),
            mend=mend(catalog, one),
        )


def mend(catalog: Catalog | None, one: Difference) -> str:
    """What to do about a definition that cannot be created, without a full stop."""
    normal = one.normal
    if normal is not None and normal.error is not None and normal.sqlstate == NOT_ALLOWED:
        return db.mend(normal.error, None, db.Task.COMPARE).removesuffix(".")
    if normal is not None and (normal.part, normal.sqlstate) == ("day_definition", _NO_COLUMN):
        return _declare_column(catalog, one, normal)
    if catalog is None or one.key not in catalog.models:
        return "Mend it"
    if normal is not None and normal.sqlstate == _NO_TABLE and (made := _of_the_application(catalog, one)):
        return made
    if normal is not None and normal.part == "day_definition":
        # Its own SELECT was tried before.
        return f"Mend the day_rows of {', '.join((one.after or {})['sources'])} in sources.py"
    return f"Mend it in {one.key}{'.py' if normal is not None and normal.part in _IN_PYTHON else '.sql'}"


def _of_the_application(catalog: Catalog, one: Difference) -> str | None:
    """What to do where a table is missing that the application makes; None where it may be a wrong name."""
    if catalog.models[one.key].path.is_relative_to(_PACKAGED):
        return (
            "Run the application's own migrations; or set LEDGERVIEWS_MODELS to models of yours: where it is"
            " not set, the package's own are meant"
        )
    error = str(one.normal.error) if one.normal is not None else ""
    # PostgreSQL quotes the name, whatever language its words are in.
    if any(f'"{source.qualified}"' in error for source in catalog.sources.values()):
        return (
            "Run the application's own migrations first, or mend the name in sources.py and where it is read"
        )
    return None


def _declare_column(catalog: Catalog | None, one: Difference, normal: Normal) -> str:
    """What to do about a column that its source does not declare, or that is misspelt."""
    spec = one.after or {}
    # PostgreSQL points at the name, whatever language its words are in.
    found = None if normal.at is None else dotted_name(_text(spec, normal)[normal.at :])
    if catalog is None or found is None:
        return f"Declare it {_AMONG}"
    declared = {
        column
        for source in catalog.sources.values()
        if source.qualified in spec.get("sources", ())
        for column in source.columns
    }
    if found[-1] in declared:
        return f"The table has no {found[-1]}: mend the columns of its source in sources.py"
    near = get_close_matches(found[-1], sorted(declared), n=1)
    return f"Did you mean {near[0]}? Else declare {found[-1]} {_AMONG}" if near else f"Declare it {_AMONG}"


def shown(catalog: Catalog | None, one: Difference) -> Sequence[str]:
    """The line of its SELECT that PostgreSQL refuses, in the lines of the model's file, where it tells."""
    normal = one.normal
    if normal is None or normal.at is None or one.after is None:
        return ()
    return in_file(catalog, one.key, normal.part, normal.at, _text(one.after, normal))


def _text(spec: Spec, normal: Normal) -> str:
    """The text that PostgreSQL refuses, as it was tried."""
    if normal.check is None:
        return statement(spec[normal.part])
    return next(str(check["expression"]) for check in spec["checks"] if check["name"] == normal.check)


def _may_come(spec: Spec, normal: Normal) -> bool:
    """Whether what PostgreSQL misses may be made by the same revision.

    A check is run with nothing on the search_path, so it can only wait for what it names with a schema; m is
    the row.
    """
    return normal.check is None or any(name[0] != "m" for name in qualified_names(_text(spec, normal)))


def _waits_for_engine(one: Difference, found: Comparison) -> bool:
    """Whether what is refused calls functions of the engine, which the same revision brings."""
    if found.with_engine or one.after is None or one.normal is None:
        return False
    # Columns do not come with it: a misspelt one is told at once.
    if one.normal.sqlstate not in _NO_ENGINE or one.normal.part in {"indexes", "options"}:
        return False
    return any(name[0] == SCHEMA for name in qualified_names(_text(one.after, one.normal)))
