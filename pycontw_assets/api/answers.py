"""The raw answer to a request: its body, waits and objections, and what broke when there is none.

``client`` makes the calls, repeats them and chooses the kind of error.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3

from pycontw_assets.api.bounds import read_float, read_integer
from pycontw_assets.api.log import request_id

LARGEST_BODY = 16 * 1024 * 1024  # bytes. The largest answers, guest lists, have some 100 bytes per guest
_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``wait`` is ``Retry-After`` in seconds. ``request_id`` is the service's own id, for its support.

    ``is_cut_short``: it ended early. ``is_too_large``: its rest was not read, because there was more than we take.
    ``revision``: the revision of its interface that the service says it used. ``headers`` have small letters.
    ``rest``: seconds until the service takes the next call of this kind, where it says that this was the last for now.
    """

    status: int
    body: bytes
    is_cut_short: bool
    is_too_large: bool
    wait: float | None
    has_next_page: bool
    request_id: str | None = None
    revision: str | None = None
    rest: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_page(self) -> bool:
        return self.body[:_BLOCK].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def read_answer(response: requests.Response, is_overdue: Callable[[], bool], largest: int = LARGEST_BODY) -> Answer:
    """Read the whole answer. Mark a body that ends early instead of failing: most statuses need no body.

    ``largest``: bytes of a body after decompression, which a few bytes on the way can stand for many of.
    """
    body, is_cut_short, is_too_large = bytearray(), False, False
    try:
        while block := response.raw.read1(_BLOCK, decode_content=True):
            body += block
            is_too_large = len(body) > largest
            is_cut_short = is_overdue()  # a read time-out never ends a body that trickles
            if is_too_large or is_cut_short:
                break
    except urllib3.exceptions.HTTPError:
        is_cut_short = True
    return Answer(
        status=response.status_code,
        body=bytes(body),
        is_cut_short=is_cut_short,
        is_too_large=is_too_large,
        wait=_retry_after(response.headers),
        has_next_page="next" in response.links,
        request_id=_request_id(response.headers),
        revision=response.headers.get("revision", "").strip() or None,
        rest=_rest(response.headers),
        headers={name.lower(): value for name, value in response.headers.items()},
    )


def _rest(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a used-up window ends (https://docs.discord.com/developers/topics/rate-limits)."""
    left, text = headers.get("X-RateLimit-Remaining", "").strip(), headers.get("X-RateLimit-Reset-After", "").strip()
    return float(text) if left == "0" and re.fullmatch(r"\d{1,6}(\.\d{1,9})?", text) else None


# Rails, which KKTIX is written in, sets the first by default. Cloudflare sets the last. Assumed, not documented.
_REQUEST_ID_HEADERS = ("X-Request-Id", "Request-Id", "X-Correlation-Id", "CF-Ray")


def _request_id(headers: Mapping[str, str]) -> str | None:
    return next((token for name in _REQUEST_ID_HEADERS if (token := request_id(headers.get(name)))), None)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``. A date is compared with the service's ``Date``, if it is there."""
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
    """Return what is wrong with a body (``None``: nothing), and its content.

    Numbers that no number of ours can hold come as ``OversizedNumber``, so that one of them costs itself only.
    """
    try:
        return None, json.loads(body, parse_constant=_refuse_constant, parse_int=read_integer, parse_float=read_float)
    except RecursionError:
        return "a body that is nested too deeply", None
    except ValueError:
        return ("a body that is not JSON" if body.strip() else "an empty body"), None


def _refuse_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def cannot_be_sent(error: Exception) -> bool:
    """Whether the URL or a header of the request is wrong. An ``InvalidHeader`` with a request is about the answer."""
    is_answer = isinstance(error, requests.exceptions.InvalidHeader) and error.request is not None
    return isinstance(error, ValueError) and not is_answer


def transport_problem(error: Exception) -> tuple[str, bool]:
    """Return what happened, and whether the request may have reached the service."""
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
    """Return an exception with all that it wraps. requests and urllib3 hide them in ``args`` and ``reason``."""
    causes: list[BaseException] = []
    queue: list[Any] = [error]
    while queue:
        item = queue.pop()
        if isinstance(item, BaseException) and item not in causes:
            causes.append(item)
            queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return causes


_NUMBERS_OF_CODES = 1_000_000
_SAFE_CODE = re.compile(r"[A-Za-z_.-]{1,60}")
# None of these can hold an address, a key or a phone: they lack the @, the slash, or the small letters only.
_SAFE_POINTER = re.compile(r"/[A-Za-z0-9_\[\]/.-]{0,119}")
_SAFE_PARAMETER = re.compile(r"[a-z_.\[\]]{1,40}")


def objections(body: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return codes and JSON pointers of a JSON:API error document, without those that could quote what was sent.

    Other services give one number as their code (``{"code": 30016}``).
    """
    document = parse_json(body)[1]
    number = document.get("code") if isinstance(document, dict) else None
    if type(number) is int and 0 <= number < _NUMBERS_OF_CODES:
        return (str(number),), ()
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
