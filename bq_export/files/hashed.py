"""A file whose SHA-256 is taken as it is written, so that nobody reads it again for that."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer


class HashedFile(io.RawIOBase):
    """A new binary file at a path, written from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        """Make the file."""
        self._file = path.open("wb")
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written so far, hexadecimal."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Say that it is."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """Close the file; a full disk may be noticed only now."""
        try:
            self._file.close()
        finally:
            super().close()
