"""Run the engine's SQL through pgspot, statement by statement; leave with 1 where it finds anything new.

Needs an environment of its own (`make pgspot`): pgspot stands on pglast, which is GPL. It cannot read BEGIN
ATOMIC and RETURN bodies, so it is given them as strings; PostgreSQL binds their names when they are created.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pglast.parser import split  # type: ignore[import-not-found]  # not in our own environment

ENGINE = Path(__file__).parents[1] / "ledgerviews" / "schema" / "engine"
GUARD = "SET LOCAL search_path = pg_catalog, pg_temp;\n"  # what execute.run sends in front of each script
ATOMIC = re.compile(r"BEGIN ATOMIC\n(.*?)\nEND;", re.DOTALL)
RETURN = re.compile(r"\nRETURN (.*?);(?=\n(?:COMMENT|CREATE|REVOKE|\Z))", re.DOTALL)
FINDING = re.compile(r"^PS\d{3}: .*", re.MULTILINE)
# A procedure with a SET clause could not COMMIT: it sets its search_path in each of its transactions.
# Version 2 gives version 1's only PL/pgSQL function the search_path that it lacks.
MENDED = "CREATE FUNCTION ledgerviews.json_salvage("
# What views call cannot be dropped to be made anew; the schema, and all in it, is the installing role's own.
LISTED = re.compile(
    r"^PS005: Function without explicit search_path: ledgerviews\.refresh\("
    r"|^PS002: Unsafe function creation: ledgerviews\.json_salvage\("
)


def main() -> int:
    """Print what was found, and how much was looked at."""
    found: list[str] = []
    statements = 0
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "statement.sql"
        for file in sorted(ENGINE.glob("v*/*.sql")):
            for statement in split(_readable(file.read_text(encoding="utf-8")), with_parser=True):
                if MENDED in statement:
                    continue
                statements += 1
                script.write_text(f"{GUARD}{statement};\n", encoding="utf-8")
                done = subprocess.run(
                    [Path(sys.executable).with_name("pgspot"), script],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                bound = "$atomic$" in statement and "SET search_path" not in statement
                found += [
                    f"{file.relative_to(ENGINE)}: {line}"
                    for line in FINDING.findall(done.stdout)
                    if not LISTED.match(line) and not bound
                ]
                if "Errors:" not in done.stdout:
                    found.append(f"{file.relative_to(ENGINE)}: not read: {done.stdout}{done.stderr}")
    sys.stdout.write("\n".join([*found, f"{statements} statements, {len(found)} findings\n"]))
    return 1 if found or not statements else 0


def _readable(text: str) -> str:
    text = ATOMIC.sub(lambda match: f"AS $atomic$\n{match[1]}\n$atomic$;", text)
    return RETURN.sub(lambda match: f"\nAS $atomic$\nSELECT {match[1]}\n$atomic$;", text)


if __name__ == "__main__":
    sys.exit(main())
