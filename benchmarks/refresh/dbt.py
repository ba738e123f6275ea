"""A dbt project that builds the same marts as tables."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from .stage import Stage


@contextmanager
def project(stage: Stage, connection: psycopg.Connection) -> Iterator[list[str] | None]:
    """The command that builds the marts; None, with a line, where there is no dbt."""
    command = stage.options.dbt
    if command is None or not command.exists():
        stage.results.say(
            "  dbt is left out: --dbt names its command (pip install 'dbt-core<1.12' dbt-postgres)"
        )
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ledgerviews-dbt-") as parent:
        folder = Path(parent)
        models = folder / "models"
        models.mkdir()
        # JSON is YAML.
        (folder / "dbt_project.yml").write_text(
            json.dumps(
                {"name": "bench", "version": "1.0", "profile": "bench", "models": {"+materialized": "table"}}
            )
        )
        target = {
            "type": "postgres",
            "host": stage.server.host,
            "port": stage.server.port,
            "user": stage.server.user,
            "password": "",
            "dbname": "bench",
            "schema": "dbt",
            "threads": 2,
        }
        profile = {"bench": {"target": "bench", "outputs": {"bench": target}}}
        (folder / "profiles.yml").write_text(json.dumps(profile))
        for mart in plain.MARTS:
            text = plain.definition(connection, mart)[0]
            for other in plain.MARTS:
                text = text.replace(f"{plain.SCHEMA}.{other} ", "{{ ref('" + other + "') }} ")
            (models / f"{mart}.sql").write_text(text)
        where = ["--project-dir", str(folder), "--profiles-dir", str(folder)]
        yield [str(command), "--no-send-anonymous-usage-stats", "run", *where]
