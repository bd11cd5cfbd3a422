"""Counts over very many rows, kept until one of the rows changes."""
