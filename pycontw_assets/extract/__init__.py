"""Stage 1: orders and attendees from KKTIX, kept as one snapshot per event."""
