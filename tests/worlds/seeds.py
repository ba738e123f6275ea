"""Which seeds the suite runs."""

from __future__ import annotations

import zlib

FIXED = (1, 2, 3, 4, 5, 6)


def random_seed(run: str) -> int:
    """A new one for each run of the suite, the same in all workers of it."""
    return zlib.crc32(f"{run} worlds".encode())
