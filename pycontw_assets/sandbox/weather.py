"""How a whole service fares until somebody changes it: a few standing faults with names people understand."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pycontw_assets.sandbox.faults import FaultBoard

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
