"""The naive way, for comparison: no memory, one call after the other, one call per person.

The simplest code that does the job, with real requests: read every attendee, let everybody in with a call each, write a
profile for each. It waits after a 429, because otherwise it would not finish.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from benchmarks.services import EVENT_ID

_TOO_MANY_REQUESTS = 429


@dataclass
class NaiveWay:
    """``seconds`` by kind of call, to calculate larger sizes."""

    http: requests.Session = field(default_factory=requests.Session)
    requests_sent: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def poll(self) -> None:
        """Read everybody, let everybody in, and write a profile for everybody."""
        variables = os.environ
        kktix = {"Authorization": f"bearer {variables['KKTIX_API_TOKEN']}"}
        events = variables["KKTIX_API_URL"]
        self._ask("GET", f"{events}?only_not_ended_event=true", headers=kktix)
        books = self._ask("GET", f"{events}/{EVENT_ID}/attendance_books", headers=kktix)
        ids: set[int] = set()
        for book in books:
            page = self._ask("GET", f"{events}/{EVENT_ID}/attendance_books/{book['id']}", headers=kktix)
            ids |= {row[0] for row in page["signin_status"]}
        attendees: list[Any] = []
        self._each(
            "read",
            lambda i: attendees.append(self._ask("GET", f"{events}/{EVENT_ID}/attendees/{i}", headers=kktix)),
            sorted(ids),
        )
        addresses = [dict(attendee["data"])["聯絡人 Email"] for attendee in attendees]
        self._each("let in", self._let_in, addresses)
        self._each("profile", self._write_profile, addresses)

    def _each(self, what: str, act: Callable[[Any], object], items: list[Any]) -> None:
        started = time.monotonic()
        for item in items:
            act(item)
        self.seconds[what] = time.monotonic() - started

    def _let_in(self, address: str) -> None:
        variables = os.environ
        body = {
            "apiKey": variables["GATHER_API_KEY"],
            "spaceId": variables["GATHER_SPACE_ID"],
            "overwrite": False,
            "guestlist": {address: {}},
        }
        self._ask("POST", f"{variables['GATHER_API_URL']}/api/setEmailGuestlist", json=body)

    def _write_profile(self, address: str) -> None:
        headers = {
            "Authorization": f"Klaviyo-API-Key {os.environ['KLAVIYO_API_KEY']}",
            "revision": "2026-07-15",
            "Content-Type": "application/vnd.api+json",
        }
        body = {"data": {"type": "profile", "attributes": {"email": address}}}
        self._ask("POST", f"{os.environ['KLAVIYO_API_URL']}/api/profile-import", headers=headers, json=body)

    def _ask(self, method: str, url: str, **details: Any) -> Any:
        while True:
            self.requests_sent += 1
            answer = self.http.request(method, url, timeout=30, **details)
            if answer.status_code != _TOO_MANY_REQUESTS:
                answer.raise_for_status()
                return answer.json() if answer.content else None
            time.sleep(float(answer.headers.get("Retry-After", 1)))
