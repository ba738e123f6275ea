"""Declaration of mart_suggestions_feedback_daily."""

from ledgerviews.catalog import Export, Kind, Model, expression, not_null

MODEL = Model.beside(
    __file__,
    kind=Kind.MATERIALIZED_VIEW,
    description="Feedback by UTC day, requested mode and model of the suggestion event that it is about.",
    grain=("created_date", "mode", "model_id"),
    day="created_date",
    export=Export(partition="created_date", cluster=("mode", "model_id")),
    columns={
        "created_date": "UTC day of the event, so late feedback counts for the event's day; the feedback's "
        "own day where its event is unknown.",
        "mode": "The mode requested by the event; (none) when unknown, (unlinked) without an event.",
        "model_id": "The model asked by the event; (none) when unknown, (unlinked) without an event.",
        "events": "Distinct events, with or without feedback; 0 for unlinked feedback.",
        "accepts": "Feedback rows that accept a suggestion.",
        "rejects": "Feedback rows that reject one.",
        "undos": "Feedback rows that take an answer back.",
        "accept_rate": "accepts / (accepts + rejects); NULL where there are neither.",
        "feedback_late": "Feedback rows that came more than 24 hours after their event.",
        "feedback_other": "Feedback rows with any other action.",
    },
    checks=(
        not_null("created_date", "mode", "model_id", "events"),
        expression("accept_rate_is_a_rate", "accept_rate BETWEEN 0 AND 1"),
    ),
)
