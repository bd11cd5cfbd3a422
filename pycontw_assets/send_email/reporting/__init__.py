"""Figures of mails that left: per campaign, and of one person."""
