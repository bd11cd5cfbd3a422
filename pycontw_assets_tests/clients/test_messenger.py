"""Messages leave over a real socket; addresses of channels are secrets, and a channel that is down fails nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pycontw_assets.alerts.messenger import Messenger


class Channel:
    def __init__(self) -> None:
        self.status, self.received = 200, list[dict[str, str]]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/secret-token"


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    thread = threading.Thread(target=channel.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield channel
    channel.server.shutdown()
    thread.join()
    channel.server.server_close()


def test_a_message_reaches_every_address(channel: Channel) -> None:
    assert Messenger(f"{channel.url}, {channel.url}2").send("gather fails", "2 events wait")
    assert [(note["title"], note["message"]) for note in channel.received] == [("gather fails", "2 events wait")] * 2


def test_a_channel_that_refuses_is_reported_and_its_address_stays_secret(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    channel.status = 500
    assert not Messenger(channel.url).send("gather fails", "2 events wait")
    channel.server.server_close()
    assert not Messenger("json://127.0.0.1:9/secret-token").send("gather fails", "2 events wait")
    assert "secret-token" not in caplog.text


def test_without_addresses_nothing_is_sent_and_nothing_waits() -> None:
    assert Messenger(None).send("gather fails", "2 events wait")


def test_addresses_that_mean_nothing_are_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="ALERT_URLS") as caught:
        Messenger("smoke-signal://secret-token").check()
    assert "secret-token" not in str(caught.value)
    Messenger("discord://4174216298/secret-token").check()
