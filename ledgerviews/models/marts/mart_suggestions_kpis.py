"""Declaration of mart_suggestions_kpis."""

from ledgerviews.catalog import Export, Kind, Model, expression, not_null, unique

MODEL = Model.beside(
    __file__,
    kind=Kind.MATERIALIZED_VIEW,
    description="How good the category suggestions were, one row per UTC day, over the two daily marts.",
    grain=("created_date",),
    export=Export(partition="created_date"),
    columns={
        "created_date": "UTC day; one row for every day that stands in either daily mart.",
        "events_total": "Suggestion events.",
        "events_model": "Events whose requested mode was model.",
        "events_heuristic": "Events whose requested mode was heuristic.",
        "avg_candidate_count_overall": "Candidates over events; NULL on a day with feedback only.",
        "accept_rate_overall": "accepts / (accepts + rejects) of feedback whose event is known; NULL where "
        "there is neither.",
        "events_auto": "Events whose requested mode was auto.",
        "answered_by_model": "Events that a model answered.",
        "answered_by_heuristic": "Events that the heuristic answered.",
        "feedback_unlinked": "Feedback rows of this day whose event is unknown.",
    },
    checks=(
        not_null("created_date", "events_total"),
        unique("created_date"),
        expression("accept_rate_is_a_rate", "accept_rate_overall BETWEEN 0 AND 1"),
    ),
)
