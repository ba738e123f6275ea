"""Declarations into the database: the source contract, Alembic operations, and what an env.py runs."""

from .environment import run_migrations
from .operations import CreateOp, DropOp, EngineOp
from .replace import ReplaceOp
from .source_operations import CreateSourceOp, DropSourceOp, TrackSourcesOp

__all__ = [
    "CreateOp",
    "CreateSourceOp",
    "DropOp",
    "DropSourceOp",
    "EngineOp",
    "ReplaceOp",
    "TrackSourcesOp",
    "run_migrations",
]
