"""The three services on one port, each under its own prefix. Changes turn it into a service that differs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pycontw_assets_tests.contract_server import sale
from pycontw_assets_tests.contract_server.exchange import Answer, Question, Refused
from pycontw_assets_tests.contract_server.mailing import Mailing
from pycontw_assets_tests.contract_server.ticketing import answer_gather, answer_kktix

Change = Callable[[str, Answer], Answer]
"""From the path, with the service's prefix, and the right answer to the answer that is sent."""


class ContractServer:
    """Use as a context manager. ``change`` may be set at any time. ``asked``: method, path and status of each call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.change: Change = lambda path, answer: answer
        self.asked: list[tuple[str, str, int]] = []
        self._clock = clock
        self._services = {"kktix": answer_kktix, "gather": answer_gather, "klaviyo": Mailing().answer}

    def __enter__(self) -> ContractServer:
        handler = type("Handler", (_Handler,), {"of": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def settings(self) -> dict[str, str]:
        """Return the variables that lead the program here."""
        return {
            "KKTIX_API_URL": f"{self.url}/kktix",
            "KKTIX_API_TOKEN": sale.KKTIX_TOKEN,
            "GATHER_API_URL": f"{self.url}/gather",
            "GATHER_API_KEY": sale.GATHER_KEY,
            "GATHER_SPACE_ID": ":500,".join(sale.GATHER_SPACES),
            "KLAVIYO_API_URL": f"{self.url}/klaviyo",
            "KLAVIYO_API_KEY": sale.KLAVIYO_KEY,
        }

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(target)
        _, service, *rest = parts.path.split("/", 2)
        question = Question(
            method=method,
            path=f"/{rest[0]}" if rest and rest[0] else "",
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=headers,
            body=json.loads(body) if body else None,
            base=f"{self.url}/{service}",
            at=self._clock(),
        )
        try:
            answer = self._services[service](question)
        except Refused as refusal:
            answer = Answer(refusal.status, {"error": refusal.code})
        answer = self.change(parts.path, answer)
        self.asked.append((method, parts.path, answer.status))
        return answer


class _Handler(BaseHTTPRequestHandler):
    of: ContractServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet; in two, the second would wait for an acknowledgement

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        answer = self.of.answer(self.command, self.path, headers, body)
        content = answer.data if isinstance(answer.data, bytes) else json.dumps(answer.data).encode()
        self.send_response(answer.status)
        named = {"Content-Type": answer.media_type, "Content-Length": str(len(content)), **answer.headers}
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""
