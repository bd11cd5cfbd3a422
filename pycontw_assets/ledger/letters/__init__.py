"""Letters to everybody who holds a ticket: which there are, and how far each came."""
