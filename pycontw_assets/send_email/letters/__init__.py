"""Letters to everybody who holds a ticket: the text, whom it goes to, and its one campaign."""
