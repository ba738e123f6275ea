"""A real server of BigQuery's API on this machine, for development and tests: local-bigquery as a process."""
