"""The operations that a revision freezes, and how Alembic writes them into its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import renderers

from ledgerviews.sqltext import MODEL_SCHEMA

from .freeze import frozen, literal
from .operations import EngineOp
from .replace import ReplaceOp
from .source_operations import TrackSourcesOp
from .staging import may_be_filled, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.autogenerate.api import AutogenContext
    from alembic.operations import ops

_IMPORT = "import ledgerviews.schema  # noqa: F401 (registers op.ledgerviews_*)\n"
"""A revision runs under an env.py that knows nothing of us, too; what is frozen comes after an empty line."""


@dataclass(frozen=True)
class FrozenReplaceOp(ReplaceOp):
    """The replacement that a revision freezes; ``backwards`` is that of its downgrade."""

    told: tuple[tuple[str, ...], ...] = ()
    contract: str = ""
    backwards: bool = False

    def reverse(self) -> FrozenReplaceOp:
        """The way back."""
        before, after, backwards = self.after, self.before, not self.backwards
        # What the revision drops had rows; the way back gives them back.
        fill = backwards and any(map(may_be_filled, plan(before, after, schema=MODEL_SCHEMA)))
        return FrozenReplaceOp(before, after, fill, self.told, self.contract, backwards)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """What ``alembic check`` prints: each relation, and what differs."""
        return ("ledgerviews_replace", *self.told)


@dataclass(frozen=True)
class FrozenEngineOp(EngineOp):
    """The engine that a replacement needs, where it is not there, or its functions made anew."""

    altered: tuple[str, ...] = ()

    def reverse(self) -> FrozenEngineOp:
        """The way back."""
        return FrozenEngineOp(self.previous or 0, self.version, self.altered)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """What ``alembic check`` prints."""
        return ("ledgerviews_engine", self.version, *self.altered)


@dataclass(frozen=True)
class FrozenTrackOp(TrackSourcesOp):
    """Triggers on sources of which some are gone or disabled; they stay on the way back."""

    amiss: tuple[str, ...] = ()

    def reverse(self) -> FrozenTrackOp:
        """The way back."""
        return self

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """What ``alembic check`` prints."""
        return ("ledgerviews_track_sources", *self.amiss)


def _renders(kind: type[ops.MigrateOperation]) -> Callable[[Callable[..., str]], Callable[..., str]]:
    register: Callable[[Callable[..., str]], Callable[..., str]] = renderers.dispatch_for(kind)
    return register


@_renders(FrozenReplaceOp)
def _replace(autogen_context: AutogenContext, operation: FrozenReplaceOp) -> str:
    autogen_context.imports.add(_IMPORT)
    if operation.backwards:
        fill = ", fill=True" if operation.fill else ""
        return f"op.ledgerviews_replace(views_after, views_before{fill})"
    # One text, which is sorted after all imports.
    if operation.contract:
        autogen_context.imports.add(operation.contract)
    autogen_context.imports.add(frozen(operation.before, operation.after))
    return "op.ledgerviews_replace(views_before, views_after)"


@_renders(FrozenEngineOp)
def _engine(autogen_context: AutogenContext, operation: FrozenEngineOp) -> str:
    autogen_context.imports.add(_IMPORT)
    return f"op.ledgerviews_engine(version={operation.version}, previous={operation.previous})"


@_renders(FrozenTrackOp)
def _track(autogen_context: AutogenContext, operation: FrozenTrackOp) -> str:
    autogen_context.imports.add(_IMPORT)
    return f"op.ledgerviews_track_sources({literal(list(operation.sources))})"
