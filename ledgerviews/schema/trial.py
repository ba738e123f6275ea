"""What is made in the database to be looked at, and undone."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .live import Run


@contextmanager
def undone(run: Run, name: str) -> Iterator[None]:
    """Take back whatever is run inside, on the way out or after an error, which is what is then raised."""
    run(f"SAVEPOINT {name}", None)
    try:
        yield
    except BaseException:
        # Where the connection is gone, nothing is left to be taken back, and the first error tells it.
        with suppress(Exception):
            run(f"ROLLBACK TO SAVEPOINT {name}", None)
        raise
    run(f"ROLLBACK TO SAVEPOINT {name}", None)
