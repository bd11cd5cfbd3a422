"""The webhook of the simulated KKTIX: batches of notifications to a URL, some seconds late, with repeats.

As the vendor documents it: not in real time, in batches, a failed delivery again after five minutes and at most three
times. The shape of a notification is known from other clients only.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pycontw_assets.sandbox.context import SimulationContext
from pycontw_assets.sandbox.kktix.people import Person

_REPEAT_SECONDS, _MOST_ATTEMPTS = 300.0, 4
_PATIENCE_SECONDS = 10


class Seat(Protocol):
    """The members of a ticket that a notification shows."""

    attendee_id: int
    order_no: int
    person: Person
    price: float
    state: str

    @property
    def is_usable(self) -> bool: ...


@dataclass
class _Batch:
    notifications: list[dict[str, Any]] = field(repr=False)
    number: int = 0
    attempts: int = 0


class Webhook:
    """``url`` is None while nobody set the hook up. ``after_seconds`` is None: only ``deliver`` sends."""

    def __init__(self, context: SimulationContext) -> None:
        self._context = context
        self.reset()

    def reset(self) -> None:
        self.url: str | None = None
        self.secret = ""
        self.after_seconds: float | None = 2.0
        self.repeats = False
        self._said: dict[int, str] = {}
        self._waiting: list[dict[str, Any]] = []
        self._failed: list[_Batch] = []
        self._batches = 0
        self._timer: threading.Timer | None = None

    def set_up(self, url: str, secret: str, *, after_seconds: float | None = 2.0, repeats: bool = False) -> None:
        """Send notifications from now on. ``repeats``: every batch is sent twice."""
        if urllib.parse.urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("the hook must be on this machine")
        with self._context.lock:
            self.url, self.secret, self.after_seconds, self.repeats = url, secret, after_seconds, repeats

    def note(self, seat: Seat, event_id: int, event_name: str) -> None:
        """Remember what is worth a notification: the first usable seat of an order, and its cancellation."""
        kind = "order_activated_paid" if seat.is_usable else "order_cancelled" if seat.state == "cancelled" else ""
        if self.url is None or not kind or self._said.get(seat.order_no) == kind:
            return
        self._said[seat.order_no] = kind
        self._waiting.append(_notification(kind, seat, event_id, event_name, self._context.now()))
        self._send_later(self.after_seconds)

    def deliver(self) -> list[int]:
        """Send what is waiting. Return the status of each request; 0: no answer."""
        with self._context.lock:
            self._timer = None
            batches, self._failed = self._failed, []
            if self._waiting:
                self._batches += 1
                batches.append(_Batch(self._waiting, self._batches))
                self._waiting = []
        return [status for batch in batches for status in self._send(batch)]

    def send_test(self) -> int:
        """Send the delivery of the button that tests a hook."""
        event = {"name": "Event Name", "slug": "event-slug"}
        return self._post({"batch_id": "test", "notifications": [{"type": "order_activated_paid", "event": event}]})

    def _send(self, batch: _Batch) -> Iterable[int]:
        batch.attempts += 1
        payload = {"batch_id": f"b-{batch.number:04}", "notifications": batch.notifications}
        statuses = [self._post(payload) for _ in range(2 if self.repeats else 1)]
        if not any(200 <= status < 300 for status in statuses) and batch.attempts < _MOST_ATTEMPTS:  # noqa: PLR2004
            with self._context.lock:
                self._failed.append(batch)
                self._send_later(None if self.after_seconds is None else _REPEAT_SECONDS)
        return statuses

    def _post(self, payload: dict[str, Any]) -> int:
        if self.url is None:
            return 0
        headers = {"content-type": "application/json", "x-kktix-secret": self.secret}
        request = urllib.request.Request(self.url, json.dumps(payload).encode(), headers)  # noqa: S310  # loopback only
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def _send_later(self, seconds: float | None) -> None:
        if seconds is not None and self._timer is None:
            self._timer = threading.Timer(seconds, self.deliver)
            self._timer.daemon = True
            self._timer.start()


def _notification(kind: str, seat: Seat, event_id: int, event_name: str, now: datetime) -> dict[str, Any]:
    event = {"name": event_name, "slug": f"event-{event_id}"}
    if kind == "order_cancelled":
        order = {"id": seat.order_no, "state": "cancelled", "cancelled_at": now.isoformat()}
        return {"type": kind, "event": event, "order": order}
    person = seat.person
    return {
        "type": kind,
        "event": event,
        "order": {"id": seat.order_no, "state": "activated", "paid_at": now.isoformat()},
        "contact": {"name": person.name, "email": person.address, "mobile": person.phone},
        "tickets": [
            {
                "id": seat.attendee_id,
                "name": "Ticket 票",
                "price_cents": round(100 * seat.price),
                "price_currency": "TWD",
            }
        ],
    }
