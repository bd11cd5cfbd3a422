"""Two alarm channels on this machine, of which one breaks; and what must be so about the messages they took."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BODY_LIMIT = 1_000_000


class AlarmChannel:
    """Takes the messages of the pipeline while it ``works``, and refuses them otherwise."""

    def __init__(self) -> None:
        self.works = True
        self.messages: list[tuple[str, str]] = []
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                note = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), _BODY_LIMIT)))
                if channel.works:
                    channel.messages.append((note["title"], note["message"]))
                self.send_response(200 if channel.works else 503)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> AlarmChannel:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def has(self, words: str) -> bool:
        """Say whether a message with these words arrived."""
        return any(words in title or words in body for title, body in self.messages)


def broken_promises(steady: AlarmChannel, broken: AlarmChannel, lasting: str, *, was_reported: bool) -> Iterator[str]:
    """Yield what went wrong while ``broken`` took nothing. ``lasting``: words of an alarm of that time."""
    repeated = sum(number - 1 for number in Counter(steady.messages).values())
    if repeated:
        yield f"{repeated} messages were sent again to the channel that had taken them"
    if not steady.has(lasting):
        yield "the channel that works got no alarm while the other one was broken"
    if not broken.has(lasting):
        yield "the broken channel never got the alarm that it missed"
    if not (was_reported and steady.has("has taken no message since")):
        yield "nobody reported that a channel takes no message"
