"""Declaration of mart_totals."""

from ledgerviews.catalog import Export, Kind, Model

MODEL = Model.beside(
    __file__,
    kind=Kind.MATERIALIZED_VIEW,
    description="Totals of each shop.",
    grain=("shop",),
    export=Export(),
    columns={"shop": "The shop.", "orders": "Number of orders."},
)
