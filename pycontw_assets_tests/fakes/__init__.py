"""Fakes with behaviour: they keep state, answer late, refuse calls and lose replies. They hold no expectations."""
