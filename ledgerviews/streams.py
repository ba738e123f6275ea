"""The streams that a command prints to, whatever they were opened as."""

from __future__ import annotations

import os
import sys


def mend_streams() -> None:
    """Print what a stream's encoding lacks as an escape, and nothing at all where a stream is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
