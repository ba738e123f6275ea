"""A real PostgreSQL for development and tests: our own small launcher around packaged binaries."""

from .server import Server

__all__ = ["Server"]
