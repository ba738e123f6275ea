"""Which seeds the suite runs."""

from __future__ import annotations

import zlib

FIXED = (5, 9, 21, 2, 12, 23)


def random_seeds(run: str) -> tuple[int, int]:
    """Two new ones for each run of the suite, the same in all workers of it."""
    first, second = (zlib.crc32(f"{run} {number}".encode()) for number in range(2))
    return first, second
