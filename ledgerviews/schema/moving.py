"""What a definition calls that is another at another time; no model that is computed by day may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError
from ledgerviews.queries import query
from ledgerviews.sqltext import called

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .keys import Spec
    from .live import Run
    from .printed import Normal

_WORDS = ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp")


def moving_names(run: Run, text: str) -> tuple[str, ...]:
    """The same by the names in a text, where PostgreSQL cannot parse it yet: the engine is missing, say."""
    names = called(text, words=_WORDS)
    if not names:
        return ()
    functions = [f"{name}()" for (name,) in run(query("moving_names"), {"names": sorted(names)})]
    return (*functions, *(word.upper() for word in _WORDS if word in names))


def require_steady(key: str, spec: Spec, normals: Mapping[str, Normal], specs: Mapping[str, Spec]) -> None:
    """Raise DeclarationError where a model is computed by day and its days depend on the time of that.

    Args:
        key: that of the model.
        spec: what is declared.
        normals: what was printed of the specs in question.
        specs: all that is declared.
    """
    normal = normals.get(key)
    if normal is None or not normal.moving_days or spec.get("day") is None:
        return
    where = {name: _holder(name, key, normals, specs) for name in normal.moving_days}
    calls = ", ".join(
        f"{name} in {f'{holder}.sql' if holder else 'what it reads'}" for name, holder in where.items()
    )
    own = [name for name in where if "." in name]
    steady = f" A function of yours that does not: ALTER FUNCTION {own[0]} STABLE." if own else ""
    raise DeclarationError(
        f"Model {key} is computed by day, and calls {calls}: a day is computed again only when its"
        " rows change, so what that gives would go stale.",
        hint=f"Do without it, and filter where {key} is read; or declare no day in {key}.py, so that each"
        f" refresh computes the whole.{steady}",
    )


def _holder(name: str, key: str, normals: Mapping[str, Normal], specs: Mapping[str, Spec]) -> str | None:
    """The model in whose own text it stands: this one, or a view below it; None where nobody knows."""
    for one in (key, *_below(key, specs)):
        if (normal := normals.get(one)) is not None and name in normal.moving:
            return one
    return None


def _below(key: str, specs: Mapping[str, Spec]) -> Iterable[str]:
    for read in specs[key].get("reads", ()):
        if read in specs and read != key:
            yield read
            yield from _below(read, specs)
