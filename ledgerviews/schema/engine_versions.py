"""The engine's frozen SQL, version by version, and the way from one to another."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from ledgerviews.config import ENGINE_VERSION
from ledgerviews.errors import UsageError

from .engine_functions import functions

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SCHEMA = "ledgerviews"

# What runs to reach a version from the one before it, and what to go back.
_UP = {
    1: ("v1/install.sql", "v1/refresh.sql"),
    2: (
        "v2/tables.sql",
        "v2/sources.sql",
        "v2/relations.sql",
        "v2/recompute.sql",
        "v2/verify.sql",
        "v2/refresh.sql",
        "v2/carry.sql",
        "v2/roles.sql",
    ),
    3: (
        "v3/tables.sql",
        "v3/refresh.sql",
        "v3/salvage.sql",
        "v3/capture.sql",
        "v3/stage.sql",
        "v3/probe.sql",
        "v3/enlist.sql",
        "v3/build.sql",
        "v3/decide.sql",
        "v3/swap.sql",
        "v3/release.sql",
        "v3/printed.sql",
    ),
}
_DOWN = {
    1: ("v1/remove.sql",),
    2: ("v2/remove.sql", "v1/refresh.sql"),
    3: ("v3/remove.sql",),
}
LATEST = ENGINE_VERSION


def script(previous: int, version: int) -> str:
    """The SQL that takes a database from one engine version to another; 0 is no engine.

    From a version to itself it makes the functions anew, whatever became of them.
    """
    for number in (previous, version):
        if not 0 <= number <= LATEST:
            raise UsageError(
                f"There is no engine version {number}; this package has 1 to {LATEST}.",
                hint="Upgrade the package ledgerviews, or name a version that it has.",
            )
    if version == previous:
        return _anew(version)
    if version > previous:
        parts = [part for number in range(previous + 1, version + 1) for part in _UP[number]]
    else:
        parts = [part for number in range(previous, version, -1) for part in _DOWN[number]]
    texts = [_file(part).read_text(encoding="utf-8") for part in parts]
    return "\n".join(texts if version > previous else [*texts, *_former(previous, version)])


def _former(previous: int, version: int) -> list[str]:
    """What makes those functions that the newer version has otherwise as the older one has them."""
    newer = functions(script(0, previous))
    return [
        one.anew()
        for signature, one in functions(script(0, version)).items()
        if signature in newer and newer[signature] != one
    ]


def _anew(version: int) -> str:
    if not version:
        return ""
    made = [function.anew() for function in functions(script(0, version)).values()]
    # What is printed of them may be remembered, too.
    last = [_file(part).read_text(encoding="utf-8") for part in _UP[version] if part.endswith("/printed.sql")]
    return "\n".join([*made, *last])


def _file(part: str) -> Traversable:
    return files("ledgerviews.schema").joinpath("engine", *part.split("/"))
