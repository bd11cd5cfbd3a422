"""Troubles to order: what a network, a proxy or an overloaded service can do to one call.

Only the description and the choice live here; ``wire.py`` carries them out on the socket.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["status", "reset", "timeout", "truncate", "html", "redirect", "shape", "latency", "hook"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_KINDLY: frozenset[Kind] = frozenset({"latency", "hook"})  # the call still gets its proper answer


@dataclass(eq=False)
class Fault:
    """One ordered trouble.

    ``acts`` says whether the service does its work before the trouble strikes: a reset with ``acts`` is a lost
    reply, one without it a lost request. ``times`` is how often it strikes (``None``: until cleared), ``skip``
    how many matching calls pass unharmed first. ``path`` is a regular expression searched in the path. ``echoes``:
    the answer quotes the whole call, credentials included, wherever it has room.
    """

    service: str
    kind: Kind
    method: str | None = None
    path: str = ""
    times: int | None = 1
    skip: int = 0
    acts: bool = False
    status: int = 503
    retry_after: int | None = None
    seconds: float = 30.0
    body: Any = field(default_factory=lambda: {"unexpected": True})
    action: Callable[[], object] | None = None
    echoes: bool = False

    @property
    def breaks_the_call(self) -> bool:
        return self.kind not in _KINDLY

    def matches(self, service: str, method: str, path: str) -> bool:
        return (
            self.service == service
            and self.method in (None, method)
            and re.search(self.path, path) is not None
            and self.times != 0
        )

    def strike(self) -> bool:
        """Whether it is this call's turn; counts it."""
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FaultBoard:
    """The ordered faults of a world, oldest first. At most one breaking fault strikes a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, service: str, kind: Kind, **details: Any) -> Fault:
        """Order a fault; ``details`` are the fields of ``Fault``."""
        if kind not in KINDS:
            raise ValueError(f"unknown kind of fault: {kind}; known: {', '.join(KINDS)}")
        fault = Fault(service, kind, **{"acts": kind == "truncate"} | details)
        re.compile(fault.path)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self, service: str | None = None) -> None:
        with self._lock:
            self._faults = [f for f in self._faults if service is not None and f.service != service]

    def standing(self) -> list[Fault]:
        with self._lock:
            return [fault for fault in self._faults if fault.times != 0]

    def take(self, service: str, method: str, path: str) -> list[Fault]:
        """The faults that strike this call, counted as used."""
        struck: list[Fault] = []
        with self._lock:
            for fault in self._faults:
                if not fault.matches(service, method, path):
                    continue
                if fault.breaks_the_call and any(other.breaks_the_call for other in struck):
                    continue
                if fault.strike():
                    struck.append(fault)
            self._faults = [fault for fault in self._faults if fault.times != 0]
        return struck


Weather = Literal["fine", "slow", "429", "500", "down"]
WEATHERS: tuple[Weather, ...] = get_args(Weather)
_FAULTS: dict[Weather, dict[str, Any]] = {
    "slow": {"kind": "latency", "seconds": 1.5},
    "429": {"kind": "status", "status": 429, "retry_after": 1},
    "500": {"kind": "status", "status": 500},
    "down": {"kind": "reset"},
}


def set_weather(board: FaultBoard, service: str, weather: Weather) -> None:
    """Replaces whatever was ordered for the service."""
    board.clear(service)
    if weather != "fine":
        board.add(service, times=None, **_FAULTS[weather])


def weather_of(board: FaultBoard, service: str) -> Weather | Literal["mixed"]:
    """``mixed``: faults that are no weather of ours."""
    standing = [fault for fault in board.standing() if fault.service == service]
    if not standing:
        return "fine"
    for weather, wanted in _FAULTS.items():
        if all(fault.times is None and all(getattr(fault, n) == v for n, v in wanted.items()) for fault in standing):
            return weather
    return "mixed"
