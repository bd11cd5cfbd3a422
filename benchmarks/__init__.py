"""Measure the cost of the pipeline and of a naive one: ``python -m benchmarks``. No time fails a build."""
