"""Rushes: buyers are served while others are still to be read."""
