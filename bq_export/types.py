"""One table: PostgreSQL's types, the SQL that reads them, Arrow's types and BigQuery's. Pure.

Nothing is altered silently. What BigQuery has no exact type for travels as its text; what a type cannot hold
(an infinite date, NaN in a NUMERIC, a NULL inside an array) meets the column's policy: ``fail`` stops the
export, ``null`` writes NULL and counts, ``string`` makes the column text. docs/export.md shows the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from ledgerviews.catalog import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

STRING_TYPE = "STRING"
_NUMERIC_SCALE, _NUMERIC_WHOLE = 9, 29
_BIG_SCALE, _BIG_WHOLE = 38, 38
_DECIMAL128 = 38
_PLAIN_TEXT = frozenset({"text", "varchar", "bpchar", "name"})
# Elements that an ARRAY holds as they are; an array of anything else travels as JSON text.
_ELEMENTS = {
    "bool": ("{x}", pa.bool_(), "BOOL"),
    "int2": ("{x}::bigint[]", pa.int64(), "INT64"),
    "int4": ("{x}::bigint[]", pa.int64(), "INT64"),
    "int8": ("{x}", pa.int64(), "INT64"),
    "float4": ("{x}::double precision[]", pa.float64(), "FLOAT64"),
    "float8": ("{x}", pa.float64(), "FLOAT64"),
    "text": ("{x}", pa.string(), STRING_TYPE),
    "varchar": ("{x}::text[]", pa.string(), STRING_TYPE),
    "uuid": ("{x}::text[]", pa.string(), STRING_TYPE),
}
_SCALARS = {
    "bool": ("{x}", pa.bool_(), "BOOL", None),
    "int2": ("{x}", pa.int64(), "INT64", None),
    "int4": ("{x}", pa.int64(), "INT64", None),
    "int8": ("{x}", pa.int64(), "INT64", None),
    "oid": ("{x}::bigint", pa.int64(), "INT64", None),
    "float4": ("{x}", pa.float64(), "FLOAT64", None),
    "float8": ("{x}", pa.float64(), "FLOAT64", None),
    "bytea": ("{x}", pa.binary(), "BYTES", None),
    # A comparison leaves out the infinities, too.
    "date": ("{x}", pa.date32(), "DATE", "{x} BETWEEN '0001-01-01'::date AND '9999-12-31'::date"),
    "timestamp": (
        "{x}",
        pa.timestamp("us"),
        "DATETIME",
        "({x} >= '0001-01-01'::timestamp AND {x} < '10000-01-01'::timestamp)",
    ),
    "timestamptz": (
        "{x}",
        pa.timestamp("us", "UTC"),
        "TIMESTAMP",
        "({x} >= '0001-01-01 00:00:00+00'::timestamptz AND {x} < '10000-01-01 00:00:00+00'::timestamptz)",
    ),
    "time": ("{x}", pa.time64("us"), "TIME", "{x} < '24:00:00'::time"),
    # Exact whatever the locale's number of decimals.
    "money": ("{x}::numeric(38, 9)", pa.decimal128(38, 9), "NUMERIC", None),
}
_NO_NAN = "{x} <> 'NaN'::numeric"
_BIGINT_DIGITS = 18
_MICROSECONDS_A_DAY = 86_400_000_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # since 1970: 0001-01-01 and 9999-12-31
_MOMENTS = (_FIRST_DAY * _MICROSECONDS_A_DAY, (_LAST_DAY + 1) * _MICROSECONDS_A_DAY - 1)
_BOUNDS = {
    "date": (_FIRST_DAY, _LAST_DAY),
    "timestamp": _MOMENTS,
    "timestamptz": _MOMENTS,
    "time": (0, _MICROSECONDS_A_DAY - 1),
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as PostgreSQL's catalog has it, domains followed down to their type.

    ``type_name`` is the internal name (``int4``, ``_text``); ``element`` that of an array's elements;
    ``kind`` is pg_type.typtype; precision and scale are those of a numeric that has them.
    """

    name: str
    type_name: str
    kind: str = "b"
    element: str | None = None
    element_kind: str | None = None
    precision: int | None = None
    scale: int | None = None
    comment: str | None = None


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column on its way: how it is read, what it is in Arrow, and what at the target.

    Attributes:
        read: SQL over ``{x}``, the quoted column, that gives the value.
        fits: SQL over ``{x}`` that is true where the target's type holds a value that is not NULL; None where
            it holds all. For an array NULL itself does not fit.
        policy: what becomes of a value that does not.
        bounds: the least and the largest that Arrow stores of a value that fits; what PostgreSQL has beyond
            them arrives beyond them, infinities too. None where SQL has to tell.
        type: BigQuery's type with its parameters; ``repeated`` for an ARRAY of it.
    """

    name: str
    source: str
    read: str
    arrow: pa.DataType = field(compare=False)
    type: str
    repeated: bool = False
    precision: int | None = None
    scale: int | None = None
    fits: str | None = None
    policy: Policy = Policy.FAIL
    bounds: tuple[int, int] | None = None
    description: str = ""

    @property
    def fails_in_flight(self) -> bool:
        """Whether a value that does not fit fails where rows arrive: by its bounds, or NaN as no decimal."""
        if self.policy is not Policy.FAIL or self.repeated:
            return False
        return self.bounds is not None or (self.source == "numeric" and self.fits == _NO_NAN)

    @property
    def unscaled(self) -> bool:
        """Whether a decimal is fetched as the integer of its digits, which is faster than its text."""
        fits = self.fits == _NO_NAN and self.policy is not Policy.STRING
        return fits and self.precision is not None and self.precision <= _BIGINT_DIGITS

    @property
    def base(self) -> str:
        """BigQuery's type without its parameters."""
        return self.type.partition("(")[0]

    @property
    def signature(self) -> str:
        """All that decides what the same row becomes."""
        return f"{self.name}|{self.read}|{self.type}|{self.repeated}|{self.fits}|{self.policy}"


def field_for(
    column: Column, *, numeric: tuple[int, int] | None = None, policy: Policy | None = None
) -> Field:
    """How one column travels; ``numeric`` is the precision and scale that a model declares for it."""
    description = column.comment or ""
    chosen = policy or Policy.FAIL
    if column.element is not None:
        return _array(column, chosen, description)
    if column.type_name == "numeric":
        return _numeric(column, numeric, chosen, description)
    if column.type_name in _PLAIN_TEXT:
        return _text(column, "{x}", description)
    found = _SCALARS.get(column.type_name) if column.kind == "b" else None
    if found is None or (chosen is Policy.STRING and found[3] is not None):
        kept = found[3] if found else None
        return _text(column, "{x}::text", description, fits=kept, policy=chosen)
    read, arrow, target, fits = found
    precision, scale = (38, 9) if column.type_name == "money" else (None, None)
    return Field(
        name=column.name,
        source=column.type_name,
        read=read,
        arrow=arrow,
        type=target,
        precision=precision,
        scale=scale,
        fits=fits,
        policy=chosen,
        bounds=_BOUNDS.get(column.type_name),
        description=description,
    )


def fields_for(
    columns: list[Column], *, numeric: Mapping[str, tuple[int, int]], policy: Mapping[str, Policy]
) -> list[Field]:
    """How a relation's columns travel, in their order."""
    return [field_for(c, numeric=numeric.get(c.name), policy=policy.get(c.name)) for c in columns]


def arrow_schema(fields: list[Field]) -> pa.Schema:
    """The schema of what leaves for the target; whatever is no ARRAY may be NULL."""
    return pa.schema([pa.field(f.name, f.arrow, nullable=not f.repeated) for f in fields])


def _text(
    column: Column,
    read: str,
    description: str,
    *,
    fits: str | None = None,
    policy: Policy = Policy.FAIL,
) -> Field:
    return Field(
        name=column.name,
        source=column.type_name,
        read=read,
        arrow=pa.string(),
        type=STRING_TYPE,
        fits=fits,
        policy=policy,
        description=description,
    )


def _array(column: Column, policy: Policy, description: str) -> Field:
    found = _ELEMENTS.get(column.element or "")
    if column.element_kind == "e":
        found = ("{x}::text[]", pa.string(), STRING_TYPE)
    if found is None:
        return _text(column, "pg_catalog.to_jsonb({x})::text", description)
    # BigQuery keeps no NULL in an array, no NULL for an array, one dimension, and counts from one place.
    fits = (
        "({x} IS NOT NULL AND (pg_catalog.cardinality({x}) = 0 OR (pg_catalog.array_ndims({x}) = 1"
        " AND pg_catalog.array_lower({x}, 1) = 1 AND pg_catalog.array_position({x}, NULL) IS NULL)))"
    )
    if policy is Policy.STRING:
        return _text(column, "pg_catalog.to_jsonb({x})::text", description, fits=fits, policy=policy)
    read, element, target = found
    return Field(
        name=column.name,
        source=column.type_name,
        read=read,
        arrow=pa.list_(pa.field("element", element, nullable=False)),
        type=target,
        repeated=True,
        fits=fits,
        policy=policy,
        description=description,
    )


def _numeric(column: Column, declared: tuple[int, int] | None, policy: Policy, description: str) -> Field:
    precision, scale = declared or (column.precision, column.scale)
    if precision is None or scale is None:
        return _text(column, "{x}::text", description)  # of any size: only its text is exact
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    whole = precision - scale
    if declared is None:
        fits = _NO_NAN
        read = "{x}" if column.scale is not None and column.scale >= 0 else f"{{x}}::numeric({precision}, 0)"
    else:
        fits = (
            f"({{x}} = pg_catalog.round({{x}}, {scale}) AND {{x}} <> 'NaN'::numeric"
            f" AND pg_catalog.abs({{x}}) < 1e{whole}::numeric)"
        )
        read = f"{{x}}::numeric({precision}, {scale})"
    name = _decimal_name(scale, whole)
    if name is None:
        return _text(column, "{x}::text", description)
    if policy is Policy.STRING:
        return _text(column, "{x}::text", description, fits=fits, policy=policy)
    arrow = pa.decimal128(precision, scale) if precision <= _DECIMAL128 else pa.decimal256(precision, scale)
    return Field(
        name=column.name,
        source="numeric",
        read=read,
        arrow=arrow,
        type=f"{name}({precision}, {scale})" if scale else f"{name}({precision})",
        precision=precision,
        scale=scale,
        fits=fits,
        policy=policy,
        description=description,
    )


def _decimal_name(scale: int, whole: int) -> str | None:
    if scale <= _NUMERIC_SCALE and whole <= _NUMERIC_WHOLE:
        return "NUMERIC"
    if scale <= _BIG_SCALE and whole <= _BIG_WHOLE:
        return "BIGNUMERIC"
    return None
