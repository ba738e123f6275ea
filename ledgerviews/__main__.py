"""``python -m ledgerviews``."""

from ledgerviews.cli import main

main()
