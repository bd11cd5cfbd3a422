"""Flows that events start: what happens to an accepted event, and who gets the flow's mail."""
