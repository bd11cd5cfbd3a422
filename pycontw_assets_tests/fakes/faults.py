"""Replies that get lost, before or after the service acted: one kind of trouble for both fakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pycontw_assets.api.client import ServiceError, Unavailable

_T = TypeVar("_T")


@dataclass
class Troubles:
    """Calls are counted by name; the next ones can be made to fail, or to be watched."""

    service: str
    calls: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    _planned: dict[str, list[tuple[ServiceError, bool]]] = field(default_factory=dict)
    _hooks: dict[str, list[Callable[[], Any]]] = field(default_factory=dict)

    def lose_reply(self, call: str, *, acted: bool, times: int = 1) -> None:
        """Its outcome stays unknown to the caller; ``acted`` says what really happened."""
        error = Unavailable(self.service, call, "no answer within the time allowed", outcome_unknown=True)
        self._planned.setdefault(call, []).extend([(error, acted)] * times)

    def fail(self, call: str, error: ServiceError, times: int = 1, *, acted: bool = False) -> None:
        self._planned.setdefault(call, []).extend([(error, acted)] * times)

    def mend(self) -> None:
        """Whatever was still planned does not happen."""
        self._planned.clear()

    def before(self, call: str, hook: Callable[[], Any]) -> None:
        """Something that happens in the world right before the next such call."""
        self._hooks.setdefault(call, []).append(hook)

    def run(self, call: str, action: Callable[[], _T]) -> _T:
        self.calls[call] += 1
        self.order.append(call)
        for hook in self._hooks.pop(call, []):
            hook()
        planned = self._planned.get(call)
        if not planned:
            return action()
        error, acted = planned.pop(0)
        if acted:
            action()
        raise error
