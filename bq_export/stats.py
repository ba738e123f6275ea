"""Figures of every column taken in flight, and how they compare with the target's. Pure, on Arrow.

Sums of integers and decimals are exact whatever their size; those of floats carry the sum of magnitudes, by
which a difference of order is told from a difference of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bq_export.types import Field

FLOAT_TOLERANCE = 1e-12
LONGEST_COMPARED = 256  # characters; a longer minimum or maximum of text is left to the sum and to `verify`
_LOW_BITS = 32
_SMALLEST_SUM = 1e-290  # of magnitudes; below, floats have too few bits for a tolerance
_SCALED_BITS = 40
_EXACT = Context(prec=100)  # digits; the default context rounds to 28


@dataclass(kw_only=True)
class ColumnStats:
    """One column: NULLs, the sum of what the type can be summed as, and the extremes.

    ``total`` is the sum of the values, of a boolean's trues, of a text's or a bytes' length in bytes, of a
    time's microseconds (a date's days), of an array's elements. ``odd`` counts NaN, Infinity and -Infinity.
    """

    nulls: int = 0
    total: int | Decimal | float = 0
    magnitude: float = 0.0
    minimum: Any = None
    maximum: Any = None
    odd: tuple[int, int, int] = (0, 0, 0)


@dataclass(kw_only=True)
class Stats:
    """The figures of the rows seen so far."""

    fields: tuple[Field, ...]
    rows: int = 0
    columns: dict[str, ColumnStats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin every column at nothing."""
        self.columns = self.columns or {one.name: ColumnStats() for one in self.fields}

    def add(self, batch: pa.RecordBatch) -> None:
        """Count one batch."""
        self.rows += batch.num_rows
        for number, one in enumerate(self.fields):
            _add(self.columns[one.name], one, batch.column(number))

    def merge(self, other: Stats) -> None:
        """Add what another thread counted."""
        self.rows += other.rows
        for name, theirs in other.columns.items():
            ours = self.columns[name]
            ours.nulls += theirs.nulls
            ours.total = _sum(ours.total, theirs.total)
            ours.magnitude += theirs.magnitude
            ours.odd = _plus(ours.odd, theirs.odd)
            _extend(ours, theirs.minimum, theirs.maximum)

    def compared_sum(self, one: Field) -> bool:
        """Whether a column's sum is compared: not of floats that are next to nothing or to infinity."""
        if one.repeated or one.base != "FLOAT64":
            return True
        magnitude = self.columns[one.name].magnitude
        return magnitude == 0.0 or _SMALLEST_SUM < magnitude < math.inf

    def compared_extremes(self, one: Field) -> bool:
        """Whether a column's extremes are compared: not of arrays and bytes, nor of very long text."""
        if one.repeated or one.base in {"BYTES", "BOOL"}:
            return False
        ends = (self.columns[one.name].minimum, self.columns[one.name].maximum)
        return all(not isinstance(end, str) or len(end) <= LONGEST_COMPARED for end in ends)


def differences(ours: Stats, theirs: Stats) -> list[str]:
    """What differs between two sets of figures, a line for each; exact but for sums of floats."""
    told = [] if ours.rows == theirs.rows else [f"rows: {ours.rows:,} sent, {theirs.rows:,} found"]
    for one in ours.fields:
        sent, found = ours.columns[one.name], theirs.columns[one.name]
        pairs: list[tuple[str, Any, Any, bool]] = [
            ("NULLs", sent.nulls, found.nulls, sent.nulls == found.nulls)
        ]
        if ours.compared_sum(one):
            pairs.append(("sum", sent.total, found.total, sums_agree(one, sent, found.total)))
        if one.base == "FLOAT64" and not one.repeated:
            pairs.append(("NaN and infinities", sent.odd, found.odd, sent.odd == found.odd))
        if ours.compared_extremes(one):
            pairs.append(("minimum", sent.minimum, found.minimum, sent.minimum == found.minimum))
            pairs.append(("maximum", sent.maximum, found.maximum, sent.maximum == found.maximum))
        told += [f"{one.name}: {what} {a} sent, {b} found" for what, a, b, equal in pairs if not equal]
    return told


def sums_agree(one: Field, sent: ColumnStats, found: Any) -> bool:
    """Whether the target's sum is ours: exactly, or for floats within the tolerance."""
    if one.base == "FLOAT64" and not one.repeated:
        return math.isclose(sent.total, found, rel_tol=0, abs_tol=float_slack(sent))
    return bool(sent.total == found)


def float_slack(sent: ColumnStats) -> float:
    """By how much a sum of floats may differ: its order is not the same on the two sides."""
    return FLOAT_TOLERANCE * sent.magnitude


def float_scale(sent: ColumnStats) -> float:
    """The power of two by which the target multiplies floats before it adds them up as decimals.

    A sum of floats, one after the other, drifts by more than the tolerance over some ten thousand rows; as
    decimals of fixed scale it is exact, if they are neither too large nor too small for it.
    """
    _, exponent = math.frexp(sent.magnitude)
    return math.ldexp(1.0, _SCALED_BITS - exponent)


def _add(stats: ColumnStats, one: Field, array: pa.Array) -> None:
    stats.nulls += array.null_count
    if one.repeated:
        stats.total += int(pc.sum(pc.list_value_length(array)).as_py() or 0)
    elif one.base == "FLOAT64":
        _add_floats(stats, array)
    elif one.base in {"NUMERIC", "BIGNUMERIC"}:
        _add_decimals(stats, array)
        _extremes(stats, array)
    elif one.base in {"STRING", "BYTES"}:
        stats.total += int(pc.sum(pc.cast(pc.binary_length(array), pa.int64())).as_py() or 0)
        if one.base == "STRING":
            _extremes(stats, array)
    elif one.base == "BOOL":
        stats.total += int(pc.sum(array).as_py() or 0)
    else:
        stats.total += _integer_sum(array)
        _extremes(stats, array)


def _integer_sum(array: pa.Array) -> int:
    """The exact sum of integers, or of times as the integers that they are stored as."""
    if pa.types.is_date32(array.type):
        array = array.view(pa.int32())
    elif not pa.types.is_integer(array.type):
        array = array.view(pa.int64())
    array = pc.cast(array, pa.int64())
    # Halves, so that the sum of a batch stays in 64 bits.
    high = pc.sum(pc.shift_right(array, _LOW_BITS)).as_py() or 0
    low = pc.sum(pc.bit_wise_and(array, pa.scalar((1 << _LOW_BITS) - 1, pa.int64()))).as_py() or 0
    return (int(high) << _LOW_BITS) + int(low)


def _add_decimals(stats: ColumnStats, array: pa.Array) -> None:
    wide = pc.cast(array, pa.decimal256(76, array.type.scale))
    stats.total = _sum(stats.total, pc.sum(wide).as_py() or 0)


def _add_floats(stats: ColumnStats, array: pa.Array) -> None:
    nan, finite = pc.is_nan(array), pc.is_finite(array)
    positive = pc.equal(array, math.inf)
    odd = [int(pc.sum(mask).as_py() or 0) for mask in (nan, positive, pc.equal(array, -math.inf))]
    stats.odd = _plus(stats.odd, (odd[0], odd[1], odd[2]))
    if any(odd):
        array = pc.if_else(finite, array, pa.scalar(None, pa.float64()))
    stats.total = float(stats.total) + float(pc.sum(array).as_py() or 0.0)
    stats.magnitude += float(pc.sum(pc.abs(array)).as_py() or 0.0)
    _extremes(stats, array)


def _extremes(stats: ColumnStats, array: pa.Array) -> None:
    ends = pc.min_max(array)
    _extend(stats, ends["min"].as_py(), ends["max"].as_py())


def _extend(stats: ColumnStats, low: Any, high: Any) -> None:
    if low is not None:
        stats.minimum = low if stats.minimum is None else min(stats.minimum, low)
        stats.maximum = high if stats.maximum is None else max(stats.maximum, high)


def _sum(a: float | Decimal, b: float | Decimal) -> int | float | Decimal:
    """The sum of two sums of one column: exact, but for floats."""
    if isinstance(a, Decimal) or isinstance(b, Decimal):
        return _EXACT.add(Decimal(a), Decimal(b))
    return a + b


def _plus(a: Sequence[int], b: Sequence[int]) -> tuple[int, int, int]:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])
