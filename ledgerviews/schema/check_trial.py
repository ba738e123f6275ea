"""Whether PostgreSQL can run the expressions of a relation's checks, tried without reading a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledgerviews.errors import DeclarationError
from ledgerviews.queries import query
from ledgerviews.sqltext import statement, unopened

from .sql_errors import ENDS_EARLY, SYNTAX, is_about_the_text, message, position, sqlstate
from .trial import undone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .live import Run

_OTHER_TYPE = "42804"
_MUST = "must be a condition, of type boolean"


def fault(
    run: Run, checks: Iterable[Mapping[str, Any]], *, rows: str, view: str, awaits: Callable[[str], bool]
) -> dict[str, Any]:
    """What is wrong with the first expression that cannot be run, as a printed spec has it; {} where all can.

    The search_path is to be the engine's. What is made is rolled back.

    Args:
        run: runs a statement.
        checks: as a spec has them, those with an expression.
        rows: a table of the relation's columns, quoted.
        view: a name to be used, quoted.
        awaits: whether an expression names what may stand otherwise when it is run.
    """
    for check in checks:
        if found := _tried(run, check["expression"], rows=rows, view=view, awaits=awaits):
            return {"part": "checks", "check": check["name"], **found}
    return {}


def _tried(
    run: Run, expression: str, *, rows: str, view: str, awaits: Callable[[str], bool]
) -> dict[str, Any]:
    # The bracket stands on a line of its own, because an expression may end in a comment.
    begin, end = f"CREATE TEMPORARY VIEW {view} AS\nSELECT m.* FROM {rows} AS m WHERE NOT (", "\n)"
    with undone(run, "ledgerviews_check"):
        try:
            # One that holds another statement is not sent: the driver would have that run, too.
            statement(expression)
            if (closed := unopened(expression)) is not None:
                # It would close ours, and what follows would stand beside NOT (…): another condition.
                told = "it closes a bracket that it does not open"
                return {"error": told, "sqlstate": SYNTAX, "at": closed}
            run(f"{begin}{expression}{end}", None)
        except DeclarationError:
            return {"error": "it holds more than one statement", "sqlstate": SYNTAX}
        except Exception as exc:
            if not is_about_the_text(exc):
                raise
            found, state = position(exc), sqlstate(exc)
            at = None if found is None else min(max(found - len(begin), 0), len(expression))
            if state == SYNTAX and at == len(expression):
                # What PostgreSQL points at is our bracket.
                return {"error": ENDS_EARLY, "sqlstate": state, "at": at}
            if state != SYNTAX and awaits(expression):
                return {}
            words = message(exc, behind=end)
            if state == _OTHER_TYPE:
                run("ROLLBACK TO SAVEPOINT ledgerviews_check", None)
                words = _no_condition(run, expression, rows=rows, view=view) or words
            return {"error": words, "sqlstate": state, "at": at}
    return {}


def _no_condition(run: Run, expression: str, *, rows: str, view: str) -> str | None:
    """What to say of an expression that is no condition: PostgreSQL speaks of a NOT that nobody wrote."""
    try:
        run(f"CREATE TEMPORARY VIEW {view} AS\nSELECT (\n{expression}\n) AS found FROM {rows} AS m", None)
        ((kind,),) = run(query("expression_type"), {"view": view})
    except Exception as exc:
        if not is_about_the_text(exc):
            raise
        # Where something within it is of another type it has none itself; no column can be a record.
        return None if sqlstate(exc) == _OTHER_TYPE else f"it {_MUST}"
    return None if kind == "boolean" else f"it is of type {kind}, and {_MUST}"
