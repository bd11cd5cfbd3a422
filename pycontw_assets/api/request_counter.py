"""Count what clients send: tries, not calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def count_requests(*clients: Any) -> Callable[[], int]:
    """Return a function that gives how many requests these clients sent since now. ``None``: a service that is off."""
    present = [client for client in clients if client is not None]

    def sent() -> int:
        return sum(client.api.requests_sent for client in present)

    before = sent()
    return lambda: sent() - before
