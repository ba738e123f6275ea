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
    ),
)
