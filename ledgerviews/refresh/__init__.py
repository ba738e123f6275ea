"""Keeping the published relations fresh: the command's side of the engine in the database."""
