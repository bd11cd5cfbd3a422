"""The part of a poll that is about Discord."""
