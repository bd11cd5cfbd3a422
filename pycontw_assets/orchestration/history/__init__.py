"""Former editions in Dagster: the runs that show an import, and who came back."""
