"""Everything Dagster: resources, assets in flow order, jobs, the sensor, and the poll that does the same by hand."""
