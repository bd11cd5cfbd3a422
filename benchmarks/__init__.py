"""What the pipeline costs, measured beside the naive way: ``python -m benchmarks``. Never fails a build on a time."""
