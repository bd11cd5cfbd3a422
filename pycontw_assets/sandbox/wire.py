"""Calls and replies on the socket, including faults that only a socket can show: resets, lost and cut replies.

This module knows nothing of tickets, guests or mail. A service is anything with ``answer(call) -> reply``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pycontw_assets.sandbox.call_log import CallLog, CallRecord
from pycontw_assets.sandbox.context import SimulationContext
from pycontw_assets.sandbox.faults import Fault, FaultBoard

_log = logging.getLogger(__name__)
HTML_PAGE = "<!doctype html><html><head><title>One moment</title></head><body>Please sign in.</body></html>"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as a service sees it. ``path`` is relative to where the service is mounted (``base_url``)."""

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    base_url: str


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(payload: Any, status: int = 200, content_type: str = "application/json") -> Reply:
    # Half a character cannot be encoded; JSON can spell it, in the way of this error handler.
    return Reply(status, json.dumps(payload, ensure_ascii=False).encode(errors="backslashreplace"), content_type)


def text_reply(text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Reply:
    return Reply(status, text.encode(), content_type)


class Service(Protocol):
    def answer(self, call: Call) -> Reply: ...


class Router:
    """Find the handler for a method and a path template such as ``/api/lists/{id}``."""

    def __init__(self, routes: Mapping[tuple[str, str], str]) -> None:
        self._routes = [
            (method, template, re.compile(re.sub(r"{\w+}", "([^/]+)", template) + "/?"), handler)
            for (method, template), handler in routes.items()
        ]

    def find(self, call: Call) -> tuple[str, str, tuple[str, ...]] | int:
        """Return template, handler name and path parameters; 404 or 405 when no route matches."""
        status = 404
        for method, template, pattern, handler in self._routes:
            if (match := pattern.fullmatch(call.path)) is None:
                continue
            if method == call.method:
                return template, handler, match.groups()
            status = 405
        return status


class AbortableProtocol(H11Protocol):
    """HTTP that hands its transport to the application and drops unfinished answers when the server stops."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}

    def shutdown(self) -> None:
        super().shutdown()
        if not self.transport.is_closing():
            self.transport.abort()


class ServiceApp:
    """One service as an ASGI application: reads the call, applies its faults, keeps the log."""

    def __init__(
        self, name: str, service: Service, *, context: SimulationContext, faults: FaultBoard, calls: CallLog
    ) -> None:
        self._name = name
        self._service = service
        self._context = context
        self._faults = faults
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = await _read_call(scope, receive)
        record = self._calls.open(at=self._context.now(), service=self._name, method=call.method, path=call.path)
        faults = self._faults.take(self._name, call.method, call.path)
        breaking = next((fault for fault in faults if fault.breaks_the_call), None)
        await _apply_harmless(faults, before=True)
        reply = Reply()
        if breaking is None or breaking.acts:
            record.acted = True
            reply = self._act(call)
        await _apply_harmless(faults, before=False)
        if breaking is None:
            record.status = reply.status
            await _send_reply(send, reply)
        else:
            record.fault = breaking.kind
            breakage = _Breakage(
                transport=scope["state"]["transport"], receive=receive, send=send, record=record, reply=reply
            )
            await breakage.carry_out(breaking, self._name, call)

    def _act(self, call: Call) -> Reply:
        try:
            with self._context.lock:
                return self._service.answer(call)
        except Exception:  # noqa: BLE001 - a bug of the sandbox must look like a 500 to the caller
            _log.exception("the simulated %s failed on %s %s", self._name, call.method, call.path)
            return text_reply("the sandbox itself failed; see its log", 500)


async def _apply_harmless(faults: list[Fault], *, before: bool) -> None:
    """Apply the latencies, which come before the act, and the hooks, which come after it with ``acts``."""
    for fault in faults:
        if fault.kind == "latency" and before:
            await asyncio.sleep(fault.seconds)
        if fault.kind == "hook" and fault.acts != before and fault.action is not None:
            await asyncio.to_thread(fault.action)  # a hook may block


async def _read_call(scope: Scope, receive: Receive) -> Call:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    root = scope.get("root_path", "")
    return Call(
        method=scope["method"],
        path=scope["path"].removeprefix(root),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=body,
        base_url=f"http://{headers.get('host', 'localhost')}{root}",
    )


async def _send_reply(send: Send, reply: Reply) -> None:
    headers = dict(reply.headers)
    if reply.content_type:
        headers["content-type"] = reply.content_type
    if reply.status != HTTPStatus.NO_CONTENT:
        headers["content-length"] = str(len(reply.body))
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.body})


@dataclass(frozen=True, kw_only=True)
class _Breakage:
    """One call that a breaking fault strikes."""

    transport: asyncio.Transport
    receive: Receive
    send: Send
    record: CallRecord
    reply: Reply

    async def carry_out(self, fault: Fault, service: str, call: Call) -> None:
        if fault.kind == "reset":
            await self._reset()
        elif fault.kind == "timeout":
            await self._hang(fault.seconds)
        elif fault.kind == "truncate":
            await self._truncate()
        else:
            reply = _WHOLE_REPLIES[fault.kind](fault, service, _quoted_call(call) if fault.echoes else "")
            self.record.status = reply.status
            await _send_reply(self.send, reply)

    async def _reset(self) -> None:
        """Send a true RST instead of closing politely: the linger time is zero."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
        await self._until_disconnected()

    async def _hang(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._until_disconnected(), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            await self._reset()

    async def _truncate(self) -> None:
        """Announce the whole body, send half of it, and close."""
        body = self.reply.body or b'{"data": []}'
        head = (
            f"HTTP/1.1 {self.reply.status} OK\r\ncontent-type: {self.reply.content_type}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode("latin-1") + body[: len(body) // 2])
        self.transport.close()
        await self._until_disconnected()

    async def _until_disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


def _quoted_call(call: Call) -> str:
    return f" {call.method} {call.path}?{call.query} {dict(call.headers)} {call.body.decode(errors='replace')}"


def _status_reply(fault: Fault, service: str, quoted: str) -> Reply:
    reply = text_reply("simulated fault" + quoted, fault.status)
    if service == "klaviyo" and fault.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        code = "throttled" if fault.status == HTTPStatus.TOO_MANY_REQUESTS else "simulated"
        error: dict[str, Any] = {"id": "simulated", "status": fault.status, "code": code}
        error |= {"title": "Simulated.", "detail": "Simulated." + quoted}
        if quoted:
            error |= {"code": quoted, "source": {"pointer": quoted, "parameter": quoted}, "meta": {"sent": quoted}}
        reply = json_reply({"errors": [error]}, fault.status, "application/vnd.api+json")
    if fault.retry_after is not None:
        reply.headers["retry-after"] = str(fault.retry_after)
    return reply


def _redirect_reply(fault: Fault, service: str, quoted: str) -> Reply:
    reply = text_reply(HTML_PAGE + quoted, 302, "text/html; charset=utf-8")
    reply.headers["location"] = "/sign_in" + (f"?from={quote(quoted)}" if quoted else "")
    return reply


def _shape_reply(fault: Fault, service: str, quoted: str) -> Reply:
    return json_reply({"unexpected": quoted, quoted: [quoted]} if quoted else fault.body)


_WHOLE_REPLIES: dict[str, Callable[[Fault, str, str], Reply]] = {
    "status": _status_reply,
    "html": lambda fault, service, quoted: text_reply(HTML_PAGE + quoted, 200, "text/html; charset=utf-8"),
    "redirect": _redirect_reply,
    "shape": _shape_reply,
}
