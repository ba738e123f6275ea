"""Declaration of mart_orders_daily."""

from ledgerviews.catalog import Export, Kind, Model

MODEL = Model.beside(
    __file__,
    kind=Kind.MATERIALIZED_VIEW,
    description="Orders by day and shop.",
    grain=("day", "shop"),
    export=Export(partition="day", cluster=("shop",), require_partition_filter=True),
    columns={
        "day": "UTC day.",
        "shop": "The shop.",
        "orders": "Number of orders.",
        "amount": "Sum of amounts.",
        "rate": "Share of returns.",
        "seen": "When the last one came.",
    },
)
