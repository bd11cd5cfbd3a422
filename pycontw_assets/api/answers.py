"""What came back over the wire, before anybody judges it: bodies, waits, objections, broken connections.

No calls, no retries and no error kinds here; those are ``api_client``'s.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3

_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    is_cut_short: bool
    wait: float | None
    has_next_page: bool

    @property
    def is_page(self) -> bool:
        return self.body[:_BLOCK].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def read_answer(response: requests.Response, is_overdue: Callable[[], bool]) -> Answer:
    """The whole answer. A body that ends early is marked, since most statuses need none."""
    body, is_cut_short = bytearray(), False
    try:
        while block := response.raw.read1(_BLOCK, decode_content=True):
            body += block
            if is_overdue():  # a read time-out never ends a body that trickles
                is_cut_short = True
                break
    except urllib3.exceptions.HTTPError:
        is_cut_short = True
    return Answer(
        status=response.status_code,
        body=bytes(body),
        is_cut_short=is_cut_short,
        wait=_retry_after(response.headers),
        has_next_page="next" in response.links,
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` in seconds, or as a date by the service's own clock where it tells it."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    until = _http_date(text)
    if until is None:
        return None
    now = _http_date(headers.get("Date", "")) or datetime.now(timezone.utc)
    return max(0.0, (until - now).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment


def parse_json(body: bytes) -> tuple[str | None, Any]:
    """What is wrong with a body, and what it says."""
    try:
        return None, json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return ("a body that is not JSON" if body.strip() else "an empty body"), None


def _refuse_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def cannot_be_sent(error: Exception) -> bool:
    """Whether the URL or a header is at fault. An ``InvalidHeader`` that knows its request is the answer's."""
    is_answer = isinstance(error, requests.exceptions.InvalidHeader) and error.request is not None
    return isinstance(error, ValueError) and not is_answer


def transport_trouble(error: Exception) -> tuple[str, bool]:
    """What happened, and whether the request may have reached the service."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection within the time allowed", False
    if isinstance(error, (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)):
        return "no answer within the time allowed", True
    causes = _causes(error)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "its TLS certificate is not accepted", False
    if any(
        isinstance(cause, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProxyError)) for cause in causes
    ):
        return "could not connect", False
    return "the connection broke", True


def _causes(error: BaseException) -> list[BaseException]:
    """An exception with those it wraps; requests and urllib3 hide them in ``args`` and ``reason``."""
    found: list[BaseException] = []
    queue: list[Any] = [error]
    while queue:
        item = queue.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found


_SAFE_CODE = re.compile(r"[A-Za-z_.-]{1,60}")
# No room for an address, and none for a key or a phone: those do not begin with a slash, nor consist of small letters.
_SAFE_POINTER = re.compile(r"/[A-Za-z0-9_\[\]/.-]{0,119}")
_SAFE_PARAMETER = re.compile(r"[a-z_.\[\]]{1,40}")


def objections(body: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Codes and JSON pointers of a JSON:API error document, as far as they quote nothing that was sent."""
    document = parse_json(body)[1]
    errors = document.get("errors") if isinstance(document, dict) else None
    codes: list[str] = []
    pointers: list[str] = []
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            continue
        source = error.get("source")
        source = source if isinstance(source, dict) else {}
        codes += _safe(_SAFE_CODE, error.get("code"))
        pointers += _safe(_SAFE_POINTER, source.get("pointer")) or _safe(_SAFE_PARAMETER, source.get("parameter"))
    return tuple(dict.fromkeys(codes)), tuple(dict.fromkeys(pointers))


def _safe(pattern: re.Pattern[str], value: Any) -> list[str]:
    return [value] if isinstance(value, str) and pattern.fullmatch(value) else []
