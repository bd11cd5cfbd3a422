"""One HTTP call to any of the three services: time-outs, bounded retry, errors of a few kinds with safe texts.

Every error that leaves here is safe to log. It names the service, the operation and the status, and never a query
string, a body, an address or a key. The texts of ``requests`` quote full URLs, so nothing of it escapes: failures are
values inside this module and become exceptions only at its edge. So they carry no chain either.

The three clients know what a path or a payload means. This module does not.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Protocol

import requests
import urllib3
from requests.adapters import HTTPAdapter

from pycontw_assets.api.adaptive_rate import Objection
from pycontw_assets.api.answers import (
    LARGEST_BODY,
    Answer,
    cannot_be_sent,
    objections,
    parse_json,
    read_answer,
    transport_problem,
)
from pycontw_assets.api.log import Outcome, log_request
from pycontw_assets.api.time_limit import time_left


class ServiceError(Exception):
    """A call that did not succeed. ``str()`` is safe for logs, metadata and people."""

    def __init__(self, service: str, operation: str, reason: str, *, status: int | None = None) -> None:
        self.service = service
        self.operation = operation
        self.reason = reason
        self.status = status
        super().__init__(f"{service}: {operation}: {reason}")


class Unavailable(ServiceError):
    """A problem that passes (5xx, a 429 for longer than the deadline, a time-out, a reset): try again later.

    ``outcome_unknown``: the server may have acted on the write all the same.
    """

    def __init__(
        self, service: str, operation: str, reason: str, *, status: int | None = None, outcome_unknown: bool = False
    ) -> None:
        super().__init__(service, operation, reason, status=status)
        self.outcome_unknown = outcome_unknown


class Blocked(Unavailable):
    """The network in front of the service turns this program away (403 with a page): not a wrong key. Ask less."""


class Malformed(ServiceError):
    """A success status with a body of another shape than documented (HTML, cut short, other members)."""


class Refused(ServiceError):
    """The service understood and said no (a 4xx about this request). Repeating it changes nothing.

    ``pointers`` are the JSON pointers to what the service objected to, and ``codes`` its own, where it gave any.
    """

    def __init__(
        self,
        service: str,
        operation: str,
        reason: str,
        *,
        status: int | None = None,
        pointers: tuple[str, ...] = (),
        codes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(service, operation, reason, status=status)
        self.pointers = pointers
        self.codes = codes


class NotFound(Refused):
    """404 or 410: there is no such thing, or not any more."""


class TooLarge(Refused):
    """413: the body is too big. Half of it may pass."""


class Misconfigured(ServiceError):
    """Credentials, rights or URL are wrong (401, 403, a sign-in page): stop at once and alert a person."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A success. ``data`` is the parsed JSON, or ``None`` where none was expected.

    ``revision``: the revision of its interface that the service says it used.
    """

    status: int
    data: Any = field(default=None, repr=False)
    has_next_page: bool = False
    revision: str | None = None


class Limiter(Protocol):
    """A limiter that keeps calls under a service's rate limits (``api.rate_limits``, ``ledger.rate_slots``)."""

    def reserve(self, group: str, longest_wait: float) -> float:
        """Reserve a slot for one call and return the seconds until it; reserve none beyond ``longest_wait``."""

    def slow_down(self, group: str, reason: Objection) -> None:
        """Take in that the service objects to the rate of the group's calls."""

    def answered_in(self, group: str, seconds: float) -> None:
        """Take in how long an answer took."""


class ApiClient:
    """One service over one pool of kept-alive connections. Threads may share it.

    - ``timeouts``: seconds to connect, and seconds between two bytes of the answer.
    - ``attempts``: most tries of one call. A 429 does not count as a try.
    - ``deadline_seconds``: most seconds of one call, waits for a 429 included. A ``TimeLimit`` shortens it.
    - ``throttle_seconds``: the first wait after a 429 that names none. It doubles.
    - ``edge_pages``: an HTML page with a success, 403 or 404 comes from the network in front of the API and passes.
      Otherwise such a page is a sign-in page, and one with a 403 means ``Blocked``.
    - ``heeds_headers``: no call leaves while an ``X-RateLimit-*`` header says that the window is used up.
    - ``largest_answer``: most bytes of an answer, after decompression. The rest of a larger one is not read.
    - ``gate`` is called before every try and raises when this process may call nobody any more.
    - ``on_request(method, operation)`` is called before every try.
    - ``on_answer(answer, seconds)`` is called after every try that was answered, whatever the answer says.
    """

    def __init__(
        self,
        service: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
        timeouts: tuple[float, float] = (5, 30),
        attempts: int = 3,
        pool_size: int = 8,
        deadline_seconds: float = 240,
        throttle_seconds: float = 2,
        edge_pages: bool = False,
        heeds_headers: bool = False,
        largest_answer: int = LARGEST_BODY,
        limiter: Limiter | None = None,
        gate: Callable[[], None] | None = None,
        on_request: Callable[[str, str], None] | None = None,
        on_answer: Callable[[Answer, float], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self._base_url = base_url.rstrip("/")
        self._media_type = media_type
        self._timeouts = timeouts
        self._attempts = attempts
        self._deadline_seconds = deadline_seconds
        self._throttle_seconds = throttle_seconds
        self._edge_pages = edge_pages
        self._heeds_headers = heeds_headers
        self._largest_answer = largest_answer
        self._limiter = limiter
        self._gate = gate
        self._on_request = on_request
        self._on_answer = on_answer
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._requests_sent = 0
        self._hold_until = float("-inf")
        self._session = _session(self._base_url, {"Accept": media_type, **(headers or {})}, pool_size)

    def __repr__(self) -> str:
        return f"ApiClient({self.service!r}, requests_sent={self.requests_sent})"

    @property
    def requests_sent(self) -> int:
        """The tries so far. A call that was tried three times counts as three."""
        with self._lock:
            return self._requests_sent

    def close(self) -> None:
        self._session.close()

    def request(
        self,
        method: str,
        operation: str,
        path: str = "",
        *,
        query: str = "",
        body: Any = None,
        repeatable: bool,
        expect_json: bool = True,
        group: str | None = None,
        waits_out_429: bool = True,
        read: Callable[[bytes], tuple[str | None, Any]] = parse_json,
    ) -> Reply:
        """Make one call, try it again where that is safe, and return the reply. Raise a ``ServiceError`` otherwise.

        ``query`` is already encoded. ``operation`` goes into errors and log lines: small letters, digits and blanks.
        ``repeatable``: the state after two calls is the state after one. Other writes are tried again only when the
        service certainly did nothing. Otherwise they end as ``Unavailable`` with ``outcome_unknown``.
        ``waits_out_429``: without it a 429 ends this call and holds up no other one. Its limit may be one of a day.
        ``read`` returns what is wrong with the whole body of a success (``None``: nothing), and its content.
        """
        url = self._base_url + path + (f"?{query}" if query else "")
        payload = None if body is None else json.dumps(body, allow_nan=False).encode()
        call = _Call(
            method=method,
            operation=operation,
            url=url,
            payload=payload,
            repeatable=repeatable,
            expect_json=expect_json,
            group=group,
            read=read,
        )
        patience = _Patience(min(self._deadline_seconds, time_left()), self._clock, self._sleep)
        failures, throttled, in_doubt = 0, 0, False
        while True:
            self._wait_for_turn(call, patience)
            outcome = self._try_once(call, patience)
            if isinstance(outcome, Reply):
                return outcome
            self._object(call, outcome.objection)
            if outcome.is_throttled:
                throttled += 1
                if not waits_out_429:
                    self._log(call, outcome, attempt=throttled, ended="gave_up")
                    raise outcome.error
                self._log(call, outcome, attempt=throttled, ended="throttled")
                self._hold(outcome.wait, throttled)
                continue
            failures += 1
            pause = _backoff(failures) if outcome.wait is None else outcome.wait
            error = outcome.error
            if isinstance(error, Unavailable):  # a refused connection says nothing about an earlier try
                error.outcome_unknown = in_doubt = in_doubt or error.outcome_unknown
            if not outcome.may_repeat or failures >= self._attempts or pause > patience.left:
                ended: Outcome = "gave_up" if isinstance(error, Unavailable) else "refused"
                self._log(call, outcome, attempt=failures, ended=ended)
                raise error
            self._log(call, outcome, attempt=failures, ended="retried")
            patience.pause(pause)

    def _object(self, call: _Call, objection: Objection | None) -> None:
        if self._limiter and call.group and objection:
            self._limiter.slow_down(call.group, objection)

    def _log(self, call: _Call, failure: _Failure, *, attempt: int, ended: Outcome) -> None:
        log_request(
            "request_failed",
            service=self.service,
            operation=call.operation,
            status=failure.error.status,
            attempt=attempt,
            request_id=failure.request_id,
            outcome=ended,
        )

    def _wait_for_turn(self, call: _Call, patience: _Patience) -> None:
        """Wait for this program's own rate limit, then for whatever a 429 has imposed on all threads of this client."""
        if self._limiter and call.group:
            seconds = self._limiter.reserve(call.group, patience.left)
            self._wait(call, patience, seconds, why="our own rate limit")
        waited_for = float("-inf")
        while (until := self._hold_until) > max(waited_for, self._clock()):
            why = "answered 429 (too many requests)"
            self._wait(call, patience, until - self._clock(), why=why, status=_TOO_MANY_REQUESTS)
            waited_for = until

    def _wait(self, call: _Call, patience: _Patience, seconds: float, *, why: str, status: int | None = None) -> None:
        if seconds > patience.left:
            reason = f"{why}, which asks to wait longer than this call may take"
            raise Unavailable(self.service, call.operation, reason, status=status)
        if seconds > 0:
            patience.pause(seconds)

    def _hold(self, wait: float | None, times: int) -> None:
        seconds = self._throttle_seconds * 2 ** (times - 1) if wait is None else wait
        self._hold_for(max(seconds, _SHORTEST_HOLD) + _jitter())

    def _hold_for(self, seconds: float) -> None:
        until = self._clock() + seconds
        with self._lock:
            self._hold_until = max(self._hold_until, until)

    def _try_once(self, call: _Call, patience: _Patience) -> Reply | _Failure:
        if self._gate:
            self._gate()
        if time_left() <= 0:
            raise Unavailable(self.service, call.operation, "not asked for: no time was left")
        with self._lock:
            self._requests_sent += 1
        if self._on_request:
            self._on_request(call.method, call.operation)
        begun = self._clock()
        answer = self._exchange(call, patience)
        if not isinstance(answer, Answer):
            return answer
        seconds = self._clock() - begun
        if self._limiter and call.group:
            self._limiter.answered_in(call.group, seconds)
        if self._heeds_headers and answer.rest is not None:
            self._hold_for(answer.rest)
        if self._on_answer:
            self._on_answer(answer, seconds)
        judged = self._judge(call, answer)
        return judged if isinstance(judged, Reply) else replace(judged, request_id=answer.request_id)

    def _exchange(self, call: _Call, patience: _Patience) -> Answer | _Failure:
        (connect, read), left = self._timeouts, max(patience.left, _SHORTEST_TIMEOUT)
        try:
            with self._session.request(
                call.method,
                call.url,
                data=call.payload,
                headers={"Content-Type": self._media_type} if call.payload is not None else None,
                timeout=(min(connect, left), min(read, left)),
                allow_redirects=False,
                stream=True,
            ) as response:
                return read_answer(response, lambda: patience.left <= 0, self._largest_answer)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            never_left = cannot_be_sent(error)
            reason, may_have_arrived = transport_problem(error)
        if never_left:
            reason = "the URL or the key has a form that cannot be sent"
            return _Failure(Misconfigured(self.service, call.operation, reason))
        return self._passing(call, reason, may_have_acted=may_have_arrived)

    def _judge(self, call: _Call, answer: Answer) -> Reply | _Failure:
        status = answer.status
        if status // 100 == _SUCCESS:
            return self._judge_success(call, answer)
        reason = f"answered {status}"
        if status == _TOO_MANY_REQUESTS:
            error = Unavailable(self.service, call.operation, reason, status=status)
            return _Failure(error, may_repeat=True, objection="too many requests", wait=answer.wait)
        if status == _FORBIDDEN and answer.is_page and not self._edge_pages:
            return _Failure(Blocked(self.service, call.operation, _BLOCKED, status=status), objection="blocked")
        is_edge = self._edge_pages and answer.is_page and status in (_FORBIDDEN, _NOT_FOUND)
        if status == _REQUEST_TIMEOUT or is_edge:
            return self._passing(call, reason, status=status, wait=answer.wait, may_have_acted=False)
        if status >= _SERVER_ERROR:
            return self._passing(call, reason, status=status, wait=answer.wait)
        return _Failure(self._permanent(call, answer))

    def _judge_success(self, call: _Call, answer: Answer) -> Reply | _Failure:
        if answer.is_page:
            reason = f"answered {answer.status} with an HTML page"
            if self._edge_pages:
                return self._passing(call, reason, status=answer.status)
            reason += ": a sign-in page, or the URL is wrong"
            error = Misconfigured(self.service, call.operation, reason, status=answer.status)
            # One page among many answers is a hiccup of the network. Another try tells it from a sign-in page.
            return _Failure(error, may_repeat=call.method == "GET")
        if not call.expect_json:
            return Reply(answer.status, revision=answer.revision)
        problem, data = _content_of(answer, call.read)
        if problem is None:
            return Reply(answer.status, data, answer.has_next_page, answer.revision)
        reason = f"answered {answer.status} with {problem}"
        if not call.repeatable:
            return self._passing(call, reason, status=answer.status)
        malformed = Malformed(self.service, call.operation, reason, status=answer.status)
        return _Failure(malformed, may_repeat=not answer.is_too_large)

    def _passing(
        self,
        call: _Call,
        reason: str,
        *,
        status: int | None = None,
        wait: float | None = None,
        may_have_acted: bool = True,
    ) -> _Failure:
        unknown = may_have_acted and call.method != "GET"
        error = Unavailable(self.service, call.operation, reason, status=status, outcome_unknown=unknown)
        return _Failure(error, may_repeat=call.repeatable or not may_have_acted, wait=wait)

    def _permanent(self, call: _Call, answer: Answer) -> ServiceError:
        status = answer.status
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            reason = f"answered {status}: the key is wrong or lacks rights"
            return Misconfigured(self.service, call.operation, reason, status=status)
        if status < _CLIENT_ERROR:
            reason = f"answered {status}, a redirect: a sign-in page, or the URL is wrong"
            return Misconfigured(self.service, call.operation, reason, status=status)
        codes, pointers = objections(answer.body)
        quoted = (*codes, *pointers)[:_QUOTED_OBJECTIONS]
        reason = f"answered {status}" + (f" ({', '.join(quoted)})" if quoted else "")
        kind = {_NOT_FOUND: NotFound, _GONE: NotFound, _TOO_LARGE: TooLarge}.get(status, Refused)
        return kind(self.service, call.operation, reason, status=status, pointers=pointers, codes=codes)


_SUCCESS = 2
_CLIENT_ERROR = 400
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_REQUEST_TIMEOUT = 408
_GONE = 410
_TOO_LARGE = 413
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500

_BLOCKED = (
    "answered 403 with a web page instead of an error of its own: the network in front of it blocks this program, "
    "perhaps because it asked too often. The key is not the reason. Polls go on more slowly; when it lasts, ask the "
    "service's support to let this machine's address in"
)
_SHORTEST_TIMEOUT = 0.1  # seconds
_SHORTEST_HOLD = 0.5  # seconds, so that a service that says "wait 0" is not called without end
_FIRST_PAUSE = 1.0  # seconds
_QUOTED_OBJECTIONS = 4  # in an error text: a batch can be refused at a thousand places


def _content_of(answer: Answer, read: Callable[[bytes], tuple[str | None, Any]]) -> tuple[str | None, Any]:
    """Return what is wrong with the body of a success (``None``: nothing), and its content."""
    if answer.is_too_large:
        return "a body that is larger than any answer should be", None
    return ("a body that was cut short", None) if answer.is_cut_short else read(answer.body)


class _NoOtherAuth(requests.auth.AuthBase):
    """Keep ``.netrc`` and user names in URLs from replacing the ``Authorization`` header of the client."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _session(base_url: str, headers: Mapping[str, str], pool_size: int) -> requests.Session:
    session = requests.Session()
    session.auth = _NoOtherAuth()
    # A proxy for the internet must not get the calls to the sandbox.
    session.trust_env = not base_url.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.headers.update(headers)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=pool_size, pool_block=True))
    return session


def _drop(_record: logging.LogRecord) -> bool:
    return False


# The lines of urllib3 quote URLs, and with them keys and addresses. A filter outlives a later logging configuration.
# A level or ``disabled`` does not.
for _name in ("connectionpool", "connection", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_drop)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    method: str
    operation: str
    url: str
    payload: bytes | None
    repeatable: bool
    expect_json: bool
    group: str | None
    read: Callable[[bytes], tuple[str | None, Any]]


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ServiceError
    _: KW_ONLY
    may_repeat: bool = False
    objection: Objection | None = None
    wait: float | None = None
    request_id: str | None = None

    @property
    def is_throttled(self) -> bool:
        return self.objection == "too many requests"


class _Patience:
    """The seconds left until a call's deadline, by the clock and by the waits already taken."""

    def __init__(self, seconds: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._ends = clock() + seconds
        self._budget = seconds

    @property
    def left(self) -> float:
        return min(self._ends - self._clock(), self._budget)

    def pause(self, seconds: float) -> None:
        self._budget -= seconds
        self._sleep(seconds)


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries, protects nothing


def _backoff(failures: int) -> float:
    return float(_FIRST_PAUSE * 2 ** (failures - 1) * (0.5 + _jitter()))
