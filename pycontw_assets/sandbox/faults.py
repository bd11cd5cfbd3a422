"""Faults on demand: what a network, a proxy or an overloaded service can do to one call.

This module only describes and chooses faults; ``wire.py`` carries them out on the socket.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["status", "reset", "timeout", "truncate", "html", "redirect", "shape", "latency", "hook"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_HARMLESS_KINDS: frozenset[Kind] = frozenset({"latency", "hook"})  # the call still gets its proper answer

Preset = Literal["fine", "slow", "429", "500", "down"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
_PRESET_FAULTS: dict[Preset, dict[str, Any]] = {
    "slow": {"kind": "latency", "seconds": 1.5},
    "429": {"kind": "status", "status": 429, "retry_after": 1},
    "500": {"kind": "status", "status": 500},
    "down": {"kind": "reset"},
}


@dataclass(eq=False, kw_only=True)
class Fault:
    """One fault, waiting for a call that matches it.

    ``acts``: the service does its work before the fault strikes. A reset with ``acts`` is a lost reply, a reset
    without it is a lost request.
    ``times``: how often the fault strikes; ``None`` means until it is cleared.
    ``skip``: how many matching calls pass unharmed first.
    ``path``: a regular expression, searched in the path.
    ``echoes``: the answer quotes the whole call, credentials included, wherever it has room.
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
        return self.kind not in _HARMLESS_KINDS

    def matches(self, service: str, method: str, path: str) -> bool:
        return (
            self.service == service
            and self.method in (None, method)
            and re.search(self.path, path) is not None
            and self.times != 0
        )

    def strike(self) -> bool:
        """Count a matching call, and return whether the fault strikes it."""
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FaultBoard:
    """The faults of a world, oldest first. At most one breaking fault strikes a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, service: str, kind: Kind, **details: Any) -> Fault:
        """Add a fault; ``details`` are fields of ``Fault``."""
        if kind not in KINDS:
            raise ValueError(f"unknown kind of fault: {kind}; known: {', '.join(KINDS)}")
        fault = Fault(service=service, kind=kind, **{"acts": kind == "truncate"} | details)
        re.compile(fault.path)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self, service: str | None = None) -> None:
        with self._lock:
            self._faults = [fault for fault in self._faults if service is not None and fault.service != service]

    def active(self) -> list[Fault]:
        with self._lock:
            return [fault for fault in self._faults if fault.times != 0]

    def take(self, service: str, method: str, path: str) -> list[Fault]:
        """Return the faults that strike this call, counted as used."""
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

    def set_preset(self, service: str, preset: Preset) -> None:
        """Replace all faults of the service by a lasting one; ``fine`` means none."""
        self.clear(service)
        if preset != "fine":
            self.add(service, times=None, **_PRESET_FAULTS[preset])

    def preset_of(self, service: str) -> Preset | Literal["mixed"]:
        """Return the preset that describes the faults of the service; ``mixed`` when none does."""
        faults = [fault for fault in self.active() if fault.service == service]
        if not faults:
            return "fine"
        for preset, details in _PRESET_FAULTS.items():
            if all(fault.times is None and _has(fault, details) for fault in faults):
                return preset
        return "mixed"


def _has(fault: Fault, details: dict[str, Any]) -> bool:
    return all(getattr(fault, name) == value for name, value in details.items())
