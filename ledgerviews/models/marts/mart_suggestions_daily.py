"""Declaration of mart_suggestions_daily."""

from ledgerviews.catalog import Export, Kind, Model, expression, not_null

MODEL = Model.beside(
    __file__,
    kind=Kind.MATERIALIZED_VIEW,
    description="Suggestion events by UTC day, requested mode and model.",
    grain=("created_date", "mode", "model_id"),
    day="created_date",
    export=Export(partition="created_date", cluster=("mode", "model_id")),
    columns={
        "created_date": "UTC day of the events; 0001-01-01 holds events without a usable time.",
        "mode": "The mode requested: heuristic, model or auto; (none) when unknown.",
        "model_id": "The model asked; (none) when unknown, shortened beyond 1,000 bytes.",
        "events": "Number of suggestion events.",
        "avg_candidate_count": "candidates_total / events.",
        "candidates_total": "Candidates over all events.",
        "txns": "Distinct transactions; not additive over rows.",
        "covered_events": "Events with at least one candidate.",
        "empty_events": "Events without a candidate.",
        "answered_by_model": "Events that a model answered.",
        "answered_by_heuristic": "Events that the heuristic answered.",
    },
    checks=(
        not_null("created_date", "mode", "model_id", "events"),
        expression("covered_and_empty_make_events", "covered_events + empty_events = events"),
        expression("answered_makes_events", "answered_by_model + answered_by_heuristic = events"),
    ),
)
