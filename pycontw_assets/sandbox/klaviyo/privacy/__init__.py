"""Requests under data protection law."""
