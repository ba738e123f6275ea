"""What cannot be compared, because this role lacks a right that creating it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledgerviews import db
from ledgerviews.errors import DatabaseError

from .compare import CHANGE, RENAME
from .keys import located

if TYPE_CHECKING:
    import psycopg

    from .declare import Comparison

NOT_ALLOWED = "42501"
_PRINTED = frozenset({"definition", "indexes"})
"""What is known only once PostgreSQL has printed it."""


def require_allowed(found: Comparison, *, schema: str, connection: psycopg.Connection | None) -> None:
    """Raise DatabaseError where nobody can say whether what stands is what is declared.

    Args:
        found: what differs.
        schema: the target schema.
        connection: whose role lacks the right; its transaction is rolled back then.
    """
    untold = [
        (".".join(located(one.former or one.key, schema)), one.normal.error)
        for one in found.differences
        if one.normal is not None
        and one.normal.error is not None
        and one.normal.sqlstate == NOT_ALLOWED
        and one.what in {CHANGE, RENAME}
        and _PRINTED & set(one.aspects)
    ]
    if not untold:
        return
    error = untold[0][1]
    names = ", ".join(name for name, told in untold if told == error)
    raise DatabaseError(
        f"{error}, so that {names} cannot be compared with what is declared.",
        hint=db.mend(error, connection, db.Task.COMPARE),
    )
