"""Messages leave over a real socket. Each channel has a limit, a deadline, an outcome and a secret address."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from apprise.plugins.custom_json import NotifyJSON
from apprise.plugins.discord import NotifyDiscord

from pycontw_assets.alerts.messenger import Messenger, Picture, Text, fit

ALARM = Text("gather fails", "2 events wait")
DISCORD_LIMIT = 2000
# Twelve buyers whom no mail reaches, for twelve reasons.
LONG = Text(
    "a buyer cannot be reached",
    "\n".join(
        f"- 2031-individual-90001: attendee {700101 + n} cannot be mailed, reason {n}: " + "x" * 90 for n in range(30)
    ),
)


class Service:
    """A chat service on this machine. ``rules`` answer a text: a status, or a status with headers."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.refused: list[str] = []
        self.files: list[bytes] = []
        self.takes_files = True
        self.status: int | tuple[int, dict[str, str]] = 204
        self.limit = 10**9
        self.forbidden = "\0"
        self.holds = threading.Event()
        self.holds.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.url = f"json://{self.address}/secret-token"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers["Content-Length"]))
        if handler.headers["Content-Type"].startswith("multipart/"):
            self.files.append(content)
            handler.send_response(200 if self.takes_files else 413)
            handler.end_headers()
            return
        note: dict[str, Any] = json.loads(content)
        text = note.get("content") or f"{note.get('title', '')}\r\n{note.get('message', '')}"
        self.holds.wait(30)
        status, headers = self.status if isinstance(self.status, tuple) else (self.status, {})
        if status < 300 and (len(text) > self.limit or self.forbidden in text):
            status = 400
        (self.received if status < 300 else self.refused).append(text)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()


@contextmanager
def running(service: Service) -> Iterator[Service]:
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        service.holds.set()
        service.server.shutdown()
        thread.join()
        service.server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    with running(Service()) as service:
        yield service


@pytest.fixture
def discord(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Let the library's Discord client post to a service that takes 2,000 characters, as Discord does."""
    monkeypatch.setattr(NotifyDiscord, "notify_url", f"http://{service.address}/api/webhooks")
    service.limit, service.url = DISCORD_LIMIT, "discord://123456789012345678/secret-token"
    return service


def send(messenger: Messenger, text: Text = ALARM) -> list[int]:
    """Send a text to every channel, and return the numbers of those who took it."""
    return sorted(channel.number for channel in messenger.send(dict.fromkeys(messenger.channels, text)))


# -- limits -------------------------------------------------------------------------------------------


def test_an_alarm_over_the_limit_arrives_cut_in_one_message(discord: Service) -> None:
    assert len(LONG.body) > DISCORD_LIMIT
    assert send(Messenger(discord.url), LONG) == [1]
    [text] = discord.received
    assert text.startswith("a buyer cannot be reached\r\n- 2031-individual-90001: attendee 700101 cannot")
    left = LONG.body.count("\n") + 1 - text.count("attendee")
    assert text.endswith(f"… and {left} more lines: 'pycontw-assets status'")
    assert discord.refused == []


def test_a_report_over_the_limit_arrives_whole_in_parts(discord: Service) -> None:
    assert send(Messenger(discord.url), Text(LONG.title, LONG.body, parts=5)) == [1]
    assert len(discord.received) > 1
    assert all(len(text) <= DISCORD_LIMIT for text in discord.received)
    assert "".join(discord.received).count("attendee") == 30
    assert discord.refused == []


@pytest.mark.parametrize("limit", [67, 160, 280, 2000, 32768])
@pytest.mark.parametrize(
    "body", [LONG.body, "個人票 一般 " * 900, "one line", "\n".join("票" * 60 for _ in range(99)), ""]
)
@pytest.mark.parametrize("title", ["gather fails", "票" * 400])
def test_a_text_fits_every_limit(title: str, body: str, limit: int) -> None:
    fitting = fit(Text(title, body), limit)
    assert len(f"{fitting.title}\r\n{fitting.body}".encode()) <= limit
    assert fitting.title[:10] == title[:10]
    assert bool(fitting.body) == bool(body)


# -- channels that refuse, hang or want to be left alone --------------------------------------------------


def test_a_text_that_is_refused_is_replaced_by_one_that_says_where_to_look(service: Service) -> None:
    service.forbidden = "unspeakable"
    messenger = Messenger(service.url)
    assert send(messenger, Text("3 problems", "one\nunspeakable\nthree")) == [1]
    assert len(service.refused) == 1
    assert service.received == [
        "3 problems\r\nThis channel refused the whole text. 'pycontw-assets status' shows every open problem."
    ]
    assert send(messenger) == [1], "later alarms arrive"
    assert service.received[1:] == ["gather fails\r\n2 events wait"]


def test_a_channel_that_asks_for_a_long_pause_holds_nobody_up(discord: Service) -> None:
    reset = str(int(time.time()) + 3600)
    discord.status = (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})
    began = time.monotonic()
    assert send(Messenger(discord.url)) == []
    assert time.monotonic() - began < 5
    assert len(discord.refused) == 1, "it is not asked again at once"


def test_a_channel_that_never_answers_ends_with_the_deadline(service: Service) -> None:
    with running(Service()) as good:
        service.holds.clear()
        messenger = Messenger(f"{service.url}?rto=60 {good.url}", deadline=0.7)
        began = time.monotonic()
        assert send(messenger) == [2]
        assert send(messenger) == [2], "while the first call hangs, no second one begins"
        assert time.monotonic() - began < 5
        service.holds.set()
        messenger._sending[messenger.channels[0].digest].join(10)
        assert len(service.received) == 1


def test_a_channel_that_is_down_does_not_keep_the_others_from_the_message(service: Service) -> None:
    with running(Service()) as broken:
        broken.status = 500
        messenger = Messenger(f"{broken.url} json://127.0.0.1:9/secret-token {service.url}")
        assert send(messenger) == [3]
        assert service.received == ["gather fails\r\n2 events wait"]


# -- addresses ------------------------------------------------------------------------------------------


def test_a_message_reaches_every_address(service: Service) -> None:
    assert send(Messenger(f"{service.url}, {service.url}2,{service.url}3\n{service.url}4")) == [1, 2, 3, 4]
    assert service.received == ["gather fails\r\n2 events wait"] * 4


def test_without_addresses_there_is_no_channel() -> None:
    for urls in (None, "", "  , "):
        messenger = Messenger(urls)
        messenger.check()
        assert (messenger.channels, send(messenger)) == ((), [])


@pytest.mark.parametrize(
    ("misspelt", "scheme"),
    [
        ("dicsord://4174216298/secret-token", "dicsord"),
        ("discord:/4174216298/secret-token", "no scheme"),
        ("discord.com/api/webhooks/4174216298/secret-token", "no scheme"),
        ("discord://secret-token", "discord"),
        ("smoke-signal://secret-token", "smoke-signal"),
    ],
)
def test_a_misspelt_address_is_a_channel_of_its_own(misspelt: str, scheme: str, service: Service) -> None:
    messenger = Messenger(f"{service.url} {misspelt}")
    messenger.check()
    good, bad = messenger.channels
    assert (good.is_understood, bad.is_understood) == (True, False)
    assert bad.name == f"alarm channel 2 ({scheme})"
    assert "secret-token" not in bad.name + repr(messenger.channels) + bad.digest
    assert send(messenger) == [1]


def test_addresses_of_which_none_is_understood_are_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="ALERT_URLS") as caught:
        Messenger("smoke-signal://secret-token").check()
    assert "secret-token" not in str(caught.value)
    Messenger("discord://4174216298/secret-token").check()


def test_one_address_for_several_receivers_is_seen() -> None:
    [mail] = Messenger("mailto://hello:word@mail.example.org?to=a@example.org,b@example.org").channels
    [single] = Messenger("discord://4174216298/secret-token").channels
    assert (mail.targets, single.targets) == (2, 1)


def test_the_log_shows_no_address(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.status = 500
    assert send(Messenger(f"{service.url} json://127.0.0.1:9/secret-token dicsord://secret-token")) == []
    assert "secret-token" not in caplog.text


# -- pictures and the link ----------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
REPORT = Text(
    "sales of 2031",
    "12 sold",
    link="https://dashboard.example.org/sales",
    pictures=(Picture("sales.png", "tickets sold", PNG), Picture("funnel.png", "the funnel", PNG[::-1])),
)


def test_pictures_follow_the_text_as_files_and_none_is_left_on_the_disk(
    discord: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    messenger = Messenger(discord.url)
    assert send(messenger, REPORT) == [1]
    end(messenger)
    assert "12 sold" in discord.received[0]
    assert PNG in b"".join(discord.files)
    assert PNG[::-1] in b"".join(discord.files)
    assert list(folder.iterdir()) == []


def test_a_channel_that_refuses_the_pictures_has_the_text_once(discord: Service) -> None:
    discord.takes_files = False
    messenger = Messenger(discord.url)
    assert send(messenger, REPORT) == [1]
    end(messenger)
    assert [text for text in discord.received if "12 sold" in text] == discord.received[:1]
    assert discord.refused == []


def test_a_channel_without_files_gets_the_text_alone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotifyJSON, "attachment_support", False)
    messenger = Messenger(service.url)
    assert send(messenger, REPORT) == [1]
    end(messenger)
    assert len(service.received) == 1


def test_the_operators_link_can_be_followed_and_is_never_cut_off(discord: Service) -> None:
    assert send(Messenger(discord.url), Text(LONG.title, f"see https://elsewhere.example.org\n{LONG.body}",
                                             link=REPORT.link)) == [1]  # fmt: skip
    [text] = discord.received
    assert len(text.encode()) <= DISCORD_LIMIT
    assert text.endswith(f"\n{REPORT.link}")
    assert "https://elsewhere" not in text


def end(messenger: Messenger) -> None:
    """Wait for the pictures: they follow the text, and nobody else waits for them."""
    for thread in messenger._sending.values():
        thread.join(10)
