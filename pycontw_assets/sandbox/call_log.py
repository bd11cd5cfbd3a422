"""The log of all calls, in order: method, path and outcome.

It never holds a query string, a header or a body: they contain keys and personal data.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import datetime


@dataclass(kw_only=True)
class CallRecord:
    """One call. ``status`` is the status sent to the caller; it stays 0 when no complete answer was sent."""

    number: int
    at: datetime
    service: str
    method: str
    path: str
    status: int = 0
    acted: bool = False
    fault: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it may have changed something. Klaviyo's reports are queries, sent by POST."""
        return self.method != "GET" and not self.path.endswith("-reports")


class CallLog:
    """All calls of a world since its last reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[CallRecord] = []

    def open(self, *, at: datetime, service: str, method: str, path: str) -> CallRecord:
        with self._lock:
            record = CallRecord(number=len(self._records) + 1, at=at, service=service, method=method, path=path)
            self._records.append(record)
            return record

    def find(
        self, service: str | None = None, method: str | None = None, path: str = "", *, since: int = 0
    ) -> list[CallRecord]:
        """Return the matching records; ``path`` is a regular expression to search for, ``since`` is a ``mark``."""
        with self._lock:
            return [
                record
                for record in self._records[since:]
                if service in (None, record.service)
                and method in (None, record.method)
                and re.search(path, record.path)
            ]

    def count(self, service: str | None = None, method: str | None = None, path: str = "", *, since: int = 0) -> int:
        return len(self.find(service, method, path, since=since))

    def mark(self) -> int:
        """Return the present position in the log, to look only at later calls."""
        with self._lock:
            return len(self._records)

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
