"""Files: the extract as Parquet, CSV or NDJSON, and the manifest beside it."""
