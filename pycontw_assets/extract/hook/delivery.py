"""Read one delivery of KKTIX's webhook. Pure: bytes in, hints out.

Only name and slug of the event are looked at, and only their digests leave. A delivery also holds a buyer's name,
address and phone: those are never touched. Nobody documents all shapes, so an unknown one is a result and no error.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from typing import Any

from pycontw_assets.ledger.hints.deliveries import ANY_EVENT, DeliveryKind, Hint

_TEST_SLUG, _TEST_NAME = "event-slug", "Event Name"  # of the button in KKTIX that sends a test
_MOST_NOTIFICATIONS = 1000
_LONGEST_NAME = 500  # characters


@dataclass(frozen=True, slots=True)
class Delivery:
    """The events that a delivery names, and the kinds of its parts."""

    hints: frozenset[Hint] = frozenset()
    kinds: frozenset[DeliveryKind] = frozenset()


UNKNOWN = Delivery(frozenset({Hint(ANY_EVENT)}), frozenset({"unknown"}))


def read_delivery(body: bytes) -> Delivery:
    """Return the hints of a body. One of a shape that is not understood may be about any event."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return UNKNOWN
    notifications = payload.get("notifications") if isinstance(payload, dict) else None
    if not isinstance(notifications, list) or len(notifications) > _MOST_NOTIFICATIONS:
        return UNKNOWN
    parts = [_read_notification(notification) for notification in notifications]
    return Delivery(
        frozenset(hint for part in parts for hint in part.hints),
        frozenset(kind for part in parts for kind in part.kinds),
    )


def _read_notification(notification: Any) -> Delivery:
    event = notification.get("event") if isinstance(notification, dict) else None
    name, slug = (_text(event.get(member)) if isinstance(event, dict) else "" for member in ("name", "slug"))
    if not (name and slug):
        return UNKNOWN
    if (slug, name) == (_TEST_SLUG, _TEST_NAME):
        return Delivery(kinds=frozenset({"test"}))
    return Delivery(frozenset({Hint(_digest(slug), name_digest(name))}), frozenset({"hint"}))


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _LONGEST_NAME else ""


def name_digest(name: str) -> str:
    """Return the digest of an event's name, the same for spellings that a person would not tell apart."""
    return _digest(" ".join(unicodedata.normalize("NFKC", name).casefold().split()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
