"""Stand-ins that behave: they keep state, answer late, refuse, lose replies. No expectations live here."""
