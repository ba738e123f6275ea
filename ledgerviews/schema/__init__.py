"""Declarations into the database: the source contract, Alembic operations, and what an env.py runs."""

from . import autogenerate  # noqa: F401 (registers our part of Alembic's autogenerate)
from .declare import declare
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
    "declare",
    "run_migrations",
]
