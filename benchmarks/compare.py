"""How long autogenerate and check take as whole commands, for chains of ten views and materialized views.

    python -m benchmarks.compare
    python -m benchmarks.compare --entities 50 300 --rival 50     # alembic-utils beside it, slow beyond 50

The declarations are alembic-utils' own, in an env.py of an application's; first everything is new, then it is
compared: by the texts that were recorded, and, with those forgotten, as PostgreSQL prints them.
Leaves with 1 where a goal is short.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from ledgerviews.dev import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

GOALS = {"autogenerate": 5.0, "check": 3.0}

ENTITIES = """
import os
from alembic_utils.pg_materialized_view import PGMaterializedView
from alembic_utils.pg_view import PGView

def entities():
    found = []
    for number in range(int(os.environ["ENTITIES"])):
        chain, depth = divmod(number, 10)
        below = f"public.v_{chain}_{depth - 1}" if depth else "public.orders"
        text = (
            f"SELECT b.id, b.customer, b.total + {depth} AS total, upper(b.state) AS state, b.placed_at"
            f" FROM {below} AS b WHERE b.total > {number} AND b.state IN ('open', 'paid')"
        )
        kind = PGMaterializedView if depth % 2 else PGView
        found.append(kind(schema="public", signature=f"v_{chain}_{depth}", definition=text))
    return found
"""

ENV = """
import os
import sqlalchemy
from alembic import context
from entities import entities

target_metadata = sqlalchemy.MetaData()
sqlalchemy.Table(
    "orders", target_metadata, sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("customer", sqlalchemy.Text), sqlalchemy.Column("total", sqlalchemy.Numeric),
    sqlalchemy.Column("state", sqlalchemy.Text), sqlalchemy.Column("placed_at", sqlalchemy.DateTime(True)),
)
if os.environ["RIVAL"] == "1":
    from alembic_utils.replaceable_entity import register_entities
    register_entities(entities())
else:
    from ledgerviews.schema import declare
    declare(target_metadata, entities=entities())

engine = sqlalchemy.create_engine(os.environ["URL"], poolclass=sqlalchemy.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
"""

MAKO = '''"""${message}"""
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''

TABLE = """
CREATE TABLE public.orders (
    id serial PRIMARY KEY, customer text, total numeric, state text, placed_at timestamptz
)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--entities", type=int, nargs="+", default=[50, 300], help="how many, in turn")
    parser.add_argument("--rival", type=int, nargs="*", default=[], help="how many for alembic-utils")
    parser.add_argument("--rounds", type=int, default=3, help="the quickest of so many is taken")
    parser.add_argument("--bin-dir", type=Path, help="another PostgreSQL's programs")
    given = parser.parse_args()
    short = 0
    with tempfile.TemporaryDirectory(prefix="lv-compare-") as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as another account
        with Server.start(Path(folder) / "server", bin_dir=given.bin_dir, throwaway=True) as server:
            ours = {number: measured(server, Path(folder), number, given.rounds) for number in given.entities}
            for number in given.rival:
                rival(server, Path(folder), number)
    for number, figures in ours.items():
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in figures.items())
        print(f"ledgerviews, {number} entities: {told}")
        if number <= max(given.entities):
            short += sum(figures[name] > goal for name, goal in GOALS.items())
    if len(ours) > 1:
        least, most = min(ours), max(ours)
        for name in GOALS:
            each = (ours[most][name] - ours[least][name]) / (most - least) * 1000
            print(f"{name}: {each:.1f} ms for each entity between {least} and {most}")
    print(f"{short or 'no'} goals short")
    sys.exit(1 if short else 0)


def measured(server: Server, folder: Path, number: int, rounds: int) -> dict[str, float]:
    """Autogenerate from nothing, upgrade, check, and check without what the registry remembers."""
    url, project = prepared(server, folder, f"ours{number}")
    env = {"URL": url, "ENTITIES": str(number), "RIVAL": "0"}
    figures = {}
    times = []
    for _ in range(rounds):
        for old in (project / "m" / "versions").glob("*.py"):
            old.unlink()
        times.append(alembic(project, "revision", "--autogenerate", "-m", "all", env=env))
    figures["autogenerate"] = min(times)
    figures["upgrade"] = alembic(project, "upgrade", "head", env=env)
    figures["check"] = min(alembic(project, "check", env=env) for _ in range(rounds))
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE ledgerviews.relation SET printed = NULL")
    figures["check of all as printed"] = min(alembic(project, "check", env=env) for _ in range(rounds))
    return figures


def rival(server: Server, folder: Path, number: int) -> None:
    """The same by alembic-utils."""
    url, project = prepared(server, folder, f"rival{number}")
    env = {"URL": url, "ENTITIES": str(number), "RIVAL": "1"}
    generated = alembic(project, "revision", "--autogenerate", "-m", "all", env=env)
    upgraded = alembic(project, "upgrade", "head", env=env)
    checked = alembic(project, "check", env=env)
    print(
        f"alembic-utils, {number} entities: autogenerate {generated:.2f} s, upgrade {upgraded:.2f} s,"
        f" check {checked:.2f} s"
    )


def prepared(server: Server, folder: Path, name: str) -> tuple[str, Path]:
    """A database with one table, and an application's Alembic folder."""
    plain = server.url(name)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(plain) as connection:
        connection.execute(TABLE)
    project = folder / name
    (project / "m" / "versions").mkdir(parents=True)
    for file, text in {
        "alembic.ini": "[alembic]\nscript_location = %(here)s/m\n",
        "entities.py": ENTITIES,
        "m/env.py": ENV,
        "m/script.py.mako": MAKO,
    }.items():
        (project / file).write_text(text, encoding="utf-8")
    return plain.replace("postgresql://", "postgresql+psycopg://"), project


def alembic(project: Path, *words: str, env: Mapping[str, str]) -> float:
    """Seconds that the whole command takes."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=project,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("LEDGERVIEWS_")},
            "PYTHONPATH": f"{Path(__file__).parents[1]}:{project}",
            **env,
        },
    )
    took = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"alembic {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return took


if __name__ == "__main__":
    main()
