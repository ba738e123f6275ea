"""LedgerMind's own tables and made-up rows for them, for development, demonstration, tests and benchmarks.

The tables belong to the application; nothing here runs against a database that holds real rows unless it
is told to.
"""

from .reference import reference_rows
from .seeding import seed
from .tables import create_tables

__all__ = ["create_tables", "reference_rows", "seed"]
