"""Where an instance in a data folder keeps its history: in Dagster's own tables, with fewer files that stay open."""
