"""The published rate limits: fixed windows per endpoint and account."""

from __future__ import annotations

import math
from datetime import datetime

from pycontw_assets.sandbox.klaviyo.errors import ApiError, Problem

_SECOND, _MINUTE, _DAY = 1, 60, 86_400
_Windows = dict[int, int]  # width in seconds -> calls allowed

_WIDE: _Windows = {_SECOND: 75, _MINUTE: 750}
_NARROW: _Windows = {_SECOND: 10, _MINUTE: 150}
_SLOW: _Windows = {_SECOND: 1, _MINUTE: 15}
_WIDE_ENDPOINTS = frozenset(
    {
        ("GET", "/api/lists"),
        ("GET", "/api/lists/{id}"),
        ("GET", "/api/lists/{id}/profiles"),
        ("GET", "/api/lists/{id}/relationships/profiles"),
        ("GET", "/api/profiles"),
        ("POST", "/api/profile-import"),
        ("POST", "/api/profile-subscription-bulk-create-jobs"),
    }
)
_ENDPOINT_WINDOWS: dict[tuple[str, str], _Windows] = {
    ("GET", "/api/accounts"): _SLOW,
    ("POST", "/api/lists"): _NARROW | {_DAY: 150},
    ("POST", "/api/campaign-values-reports"): {_SECOND: 1, _MINUTE: 2, _DAY: 225},
    ("GET", "/api/events"): {_SECOND: 350, _MINUTE: 3500},
    ("POST", "/api/data-privacy-deletion-jobs"): {_SECOND: 3, _MINUTE: 60},
    ("POST", "/api/events"): {_SECOND: 350, _MINUTE: 3500},
}


def windows_of(method: str, template: str, *, counts_members: bool = False) -> _Windows:
    """Return the windows of an endpoint. ``counts_members``: reading a list's ``profile_count`` is limited more."""
    if counts_members:
        return _SLOW
    if (method, template) in _ENDPOINT_WINDOWS:
        return _ENDPOINT_WINDOWS[method, template]
    is_wide = (method, template) in _WIDE_ENDPOINTS or template.startswith("/api/templates")
    return _WIDE if is_wide else _NARROW


class Limiter:
    """Count calls per endpoint and window."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, int], tuple[int, int]] = {}  # endpoint, width -> window number, calls in it

    def take(self, endpoint: str, windows: _Windows, now: datetime) -> dict[str, str]:
        """Count one call and return the headers with the rest; a full window raises a 429 and counts nothing."""
        seconds = now.timestamp()
        used = {width: self._used_in(endpoint, width, int(seconds // width)) for width in windows}
        full = [width for width, allowed in windows.items() if used[width] >= allowed]
        if full:
            raise Throttled(max(width - seconds % width for width in full))
        for width in windows:
            self._used[endpoint, width] = (int(seconds // width), used[width] + 1)
        left = {width: allowed - used[width] - 1 for width, allowed in windows.items()}
        tightest = min(left, key=lambda width: left[width])
        spelled = ", ".join(f"{allowed};w={width}" for width, allowed in windows.items())
        return {
            "RateLimit-Limit": f"{windows[tightest]}, {spelled}",
            "RateLimit-Remaining": str(left[tightest]),
            "RateLimit-Reset": str(math.ceil(tightest - seconds % tightest)),
        }

    def _used_in(self, endpoint: str, width: int, number: int) -> int:
        window, calls = self._used.get((endpoint, width), (number, 0))
        return calls if window == number else 0


class Throttled(ApiError):
    def __init__(self, seconds: float) -> None:
        problem = Problem("Request was throttled.", code="throttled", title="Request was throttled.")
        super().__init__(429, problem)
        self.retry_after = max(1, math.ceil(seconds))
