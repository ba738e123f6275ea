"""The PostgreSQL side: what a relation is, one snapshot for a run, fingerprints, and rows as Arrow."""
