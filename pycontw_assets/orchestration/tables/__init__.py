"""Views of the tables, as Dagster shows them."""
