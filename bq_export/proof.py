"""The figures of the target in BigQuery's SQL: a SELECT, and a condition that publishing depends on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bq_export.stats import ColumnStats, Stats, float_scale, float_slack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from bq_export.types import Field

_LARGEST_SUM = Decimal(5) * 10**38  # of a BIGNUMERIC
_FINITE = "IF(IS_NAN({c}) OR IS_INF({c}), NULL, {c})"
_SUMS = {
    "INT64": "SUM(CAST({c} AS NUMERIC))",
    "NUMERIC": "SUM(CAST({c} AS BIGNUMERIC))",
    "BIGNUMERIC": "SUM({c})",
    "FLOAT64": f"SUM(CAST({_FINITE} * {{scale}} AS BIGNUMERIC))",
    "STRING": "SUM(BYTE_LENGTH({c}))",
    "BYTES": "SUM(BYTE_LENGTH({c}))",
    "BOOL": "COUNTIF({c})",
    "DATE": "SUM(UNIX_DATE({c}))",
    "DATETIME": "SUM(CAST(UNIX_MICROS(TIMESTAMP({c})) AS NUMERIC))",
    "TIMESTAMP": "SUM(CAST(UNIX_MICROS({c}) AS NUMERIC))",
    "TIME": "SUM(TIME_DIFF({c}, TIME '00:00:00', MICROSECOND))",
}
_SUM_TYPES = {"NUMERIC": "BIGNUMERIC", "BIGNUMERIC": "BIGNUMERIC", "FLOAT64": "FLOAT64"}
_WIDE = {"INT64", "DATETIME", "TIMESTAMP"}
_INFINITIES = ("CAST('inf' AS FLOAT64)", "CAST('-inf' AS FLOAT64)")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A value that is bound, by name, with BigQuery's type."""

    name: str
    type: str
    value: Any


def name(identifier: str) -> str:
    """An identifier, quoted; the names that come here are checked to hold no backtick."""
    return f"`{identifier}`"


def in_partitions(field: Field, days: Sequence[date | None]) -> str:
    """The condition for some partitions: a literal list, for BigQuery prunes by nothing less."""
    column = name(field.name)
    listed = ", ".join(f"DATE '{day.isoformat()}'" for day in days if day is not None)
    parts = [f"{column} IN ({listed})"] if listed else []
    if None in days:
        parts.append(f"{column} IS NULL")
    return "(" + " OR ".join(parts) + ")" if parts else "FALSE"


def everything(field: Field | None) -> str:
    """The condition for all rows, which a required partition filter takes for one."""
    if field is None:
        return "TRUE"
    return f"({name(field.name)} >= DATE '0001-01-01' OR {name(field.name)} IS NULL)"


def select_figures(table: str, sent: Stats) -> str:
    """A SELECT of one row with all figures of a table, in the order that ``read_figures`` takes."""
    columns = [f"{sql} AS f{number}" for number, (_, _, sql) in enumerate(_figures(sent))]
    return f"SELECT COUNT(*) AS n, {', '.join(columns)} FROM {_renamed(table, sent.fields, 'TRUE')}"  # noqa: S608


def read_figures(sent: Stats, row: Mapping[str, Any]) -> Stats:
    """The figures of such a row."""
    found: dict[str, dict[str, Any]] = {one.name: {} for one in sent.fields}
    for number, (one, figure, _) in enumerate(_figures(sent)):
        found[one.name][figure] = row[f"f{number}"]
    columns = {}
    for one in sent.fields:
        values = found[one.name]
        odd = (
            (values.pop("nan"), values.pop("positive"), values.pop("negative"))
            if "nan" in values
            else (0, 0, 0)
        )
        total = values.pop("total", 0)
        exact = one.base not in {"FLOAT64", "NUMERIC", "BIGNUMERIC"} or one.repeated
        if exact:
            total = int(total)
        elif one.base == "FLOAT64" and sent.compared_sum(one):
            total = float(total) / float_scale(sent.columns[one.name])
        columns[one.name] = ColumnStats(total=total, odd=odd, **values)
    return Stats(fields=sent.fields, rows=row["n"], columns=columns)


def proof_query(table: str, condition: str, sent: Stats) -> tuple[str, list[Parameter]]:
    """A SELECT of one value, true when the rows of the condition are those that were sent; what it binds.

    Counts are written out: BigQuery binds 10,000 values at most.
    """
    parameters = [Parameter(name="n", type="INT64", value=sent.rows)]
    conditions = ["COUNT(*) = @n"]
    for number, (one, figure, sql) in enumerate(_figures(sent)):
        stats = sent.columns[one.name]
        if figure in {"minimum", "maximum"}:
            if not sent.compared_extremes(one):
                continue
            value = getattr(stats, figure)
            if value is None:
                conditions.append(f"{sql} IS NULL")
                continue
            kind = one.base
        elif figure == "total":
            value, kind = _total(one, stats)
            if value is None:
                continue
            if kind == "FLOAT64":
                scale = float_scale(stats)
                slack = Parameter(name=f"s{number}", type=kind, value=float_slack(stats) * scale)
                parameters += [Parameter(name=f"f{number}", type=kind, value=value * scale), slack]
                conditions.append(f"ABS(CAST({sql} AS FLOAT64) - @f{number}) <= @s{number}")
                continue
        else:
            names = ("nan", "positive", "negative")
            counted = stats.nulls if figure == "nulls" else stats.odd[names.index(figure)]
            conditions.append(f"{sql} = {counted}")
            continue
        parameters.append(Parameter(name=f"f{number}", type=kind, value=value))
        conditions.append(f"{sql} = @f{number}")
    tested = "\n    AND ".join(conditions)
    return f"SELECT {tested}\n    FROM {_renamed(table, sent.fields, condition)}", parameters  # noqa: S608


def _renamed(table: str, fields: Sequence[Field], condition: str) -> str:
    """The rows with short names for their columns, each of which the figures name many times."""
    columns = ", ".join(f"{name(one.name)} AS c{number}" for number, one in enumerate(fields))
    return f"(SELECT {columns} FROM {table} WHERE {condition})"  # noqa: S608


def _total(one: Field, stats: ColumnStats) -> tuple[Any, str]:
    """The sum to compare and its type; None where BigQuery's own sum could overflow."""
    if one.repeated:
        return int(stats.total), "INT64"
    kind = _SUM_TYPES.get(one.base, "NUMERIC" if one.base in _WIDE else "INT64")
    if kind == "BIGNUMERIC":
        total = Decimal(stats.total)
        return (total, kind) if total.copy_abs() < _LARGEST_SUM else (None, kind)
    if kind == "NUMERIC":
        return Decimal(stats.total), kind
    return stats.total, kind


def _figures(sent: Stats) -> list[tuple[Field, str, str]]:
    """Column, figure and SQL of everything that is compared."""
    found = []
    for number, one in enumerate(sent.fields):
        c = f"c{number}"
        if one.repeated:
            found.append((one, "total", f"COALESCE(SUM(ARRAY_LENGTH({c})), 0)"))
            continue
        found.append((one, "nulls", f"COUNTIF({c} IS NULL)"))
        if sent.compared_sum(one):
            scale = float_scale(sent.columns[one.name]) if one.base == "FLOAT64" else 1
            found.append((one, "total", f"COALESCE({_SUMS[one.base].format(c=c, scale=repr(scale))}, 0)"))
        value = c
        if one.base == "FLOAT64":
            value = _FINITE.format(c=c)
            found.append((one, "nan", f"COUNTIF(IS_NAN({c}))"))
            found += [
                (one, figure, f"COUNTIF({c} = {infinity})")
                for figure, infinity in zip(("positive", "negative"), _INFINITIES, strict=True)
            ]
        if one.base not in {"BYTES", "BOOL"}:
            found.append((one, "minimum", f"MIN({value})"))
            found.append((one, "maximum", f"MAX({value})"))
    return found
