"""The exporter: published relations copied to BigQuery, or to files, exactly once and proved equal.

A program of its own. It reads what ``ledgerviews`` declares; ``ledgerviews`` knows nothing of it.
"""
