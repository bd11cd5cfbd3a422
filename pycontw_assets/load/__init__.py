"""Load: rows without personal data to the three warehouse tables, whole partitions at a time."""
