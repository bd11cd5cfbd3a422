"""Hints of KKTIX's webhook lead to an early look at the events that they are about. Polls stay the truth."""
