"""Counts over very many rows, kept until these rows change."""
