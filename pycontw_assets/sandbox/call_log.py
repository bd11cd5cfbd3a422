"""Which calls arrived, in order: method, path and outcome. Never a query string, a header or a body (keys, people)."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import datetime


@dataclass
class CallRecord:
    """One call. ``status`` is what the caller was sent; 0 while unanswered and for ever if it got nothing whole."""

    number: int
    at: datetime
    service: str
    method: str
    path: str
    status: int = 0
    acted: bool = False
    fault: str = ""


class CallLog:
    """All calls of a world since its last reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[CallRecord] = []

    def open(self, at: datetime, service: str, method: str, path: str) -> CallRecord:
        with self._lock:
            record = CallRecord(len(self._records) + 1, at, service, method, path)
            self._records.append(record)
            return record

    def find(
        self, service: str | None = None, method: str | None = None, path: str = "", since: int = 0
    ) -> list[CallRecord]:
        """Records that fit; ``path`` is searched as a regular expression, ``since`` is a ``mark``."""
        with self._lock:
            return [
                record
                for record in self._records[since:]
                if service in (None, record.service)
                and method in (None, record.method)
                and re.search(path, record.path)
            ]

    def count(self, service: str | None = None, method: str | None = None, path: str = "", since: int = 0) -> int:
        return len(self.find(service, method, path, since))

    def mark(self) -> int:
        """Remember this point, to look only at later calls."""
        with self._lock:
            return len(self._records)

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
