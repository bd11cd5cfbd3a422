"""Compare what the three services answer with what this program assumes of them, without keeping any value.

``walk`` asks, ``exchanges`` holds the answers for a moment, ``shapes`` and ``report`` reduce them to types and counts,
and ``judge`` compares those with the ``statements``. Everything but the walk is pure.
"""
