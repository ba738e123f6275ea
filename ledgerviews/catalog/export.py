"""How a relation is exported, as a model declares it; no target is named here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError

from .fields import require_mapping, require_one, require_tuples

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLUSTER_COLUMNS = 4
_NUMERIC = '{"…": (38, 9)}: each column\'s name, with its precision and scale'
_POLICY = '{"…": Policy.NULL}: each column\'s name, and what becomes of a value that is past its type'


class Policy(StrEnum):
    """What becomes of a value that the warehouse's type cannot hold."""

    FAIL = "fail"
    NULL = "null"
    STRING = "string"


class Drift(StrEnum):
    """What an export does where a column is new; any other difference of schemas always stops it."""

    ADD = "add"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Export:
    """How a published relation leaves for a warehouse; ``ledgerviews`` itself reads none of it.

    Attributes:
        partition: the date column whose days travel one by one; without one the relation travels whole.
        cluster: the columns that the target is clustered by, at most four.
        partition_expiration_days: after how many days the target forgets a partition; None keeps all.
        require_partition_filter: whether a query of the target must name its partitions.
        numeric: precision and scale of numeric columns that the database declares none for, as in most views.
        policy: for each column named, what becomes of a value past the target's type; the others fail.
        drift: what happens where a column is new.
    """

    partition: str | None = None
    cluster: tuple[str, ...] = ()
    partition_expiration_days: int | None = None
    require_partition_filter: bool = False
    numeric: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    policy: Mapping[str, Policy] = field(default_factory=dict, hash=False)
    drift: Drift = Drift.ADD

    def __post_init__(self) -> None:
        """Refuse what no target can be; raises DeclarationError."""
        require_one("An export", str, optional=True, partition=self.partition)
        require_tuples("An export", str, cluster=self.cluster)
        require_mapping("An export", _NUMERIC, texts=False, numeric=self.numeric)
        require_mapping("An export", _POLICY, texts=False, policy=self.policy)
        if self.partition is None and (
            self.require_partition_filter or self.partition_expiration_days is not None
        ):
            raise DeclarationError("An export without a partition column can expire or require no partition.")
        if self.partition_expiration_days is not None and self.partition_expiration_days < 1:
            raise DeclarationError("partition_expiration_days is 1 or more.")
        if len(self.cluster) > _CLUSTER_COLUMNS:
            raise DeclarationError(f"An export is clustered by {_CLUSTER_COLUMNS} columns at most.")
        for column, (precision, scale) in self.numeric.items():
            if not 0 <= scale <= precision or precision < 1:
                raise DeclarationError(f"({precision}, {scale}) is no precision and scale of {column}.")

    @property
    def named(self) -> set[str]:
        """Every column that the declaration names."""
        return {*self.cluster, *self.numeric, *self.policy, *([self.partition] if self.partition else [])}
