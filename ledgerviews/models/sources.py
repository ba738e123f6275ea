"""The operational tables that the models read: the columns read, and the types found in the field."""

from ledgerviews.catalog import Source

SOURCES = (
    Source(
        name="suggestion_events",
        description="One row per category suggestion that was made for a transaction.",
        columns={
            "id": "uuid",
            "txn_id": "integer",
            "model_id": "text",
            "features_hash": "text",
            "candidates": "jsonb | json",
            "mode": "text",
            "created_at": "timestamp | timestamptz",
        },
        day="created_at",
        key="id",
        day_rows=("ledgerviews.in_days(suggestion_events.created_at, lo, hi)",),
    ),
    Source(
        name="suggestion_feedback",
        description="What users answered: one row per accept, reject or undo of a suggested category.",
        columns={
            "event_id": "uuid",
            "action": "text | enum",
            "label": "text",
            "created_at": "timestamptz | timestamp",
        },
        # Feedback belongs to the day of its event; without one, to its own.
        day="created_at",
        key="event_id",
        parent="public.suggestion_events",
        indexes=("event_id",),
        day_rows=(
            # DISTINCT and ORDER BY change no row: they have the index on event_id read in its own order.
            """suggestion_feedback.event_id IN (
                SELECT DISTINCT suggestion_events.id FROM public.suggestion_events
                WHERE ledgerviews.in_days(suggestion_events.created_at, lo, hi)
                ORDER BY suggestion_events.id
            )""",
            """ledgerviews.in_days(suggestion_feedback.created_at, lo, hi)
            AND NOT EXISTS (
                SELECT FROM public.suggestion_events
                WHERE suggestion_events.id = suggestion_feedback.event_id
            )""",
        ),
    ),
)
