"""The endpoint that takes KKTIX's deliveries: it checks the secret, writes hints to the ledger and replies at once.

TLS is a proxy's business. Nothing of a request is logged or kept but digests of event names. KKTIX repeats a delivery
that failed and switches a failing hook off, so only a wrong secret, or a ledger that is away, is answered by an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from pycontw_assets.extract.hook.delivery import UNKNOWN, Delivery, read_delivery
from pycontw_assets.ledger.hints.deliveries import record_delivery
from pycontw_assets.ledger.ledger import Ledger

PATH = "/kktix"
_HEADER = "x-kktix-secret"
_LARGEST_BODY = 1_000_000  # bytes; a batch of a thousand orders has less
_LONGEST_CONNECTION_SECONDS = 15  # whatever a client does: also one that sends a byte a second
_BODY_SECONDS = 8
_LEDGER_SECONDS = 5
_MOST_CONNECTIONS = 50
_LARGEST_HEAD = 16_384  # bytes


def build_endpoint(ledger: Ledger, secrets: Sequence[str]) -> Starlette:
    """Build the application. ``secrets``: each of them is accepted, so that a new one can be set before it is used."""

    async def take(request: Request) -> Response:
        if not is_secret(request.headers.get(_HEADER, ""), secrets):
            return PlainTextResponse("wrong secret\n", 401)
        delivery = await _read(request)
        if delivery is None:
            return PlainTextResponse("too slow\n", 408)
        try:
            # A thread of its own: where the ledger keeps it waiting, it goes on when the answer has been sent.
            loop, write = asyncio.get_running_loop(), partial(record_delivery, ledger)
            await asyncio.wait_for(loop.run_in_executor(None, write, delivery.hints, delivery.kinds), _LEDGER_SECONDS)
        except Exception:  # noqa: BLE001  # the boundary: its text could quote the address of the ledger
            return PlainTextResponse("try again\n", 503)
        return PlainTextResponse("ok\n")

    async def is_there(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route(PATH, take, methods=["POST"]), Route("/health", is_there, methods=["GET"])])


def is_secret(given: str, secrets: Sequence[str]) -> bool:
    """Compare with every secret, and each time as long as with the right one: the time an answer takes says nothing."""
    return bool(sum(hmac.compare_digest(_digest(given), _digest(secret)) for secret in secrets))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def _read(request: Request) -> Delivery | None:
    """Read the body. ``None``: it did not come in time. One that is too large is a delivery of an unknown shape."""
    body = bytearray()

    async def collect() -> None:
        async for chunk in request.stream():
            body.extend(chunk[: _LARGEST_BODY + 1 - len(body)])

    try:
        await asyncio.wait_for(collect(), _BODY_SECONDS)
    except (asyncio.TimeoutError, ClientDisconnect):
        return None
    return UNKNOWN if len(body) > _LARGEST_BODY else read_delivery(bytes(body))


class ImpatientProtocol(H11Protocol):
    """HTTP over connections that end after some seconds, also those of clients that send slowly or nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(_LONGEST_CONNECTION_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


def server(app: Starlette) -> uvicorn.Server:
    """Return the server of an application. It prints and logs nothing."""
    options: dict[str, Any] = {
        "http": ImpatientProtocol,
        "ws": "none",
        "loop": "asyncio",
        "lifespan": "off",
        "log_config": None,
        "log_level": "critical",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "limit_concurrency": _MOST_CONNECTIONS,
        "h11_max_incomplete_event_size": _LARGEST_HEAD,
        "timeout_keep_alive": 2,
        "timeout_graceful_shutdown": 5,
    }
    return uvicorn.Server(uvicorn.Config(app, **options))


def listen(host: str, port: int) -> socket.socket:
    """Open the port. Raise ``OSError`` when that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener
