"""Letters to everybody who holds a ticket: announced by a person, sent once, followed by polls."""
