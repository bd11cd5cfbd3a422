"""One poll as far as it needs no Dagster: the tick, what is known of the run history without asking, and the report."""
