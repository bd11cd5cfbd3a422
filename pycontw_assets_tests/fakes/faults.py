"""Planned failures of calls, before or after the service acted, for both fakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pycontw_assets.api.client import ServiceError, Unavailable

_T = TypeVar("_T")


@dataclass
class CallFaults:
    """Count calls by name; make the next calls fail, or run a hook before them."""

    service: str
    calls: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    _planned: dict[str, list[tuple[ServiceError, bool]]] = field(default_factory=dict)
    _hooks: dict[str, list[Callable[[], Any]]] = field(default_factory=dict)

    def lose_reply(self, call: str, *, acted: bool, times: int = 1) -> None:
        """Lose the reply, so the caller cannot know the outcome; ``acted``: the service did its work."""
        error = Unavailable(self.service, call, "no answer within the time allowed", outcome_unknown=True)
        self._planned.setdefault(call, []).extend([(error, acted)] * times)

    def fail(self, call: str, error: ServiceError, times: int = 1, *, acted: bool = False) -> None:
        self._planned.setdefault(call, []).extend([(error, acted)] * times)

    def mend(self) -> None:
        """Cancel all planned failures."""
        self._planned.clear()

    def before(self, call: str, hook: Callable[[], Any]) -> None:
        """Run a hook right before the next such call."""
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
