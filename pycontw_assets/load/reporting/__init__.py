"""Tables of counts about an edition. No row is about a person."""
