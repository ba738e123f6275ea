"""Timing, medians, and saying which goals are met."""

from __future__ import annotations

import statistics
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass
class Results:
    """Lines printed so far, and how many goals fell short."""

    short: int = 0
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Print a line at once."""
        self.lines.append(line)
        print(line, flush=True)

    def times(self, what: str, seconds: Sequence[float]) -> None:
        """Print how long something took."""
        self.say(f"  {what:<58} {shown(seconds)}")

    def goal(self, what: str, value: float, most: float, *, unit: str = "") -> None:
        """Print a figure beside the most that it may be."""
        if value <= most:
            verdict = "met"
        else:
            self.short += 1
            verdict = f"SHORT by {value / most - 1:.0%}"
        self.say(f"  {what:<58} {value:9.4f}{unit}   goal: at most {most:g}{unit}   {verdict}")


def shown(seconds: Sequence[float]) -> str:
    """A median in ms, with the least and the most."""
    low, middle, high = (1000 * f(seconds) for f in (min, statistics.median, max))
    return f"{middle:10.2f} ms ({low:.2f} to {high:.2f}, n={len(seconds)})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The ratio of two medians."""
    return statistics.median(ours) / statistics.median(theirs)


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Add the wall time of a block to a list."""
    started = time.perf_counter()
    yield
    into.append(time.perf_counter() - started)


def command(words: Sequence[str], *, environment: Mapping[str, str]) -> float:
    """The wall time of a whole command, which has to succeed."""
    started = time.perf_counter()
    subprocess.run(words, check=True, env=environment, capture_output=True)
    return time.perf_counter() - started
