"""The peer: local-bigquery as a real HTTP server, in the environment that `make test` makes."""

from __future__ import annotations

import os
from pathlib import Path

from bq_export.dev import environment

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("BQ_EXPORT_DEV_DIR") or ROOT / ".bigquery")
NAME = environment.PACKAGES[0].replace("==", " ")


def made() -> bool:
    """Whether its environment is there."""
    return environment.is_made(FOLDER)


def header() -> str:
    """A line for pytest's header."""
    if made():
        return f"BigQuery: {NAME}"
    return f"WARNING: THE EXPORT IS NOT TESTED AGAINST BIGQUERY: no {NAME} in {FOLDER.name}. {mend()}"


def mend() -> str:
    """What to do about it."""
    return "Install a Python 3.13 and run `make test`, or `bq-export dev install`."
