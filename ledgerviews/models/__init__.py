"""LedgerMind's published relations: how good its category suggestions are, day by day."""

DEMO = "ledgerviews.models.demo"
"""Where ``ledgerviews dev seed`` finds the application's tables and made-up rows."""
