"""What Dagster shows of the tables, next to the assets that fill them."""
