"""Invitations by event: how far each came, and the mails that were seen."""
