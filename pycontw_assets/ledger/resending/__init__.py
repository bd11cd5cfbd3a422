"""Invitations that are sent once more because a person asked for it."""
