"""The made-up history as COPY text: transactions, suggestions for them, and what users answered."""

# ruff: noqa: PLR2004 (the shares that make the history are what this module is about)
from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from .answers import Answers, Asking
from .candidates import CATEGORIES, suggested
from .rhythm import MODELS, Asked, Hour, shares

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from .tables import Shape

TENANTS = 40
_BATCH = 20_000
_UUID_KEEP = ~(0xF000C << 60)
_UUID_4 = 0x40008 << 60
_MERCHANTS = tuple(
    (f"{name.upper()} #{number:03d}", name.lower(), category)
    for number, (name, category) in enumerate(
        (f"{prefix} {category.title()}", category)
        for category in CATEGORIES
        for prefix in ("Corner", "City", "Green", "Union", "Harbor")
    )
)


class Batch(NamedTuple):
    """Lines of COPY's text format for transactions, events and feedback; ``done`` events were made so far."""

    lines: tuple[list[str], list[str], list[str]]
    done: int


class History:
    """Makes rows in the order of time; the same generators in the same state give the same rows."""

    def __init__(
        self, *, rng: random.Random, ids: random.Random, shape: Shape, first_txn: int, end: datetime
    ) -> None:
        """Number transactions from ``first_txn``; take uuids from ``ids`` and all else from ``rng``."""
        self._rng = rng
        self._ids = ids
        self._raw_json = shape.raw_json
        self._next_txn = first_txn
        self._recent: deque[tuple[int, str, int]] = deque(maxlen=64)
        self._answers = Answers(rng=rng, new_id=self._uuid, shape=shape, end=end)
        self._transactions: list[str] = []
        self._events: list[str] = []
        self._feedback: list[str] = []

    def batches(self, hours: Iterable[Hour]) -> Iterator[Batch]:
        """Make every hour's rows, a bounded number at a time."""
        done = 0
        for hour in hours:
            for start in range(0, hour.events, _BATCH):
                done += self._stretch(hour, start, min(start + _BATCH, hour.events))
                if len(self._events) >= _BATCH:
                    yield self._flush(done)
        if self._events:
            yield self._flush(done)

    def _flush(self, done: int) -> Batch:
        batch = Batch((self._transactions, self._events, self._feedback), done)
        self._transactions, self._events, self._feedback = [], [], []
        return batch

    def _stretch(self, hour: Hour, start: int, stop: int) -> int:
        """Make the events ``start`` to ``stop`` of an hour, spread over their part of it."""
        random = self._rng.random
        count = stop - start
        first, width = 3600 * start / hour.events, 3600 * count / hour.events
        seconds = sorted(first + width * random() for _ in range(count))
        models = self._rng.choices(MODELS, cum_weights=shares(hour.position), k=count)
        prefix, month = f"{hour.start:%Y-%m-%d %H:}", f"{hour.start:%Y-%m}"
        for model, second in zip(models, seconds, strict=True):
            minute = min(int(second // 60), 59)
            at = f"{prefix}{minute:02d}:{second - 60 * minute:09.6f}+00"
            # A second that rounds up to 60 would be the next minute's.
            self._event(hour, model, second, at.replace(":60.000000+", ":59.999999+"), month)
        return count

    def _event(self, hour: Hour, model: Asked, second: float, at: str, month: str) -> None:
        rng, random = self._rng, self._rng.random
        if random() < 0.12 and self._recent:
            txn, category, user = self._recent[int(random() * len(self._recent))]
        else:
            txn, category, user = self._transaction(hour.position, at, month)
        auto = random() < 0.55
        # A model that cannot answer in auto leaves it to the heuristic; early releases wrote no source.
        answered = "heuristic" if auto and random() < 0.08 else model.family
        source = answered if hour.position > 0.25 and random() < 0.92 else None
        said = suggested(rng, model=model, source=source, category=category, raw_json=self._raw_json)
        event = self._uuid()
        model_id = r"\N" if hour.position < 0.3 and random() < 0.05 else model.name
        mode = "auto" if auto else model.family
        features = f"{int(random() * 0xFFFFFFFF):08x}" if model.family == "model" else r"\N"
        self._events.append(f"{event}\t{txn}\t{model_id}\t{features}\t{said.text}\t{mode}\t{at}\n")
        if random() < 0.30:
            asked = Asking(event, txn, user, category, hour.position, hour.start + timedelta(seconds=second))
            self._feedback += self._answers.to(asked, said)

    def _transaction(self, position: float, at: str, month: str) -> tuple[int, str, int]:
        random = self._rng.random
        txn = self._next_txn
        self._next_txn += 1
        name, canonical, category = _MERCHANTS[int(len(_MERCHANTS) * random() ** 1.6)]
        tenant = 1 + int(TENANTS * random() ** 2)
        user = tenant * 1000 + int(25 * random())
        amount = 1800 + 2400 * random() if category == "salary" else -(3 + 180 * random() ** 3)
        owner = r"\N" if position < 0.2 and random() < 0.2 else str(tenant)
        odd = random()
        self._transactions.append(
            f"{txn}\t{user}\t{owner}\t{at[:10]}\t{amount:.2f}\t{name}\t{canonical}\t{category}\t\\N\t{month}\t"
            f"{'t' if odd < 0.02 else 'f'}\t{'t' if 0.02 <= odd < 0.03 else 'f'}\t{at}\t{at}\t"
            f"{at if odd > 0.99 else chr(92) + 'N'}\n"
        )
        self._recent.append((txn, category, user))
        return self._recent[-1]

    def _uuid(self) -> str:
        return f"{self._ids.getrandbits(128) & _UUID_KEEP | _UUID_4:032x}"
