"""Open problems, the people who hear of them, the heartbeat and the daily sales report."""
