"""Stage 3: rows without personal data into the three warehouse tables, a whole partition at a time."""
