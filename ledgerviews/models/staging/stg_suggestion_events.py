"""Declaration of stg_suggestion_events."""

from ledgerviews.catalog import Export, Kind, Model, Policy

MODEL = Model.beside(
    __file__,
    kind=Kind.VIEW,
    description="One row per category suggestion event, with its UTC day and what its candidates say.",
    grain=("event_id",),
    export=Export(
        partition="created_date",
        cluster=("mode", "model_id"),
        require_partition_filter=True,
        # The application once wrote times that are none; created_date says 0001-01-01 for them.
        policy={"created_at": Policy.NULL},
    ),
    columns={
        "event_id": "The event's id.",
        "txn_id": "The transaction that the suggestion was made for.",
        "model_id": "What was asked: heuristic@v1, lgbm@<sha>; NULL when unknown.",
        "features_hash": "Hash of the features that the model saw.",
        "candidates": "The suggested categories as the application wrote them, best first.",
        "mode": "The mode requested: heuristic, model or auto; not what answered.",
        "created_at": "When the suggestion was made, UTC.",
        "created_date": "UTC day of created_at; 0001-01-01 where that is no time in the years 1 to 9999.",
        "candidate_count": "Number of candidates; 0 where candidates is not an array.",
        "top_confidence": "Confidence of the first candidate, where it has a numeric one.",
        "top_label": "Label of the first candidate, where it has a textual one.",
        "effective_mode": "What answered, model or heuristic: by the first candidate's source, else by "
        "model_id, else by the mode requested (auto without a model is the heuristic).",
    },
)
