"""Reports of an edition: its funnel from order to click, and what its sales earned. Counts only."""
