"""Declared definitions as PostgreSQL prints them: created under temporary names, printed, rolled back.

No live object is touched, and nothing is needed but the privilege TEMPORARY: what a definition reads is
locked as by any SELECT, its rows are not read.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from psycopg import sql

from ledgerviews.queries import query
from ledgerviews.sqltext import MODEL_SCHEMA, identifier, moved, qualified_names, statement, unmoved

from .incremental import rollup_name
from .keys import Spec, located
from .live import Column
from .made import Made, quoted, temporary
from .moving import moving_names
from .printed import Normal, moving_calls, plain, read_columns
from .sql_errors import is_about_the_text, message, position, sqlstate
from .trial import undone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .live import Run

_OURS = "SET LOCAL search_path = pg_catalog, pg_temp"
# A relation without an alias is its columns' qualifier, too; a second one in a query gets a number.
_NAME = re.compile(r'"(?P<name>ledgerviews:\d+)(?P<number>_\d+)?"(?P<dot>\.)?')
_AGAIN = ":again"


def normalized(
    run: Run,
    specs: Mapping[str, Spec],
    *,
    standing: Mapping[str, tuple[str | None, str | None]],
    schema: str,
    search_path: str,
) -> dict[str, Normal]:
    """Each spec's definition as PostgreSQL prints it, the names of the others in it as they will be.

    Args:
        run: runs a statement in a transaction; all is rolled back to where it stood.
        specs: in dependency order; what they read beyond each other is the live relation.
        standing: by key, what PostgreSQL prints of the definition that stands, and of its function of single
            days; only where it is another is what was printed printed once more.
        schema: the target schema.
        search_path: that under which an entity's text is run.
    """
    with undone(run, "ledgerviews_compare"):
        run(_OURS, None)
        maker = _Maker(run, specs, schema=schema, search_path=search_path)
        for key in specs:
            maker.create(key)
        return maker.printed(standing)


class _Maker:
    """Makes the temporary views; one bears its own name only while what reads it is made.

    So a name in a text, with a schema or without, finds the one that is meant, and what is printed shows a
    name that occurs nowhere else.
    """

    def __init__(self, run: Run, specs: Mapping[str, Spec], *, schema: str, search_path: str) -> None:
        self._run, self._specs, self._schema, self._path = run, specs, schema, search_path
        self._made: dict[str, Made] = {}
        self._errors: dict[str, Normal] = {}
        self._sent = ("definition", "")

    def create(self, key: str) -> None:
        spec = self._specs[key]
        name = located(key, self._schema)[1]
        reads = [read for read in spec.get("reads", ()) if read in self._made and read != key]
        made = Made(self._run, name, f"ledgerviews:{len(self._made) + len(self._errors) + 1}")
        self._run("SAVEPOINT ledgerviews_one", None)
        try:
            for read in reads:
                self._made[read].rename(shown=True)
            if "." in key:
                self._run(_set_path(self._path), None)
            self._send(
                "definition",
                f"CREATE TEMPORARY VIEW {temporary(name)} AS\n{self._text(key, 'definition')}\n",
            )
            if spec.get("day_definition"):
                # Under its own name, for its arguments are printed with it.
                self._send(
                    "day_definition",
                    f"CREATE FUNCTION {temporary(self._days(key))}(lo date, hi date) RETURNS SETOF"
                    f" {temporary(name)} LANGUAGE sql STABLE BEGIN ATOMIC\n"
                    f"{self._text(key, 'day_definition')};\nEND",
                )
            made.index(spec, self._send)
            made.set_options(spec, self._send)
            self._run(_OURS, None)
            made.try_checks(spec, self._awaits)
            made.rename(shown=False)
            for read in reads:
                self._made[read].rename(shown=False)
        except Exception as exc:
            if not is_about_the_text(exc):
                raise
            self._run("ROLLBACK TO SAVEPOINT ledgerviews_one", None)
            for read in reads:
                self._made[read].shown = False
            self._errors[key] = Normal(
                error=message(exc, behind="\n"),
                sqlstate=sqlstate(exc),
                part=self._sent[0],
                at=self._at(key, exc),
                moving=moving_names(self._run, spec["definition"]),
                moving_days=moving_names(self._run, spec.get("day_definition", "")),
            )
        else:
            self._made[key] = made
        self._run("RELEASE SAVEPOINT ledgerviews_one", None)

    def printed(self, standing: Mapping[str, tuple[str | None, str | None]]) -> dict[str, Normal]:
        """What was made, by key."""
        names = {made.unique: key for key, made in self._made.items()}
        rows = self._print(suffix="")
        ours = {row[0]: (row[1], row[2]) for row in rows}

        def one(found: re.Match[str]) -> str:
            whole, bare = ours[found["name"]]
            if found["number"]:
                bare = whole = identifier(self._made[names[found["name"]]].name + found["number"])
            return f"{bare}." if found["dot"] else whole

        def named(text: str | None) -> str | None:
            return plain(text and _NAME.sub(one, text))

        def differs(key: str, *texts: str | None) -> bool:
            return key in standing and tuple(map(plain, standing[key])) != tuple(map(named, texts))

        others = [row for row in rows if differs(names[row[0]], row[3], row[5])]
        again = {names[row[0].removesuffix(_AGAIN)]: (row[3], row[5]) for row in self._print_again(others)}
        found = dict(self._errors)
        for name, _, _, printed, columns, days, indexes, reads, reads_days, moves in rows:
            key = names[name]
            by_name = dict(json.loads(indexes or "[]"))
            found[key] = Normal(
                printed=named(printed),
                columns=tuple(
                    Column(column[0], _NAME.sub(one, column[1]), *column[2:])
                    for column in json.loads(columns)
                ),
                days=named(days),
                printed_again=named(again[key][0]) if key in again else None,
                days_again=named(again[key][1]) if key in again else None,
                indexes=tuple(by_name[index] for index in self._made[key].indexes),
                reads=read_columns(reads),
                reads_days=read_columns(reads_days),
                moving=moving_calls(moves, days=False),
                moving_days=moving_calls(moves, days=True),
                **self._made[key].fault,
            )
        return found

    def _print(self, *, suffix: str) -> list[tuple[Any, ...]]:
        asked = [
            {
                "name": made.unique + suffix,
                "schema": located(key, self._schema)[0],
                "relation": made.name,
                "days": self._days(key),
            }
            for key, made in self._made.items()
        ]
        return self._run(query("printed"), {"names": json.dumps(asked)})

    def _print_again(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Make each from what was printed of it, and print that; what cannot be made so is left out."""
        if not rows:
            return []
        keys = {made.unique: key for key, made in self._made.items()}
        for name, _, _, printed, _, days, *_ in rows:
            self._run("SAVEPOINT ledgerviews_one", None)
            try:
                self._run(f"CREATE TEMPORARY VIEW {temporary(name + _AGAIN)} AS\n{printed}", None)
                if days:
                    # Its arguments are printed with its name, so the second one takes that of the first.
                    function = self._days(keys[name])
                    former = quoted(f"{name}:days")
                    self._run(f"ALTER FUNCTION {temporary(function)}(date, date) RENAME TO {former}", None)
                    self._run(
                        f"CREATE FUNCTION {temporary(function)}(lo date, hi date) RETURNS SETOF"
                        f" {temporary(name)} LANGUAGE sql STABLE\n{days}",
                        None,
                    )
            except Exception as exc:
                if not is_about_the_text(exc):
                    raise
                self._run("ROLLBACK TO SAVEPOINT ledgerviews_one", None)
            self._run("RELEASE SAVEPOINT ledgerviews_one", None)
        return self._print(suffix=_AGAIN)

    def _send(self, part: str, statement: str) -> None:
        """Run what makes a part of a spec, which is to blame where that fails."""
        self._sent = (part, statement)
        self._run(statement, None)

    def _days(self, key: str) -> str:
        return f"{rollup_name(*located(key, self._schema))}_days"

    def _text(self, key: str, part: str) -> str:
        """The text with what was made temporary in pg_temp, and all else that a model reads in its schema."""
        # The text ends on a line of its own, because it may end in a comment.
        return moved(statement(self._specs[key][part]), self._moves(key))

    def _moves(self, key: str) -> dict[tuple[str, str], str]:
        """The schemas that the names in a text get."""
        schemas: dict[tuple[str, str], str] = {}
        for read in self._specs[key].get("reads", ()):
            place = located(read, self._schema if "." in key or "." in read else MODEL_SCHEMA)
            schemas[place] = "pg_temp" if read in self._made else located(read, self._schema)[0]
        return schemas

    def _at(self, key: str, exc: Exception) -> int | None:
        """Where PostgreSQL points at in a part of the spec, which begins on the statement's second line."""
        part, sent = self._sent
        found = position(exc)
        if part in {"indexes", "options"} or found is None:
            return None
        text = statement(self._specs[key][part])
        return min(unmoved(text, self._moves(key), max(found - sent.index("\n") - 1, 0)), len(text))

    def _awaits(self, expression: str) -> bool:
        """Whether an expression names what is being compared, too, which may stand otherwise by then."""
        return bool(qualified_names(expression) & {located(key, self._schema) for key in self._specs})


def _set_path(path: str) -> str:
    """pg_temp is first, unless it is named."""
    return sql.SQL("SELECT pg_catalog.set_config('search_path', {}, true)").format(path).as_string(None)
