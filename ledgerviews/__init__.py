"""Trusted daily figures as materialized views in the PostgreSQL that a team already runs."""

__version__ = "0.1.0"
