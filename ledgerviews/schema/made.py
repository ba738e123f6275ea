"""One declared relation under a temporary name, and what is tried on it: indexes, options, checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import sql

from .check_trial import fault
from .keys import split_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keys import Spec
    from .live import Run

    Send = Callable[[str, str], None]


@dataclass
class Made:
    """A temporary view.

    Attributes:
        run: runs a statement.
        name: its own, which it bears only while what reads it is made.
        unique: one that occurs nowhere else.
        shown: whether it bears its own.
        table: whether there is a table of the same columns.
        indexes: the names under which the declared indexes were made.
        fault: what is wrong with its checks, as a printed spec has it.
    """

    run: Run
    name: str
    unique: str
    shown: bool = True
    table: bool = False
    indexes: list[str] = field(default_factory=list)
    fault: dict[str, Any] = field(default_factory=dict)

    def rename(self, *, shown: bool) -> None:
        """Have it bear its own name, or the unique one."""
        if self.shown == shown:
            return
        old, new = (self.unique, self.name) if shown else (self.name, self.unique)
        self.run(f"ALTER VIEW {temporary(old)} RENAME TO {quoted(new)}", None)
        self.shown = shown

    def index(self, spec: Spec, send: Send) -> None:
        """Make the declared indexes, on a table of the same columns."""
        if not spec.get("indexes"):
            return
        table = self._rows()
        for number, index in enumerate(spec["indexes"]):
            name = f"{self.unique}:{number}"
            unique, rest = split_index(index)
            send("indexes", f"CREATE {unique}INDEX {quoted(name)} ON {temporary(table)} {rest}")
            self.indexes.append(name)

    def set_options(self, spec: Spec, send: Send) -> None:
        """Set the declared options: of a view on itself, else on a table of the same columns."""
        if not spec.get("options"):
            return
        given = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(str(value)))
            for name, value in spec["options"].items()
        )
        kind, name = ("VIEW", self.name) if spec["kind"] == "view" else ("TABLE", self._rows())
        send("options", f"ALTER {kind} {temporary(name)} SET ({given.as_string(None)})")

    def try_checks(self, spec: Spec, awaits: Callable[[str], bool]) -> None:
        """Try the checks, on a table of the same columns: the first that cannot be run is noted."""
        checks = [check for check in spec.get("checks", ()) if check.get("expression") is not None]
        if checks:
            self.fault = fault(
                self.run,
                checks,
                rows=temporary(self._rows()),
                view=temporary(f"{self.unique}:check"),
                awaits=awaits,
            )

    def _rows(self) -> str:
        table = f"{self.unique}:rows"
        if not self.table:
            self.run(f"CREATE TEMPORARY TABLE {quoted(table)} (LIKE {temporary(self.name)})", None)
            self.table = True
        return table


def temporary(name: str) -> str:
    """A name in pg_temp."""
    return f"pg_temp.{quoted(name)}"


def quoted(name: str) -> str:
    """An identifier."""
    return sql.Identifier(name).as_string(None)
