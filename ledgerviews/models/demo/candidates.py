"""What a suggestion holds: candidates best first, and now and then what a bug once wrote instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random

    from .rhythm import Asked

CATEGORIES = (
    "groceries", "restaurants", "coffee", "transport", "fuel", "rent", "utilities", "insurance", "health",
    "pharmacy", "clothing", "electronics", "subscriptions", "travel", "education", "gifts", "fees", "salary",
)  # fmt: skip
_RING = {category: tuple(other for other in CATEGORIES if other != category) * 2 for category in CATEGORIES}
_REASONS = {
    "heuristic": ('["merchant rule"]', '["seen before", "merchant rule"]', '["keyword"]', "[]"),
    "model": (
        '["merchant_freq", "amount_bucket"]',
        '["text_similarity"]',
        '["weekday", "merchant_freq"]',
        "[]",
    ),
}
_MALFORMED_SHARE = 0.004
_MALFORMED = (
    '{"label": "groceries", "confidence": 0.9}',
    "{}",
    '"groceries"',
    "42",
    "true",
    "null",
    "[null]",
    '["groceries", "fuel"]',
    "[[]]",
    '[{"label": 7, "confidence": 0.5, "reasons": []}]',
    '[{"label": null, "confidence": null, "reasons": null}]',
    '[{"label": "fuel", "confidence": "0.8", "reasons": []}]',
    '[{"label": "fuel", "confidence": 1e400, "reasons": []}]',
    '[{"label": "fuel", "confidence": -0.25, "reasons": [], "source": "cache"}]',
    '[{"confidence": 0.4}, "rent", null]',
)
_MALFORMED_RAW = (
    r'[{"label": "gro\u0000ceries", "confidence": 0.7, "reasons": []}]',
    r'[{"label": "gift \ud83c", "confidence": 0.6, "reasons": []}]',
    r'[{"label": "\udf81 gift", "confidence": 0.6, "reasons": []}]',
    '[{"label": "fuel", "label": "travel", "confidence": 0.1, "confidence": 0.3, "reasons": []}]',
)
"""Texts that only a json column can hold, or hold as they were written."""


class Suggested(NamedTuple):
    """Candidates as JSON text; the first one's label and confidence as COPY text, "" and NULL without one."""

    text: str
    label: str
    confidence: str


def suggested(
    rng: random.Random, *, model: Asked, source: str | None, category: str, raw_json: bool
) -> Suggested:
    """Candidates of a model for a transaction that belongs to ``category``, ready for COPY's text format."""
    random = rng.random
    if random() < _MALFORMED_SHARE:
        pool = _MALFORMED + _MALFORMED_RAW if raw_json else _MALFORMED
        return Suggested(pool[int(random() * len(pool))].replace("\\", "\\\\"), "", r"\N")
    wanted = random() * model.sizes[-1]
    size = next(size for size, weight in enumerate(model.sizes) if wanted < weight)
    if size == 0:
        return Suggested("[]", "", r"\N")
    ring = _RING[category]
    start = int(random() * len(CATEGORIES))
    labels = ring[start : start + size]
    if random() < model.hit:
        labels = (category, *labels[1:])
    reasons = _REASONS[model.family]
    tail = f', "source": "{source}"}}' if source else "}"
    confidence = first = 1 - 0.55 * random() ** 1.5
    parts = []
    for label in labels:
        why = reasons[int(random() * 4)]
        parts.append(f'{{"label": "{label}", "confidence": {confidence:.4f}, "reasons": {why}{tail}')
        confidence *= 0.15 + 0.6 * random()
    return Suggested("[" + ", ".join(parts) + "]", labels[0], f"{first:.4f}")
