"""The BigQuery side: the one place with Google's libraries."""
