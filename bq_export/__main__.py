"""``python -m bq_export``."""

from bq_export.cli import main

main()
