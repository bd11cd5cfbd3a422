"""Invitations by event: one event per person, which a flow made by hand answers with the mail."""
