"""The source contract: what the relations read, against what the database has. The comparison is pure.

A contract maps ``schema.table`` to its columns and the types that each may have, in these words:
``text`` (varchar and all character types), ``enum``, ``integer`` (2, 4 or 8 bytes), ``number`` (double
precision, real, numeric), ``uuid``, ``json``, ``jsonb``, ``date``, ``boolean``, ``timestamp`` (without time
zone), ``timestamptz``. Alternatives stand between ``|``. A domain counts as the type below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledgerviews.catalog.source import TIMES, WORDS
from ledgerviews.errors import LedgerviewsError
from ledgerviews.queries import query
from ledgerviews.sqltext import identifier

if TYPE_CHECKING:
    import psycopg

    from ledgerviews.catalog import Source

    from .live import Run

Contract = Mapping[str, Mapping[str, str]]

_NO_RIGHT = "this role may not"
_WORDS = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "float4": "number",
    "float8": "number",
    "numeric": "number",
    "bool": "boolean",
}


class ContractError(LedgerviewsError):
    """The application's tables lack something that the relations read; nothing was created."""


@dataclass(frozen=True, kw_only=True)
class FoundColumn:
    """A column as the catalog has it.

    Attributes:
        word: its type in the contract's words.
        type_name: its type in PostgreSQL's.
        readable: whether this role may SELECT it.
        usable: whether this role may use the schema that its table stands in.
    """

    word: str
    type_name: str
    readable: bool
    usable: bool = True


Found = Mapping[tuple[str, str], Mapping[str, FoundColumn]]


def check(connection: psycopg.Connection, contracts: Iterable[Contract]) -> None:
    """Read the catalog once and raise one ContractError that lists every fault of all the contracts."""
    wanted = list(contracts)
    names = sorted({key.rpartition(".")[2] for contract in wanted for key in contract})
    if not names:
        return
    rows = connection.execute(query("source_columns"), {"names": names}).fetchall()
    found = _collect(rows)
    faults = list(dict.fromkeys(fault for contract in wanted for fault in compare(contract, found)))
    if faults:
        info = connection.info
        unreadable = [fault for fault in faults if _NO_RIGHT in fault]
        declared = dict.fromkeys(
            key
            for contract in wanted
            for key, columns in contract.items()
            if any(_NO_RIGHT not in fault for fault in compare({key: columns}, found))
        )
        raise ContractError(
            f"Database {info.dbname!r} (as {info.user!r}) lacks what the relations read; "
            "nothing was created:\n" + "\n".join(f"  - {fault}" for fault in faults),
            hint=(
                "Grant what is missing; then upgrade again."
                if len(unreadable) == len(faults)
                else "Run the application's own migrations first, or point LEDGERVIEWS_DATABASE_URL at the"
                f" right database, or mend what {what_declares(declared)} and write the revision anew; then"
                " upgrade again (`alembic upgrade head`, `ledgerviews db upgrade`)."
            ),
        )


def misfits(run: Run, sources: Iterable[Source]) -> dict[str, tuple[str, ...]]:
    """Of each source whose table stands: what its declared columns are not, a line each.

    A table that is not there yet is the application's to create, and rights are asked for by the upgrade.

    Args:
        run: runs a statement.
        sources: what is declared.
    """
    wanted = {source.qualified: source for source in sources}
    if not wanted:
        return {}
    names = sorted({source.name for source in wanted.values()})
    found = _collect(run(query("source_columns"), {"names": names}))
    told = {}
    for key, source in wanted.items():
        table = found.get((source.schema, source.name))
        lines = () if table is None else tuple(_misfits(source, table))
        if lines:
            told[key] = lines
    return told


def in_words(found: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A line on each source whose columns do not fit, with what to do."""
    return [
        f"{'; '.join(lines)}. Mend what {what_declares([key])},"
        " or run the application's own migrations first."
        for key, lines in found.items()
    ]


def _misfits(source: Source, table: Mapping[str, FoundColumn]) -> Iterable[str]:
    for name, words in source.columns.items():
        label, accepted, column = f"{source.qualified}.{name}", _alternatives(words), table.get(name)
        if column is None:
            yield f"{label} is declared, and there is no such column"
        elif column.word not in accepted:
            # A type has another name in a declaration than PostgreSQL tells of it.
            word = f" ({column.word})" if column.word != column.type_name else ""
            told = f"; {write}" if (write := _write(accepted, column)) else word
            yield f"{label} is declared as {' or '.join(accepted)}, and is {column.type_name}{told}"
        elif name == source.day and column.word not in TIMES:
            yield f"{label} is the column of its day, and is {column.type_name}, not {' or '.join(TIMES)}"


def _write(accepted: Iterable[str], column: FoundColumn) -> str:
    """What to write where a declared type is no word; empty where each is one."""
    if set(accepted) <= set(WORDS):
        return ""
    return f"write {column.word} (the words are {', '.join(WORDS)})"


def what_declares(keys: Iterable[str]) -> str:
    """What is to be mended where the declaration is wrong: ``Source public.orders declares``."""
    names = list(keys)
    return f"Source {names[0]} declares" if len(names) == 1 else f"the Sources {', '.join(names)} declare"


def compare(contract: Contract, found: Found) -> list[str]:
    """One line for each table or column at fault: what was expected, what was found, and where."""
    faults: list[str] = []
    for key, columns in contract.items():
        schema, _, name = key.rpartition(".")
        table = found.get((schema, name))
        if table is None:
            elsewhere = sorted(other for other, same in found if same == name)
            also = f"; there is one in schema {', '.join(elsewhere)}" if elsewhere else ""
            expected = f"expected a table with {_listed(columns)}"
            faults.append(f"{key}: {expected}; found no such table in schema {schema}{also}")
            continue
        for column, words in columns.items():
            faults.extend(_column_faults(f"{key}.{column}", words, table.get(column)))
        there = [column for column in columns if column in table]
        if not all(table[column].usable for column in there):
            usage = f"GRANT USAGE ON SCHEMA {identifier(schema)}"
            faults.append(f"{key}: {_NO_RIGHT} use the schema {schema} ({usage})")
        if unreadable := [column for column in there if not table[column].readable]:
            faults.append(f"{key}: {_NO_RIGHT} SELECT {', '.join(unreadable)} (GRANT SELECT ON {key})")
    return faults


def _column_faults(label: str, words: str, column: FoundColumn | None) -> Iterable[str]:
    accepted = _alternatives(words)
    expected = " or ".join(accepted)
    if column is None:
        yield f"{label}: expected {expected}; found no such column"
    elif column.word not in accepted:
        told = f"; {write}" if (write := _write(accepted, column)) else ""
        yield f"{label}: expected {expected}; found {column.type_name}{told}"


def _collect(rows: Iterable[tuple[Any, ...]]) -> Found:
    found: dict[tuple[str, str], dict[str, FoundColumn]] = {}
    for schema, table, column, type_name, base_type, type_kind, type_category, readable, usable in rows:
        columns = found.setdefault((schema, table), {})
        if column is not None:
            columns[column] = FoundColumn(
                word=_word(base_type, type_kind, type_category),
                type_name=type_name,
                readable=readable,
                usable=usable,
            )
    return found


def _word(base_type: str, type_kind: str, type_category: str) -> str:
    if type_kind == "e":
        return "enum"
    if type_category == "S":
        return "text"
    return _WORDS.get(base_type, base_type)


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {' or '.join(_alternatives(words))}" for name, words in columns.items())


def _alternatives(words: str) -> list[str]:
    return [word.strip() for word in words.split("|")]
