"""What the refresh engine costs, one module for each question: ``python -m benchmarks.refresh --help``."""
