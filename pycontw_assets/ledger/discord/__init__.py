"""Invites to a Discord guild: one per holder and access period, and what became of it."""
