"""Reactions to a mail after it left: it arrives or comes back, is opened by a program or a person, and clicked."""
