"""Discord as a venue: a single-use invite per holder, which grants the role of the ticket."""
