"""Declarations into the database: the source contract, Alembic operations, and what an env.py runs."""

from .environment import run_migrations
from .operations import CreateOp, DropOp, EngineOp

__all__ = ["CreateOp", "DropOp", "EngineOp", "run_migrations"]
