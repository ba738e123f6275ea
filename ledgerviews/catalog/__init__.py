"""What a team declares: sources that it reads and models that it publishes, and the graph between them.

A models package holds ``sources.py`` with ``SOURCES`` and, anywhere below it, pairs of files: ``x.sql``
(one plain SELECT that runs in psql as it is) beside ``x.py`` (its declaration, ``MODEL``).
"""

from .check import Check, Severity, expression, not_null, unique
from .export import Drift, Export, Policy
from .fields import require_tuples
from .graph import Catalog
from .loading import load
from .model import Kind, Model
from .source import Source

__all__ = [
    "Catalog",
    "Check",
    "Drift",
    "Export",
    "Kind",
    "Model",
    "Policy",
    "Severity",
    "Source",
    "expression",
    "load",
    "not_null",
    "require_tuples",
    "unique",
]
