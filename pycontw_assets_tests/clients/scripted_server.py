"""A small HTTP server over real sockets with scripted answers, which remembers the requests.

It can also misbehave as networks do: late, cut short, reset. The sandbox, not this server, behaves like the three
services.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Received:
    """One request as it was received. ``target`` is the raw path with its query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def raw_query(self) -> str:
        return urlsplit(self.target).query

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.raw_query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """``body``: bytes go as they are, anything else as JSON. ``cut_after``: close after so many bytes of it.

    ``reset``: end with a TCP reset instead of a close; alone, before any answer. ``delay``: seconds before it.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    cut_after: int | None = None
    reset: bool = False
    delay: float = 0

    @property
    def payload(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


HTML = Answer(200, b"<!DOCTYPE html><html><body>Sign in</body></html>", {"Content-Type": "text/html"})
RESET = Answer(reset=True)


class ScriptedServer:
    """Answers in the order of ``will_answer``, then as ``behave`` says, and with a bare 200 ``{}`` otherwise."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.most_at_once = 0
        self._at_once = 0
        self._script: deque[Answer] = deque()
        self._behaviour: Callable[[Received], Answer] = lambda request: Answer(body={})
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.scripted = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def connections(self) -> int:
        return len({request.connection for request in self.received})

    def will_answer(self, *answers: Answer | dict[str, Any] | list[Any]) -> None:
        """Set the next answers. A plain object or list means a 200 with it."""
        self._script.extend(one if isinstance(one, Answer) else Answer(body=one) for one in answers)

    def behave(self, behaviour: Callable[[Received], Answer]) -> None:
        """Set the answer for the time after the script."""
        self._behaviour = behaviour

    def answer_to(self, request: Received) -> Answer:
        with self._lock:
            self.received.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            scripted = self._script.popleft() if self._script else None
        return scripted or self._behaviour(request)

    def answered(self) -> None:
        with self._lock:
            self._at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    scripted: ScriptedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 10

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.command, self.path, headers, body, self.client_address[1])
        answer = self.server.scripted.answer_to(request)
        try:
            time.sleep(answer.delay)
        finally:
            self.server.scripted.answered()
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        if answer.reset and answer.cut_after is None:
            self._reset()
            return
        self.send_response_only(answer.status)
        headers = {"Content-Type": "application/json", **answer.headers}
        framing = ("Transfer-Encoding", "chunked") if answer.chunked else ("Content-Length", str(len(answer.payload)))
        for name, value in (*headers.items(), framing):
            self.send_header(name, value)
        self.end_headers()
        sent = answer.payload if answer.cut_after is None else answer.payload[: answer.cut_after]
        self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent) if answer.chunked and sent else sent)
        if answer.cut_after is None:
            self.wfile.write(b"0\r\n\r\n" if answer.chunked else b"")
            return
        self.close_connection = True
        if answer.reset:
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Print nothing."""
