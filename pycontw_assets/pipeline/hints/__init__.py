"""Hints of KKTIX's webhook lead to an early look at the events that it is about. Polls stay the truth."""
