"""Send messages to where organisers read: Discord, Slack, mail and whatever else Apprise knows.

Every channel is on its own: each gets a text that fits it, has a deadline, and says for itself whether it took the
message. The address of a channel is a secret, so a channel is named by its number in ``ALERT_URLS`` and its scheme.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pycontw_assets.api.outlets import for_chat

if TYPE_CHECKING:
    import apprise

_DEADLINE_SECONDS = 20.0
_LONGEST_WAIT_SECONDS = 5.0  # that a service may ask for; longer, the next poll tries again
_LONGEST_TITLE = 200
_SPARE = 16  # what a channel may put between title and body
_ELSEWHERE = "This channel refused the whole text. `pycontw-assets status` shows every open problem."


class _AskedToWait(Exception):
    """The service asked for a longer pause than a poll has."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with words that say what it shows. Both are ours."""

    name: str
    caption: str
    png: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """One message. ``parts``: as how many messages a channel with little room may get it; the rest is cut off.

    ``link``: an address of the operator's own, the one thing of a message that links somewhere; it is never cut off.
    ``pictures``: they follow the text where the channel takes files. Whether it did is nobody's problem.
    """

    title: str
    body: str
    parts: int = 1
    link: str = ""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """One address of ``ALERT_URLS``. ``digest`` identifies it, also in the ledger; ``url`` is a secret."""

    number: int
    scheme: str
    digest: str
    url: str = field(repr=False)

    @property
    def name(self) -> str:
        return f"alarm channel {self.number} ({self.scheme})"

    @property
    def is_understood(self) -> bool:
        return _service_of(self.url) is not None

    @property
    def targets(self) -> int:
        """Count the receivers behind the address. Whether all of them took a message is one answer."""
        service = _service_of(self.url)
        return len(service) if service else 0


class Messenger:
    """``urls`` are Apprise URLs, separated by blanks, or by commas in front of another scheme; none: no channels.

    ``gate`` is called before messages leave, and raises when this process may call nobody any more.
    """

    def __init__(
        self, urls: str | None, *, deadline: float = _DEADLINE_SECONDS, gate: Callable[[], None] = lambda: None
    ) -> None:
        self.channels = tuple(_channels(urls or ""))
        self._deadline = deadline
        self._gate = gate
        self._sending: dict[str, threading.Thread] = {}

    def check(self) -> None:
        """Raise ``ValueError`` when no address can be understood, so that nobody would be alerted."""
        if self.channels and not any(channel.is_understood for channel in self.channels):
            raise ValueError("ALERT_URLS: no Apprise URL in it; a Discord one is discord://<webhook id>/<token>")

    def send(self, texts: Mapping[Channel, Text]) -> set[Channel]:
        """Return the channels that took their text. Whatever they answer, it ends with the deadline.

        Raise ``Stopped`` before anything leaves after a signal: then no channel failed.
        """
        self._gate()
        took: set[Channel] = set()
        until = time.monotonic() + self._deadline
        for channel, text in texts.items():
            earlier = self._sending.get(channel.digest)
            if earlier is None or not earlier.is_alive():
                # A service may answer so slowly that no time-out ends the call; the thread dies with the process.
                thread = threading.Thread(target=_deliver, args=(channel, text, until, took), daemon=True)
                self._sending[channel.digest] = thread
                thread.start()
        for channel in texts:
            self._sending[channel.digest].join(max(0.0, until - time.monotonic()))
        return set(took)


def _channels(urls: str) -> list[Channel]:
    # Not the splitting of the library: it takes whatever follows an address for a part of it, if it is no address.
    pieces = [piece.strip(",;") for piece in re.split(r"\s+|[,;]+(?=[A-Za-z0-9]+://)", urls)]
    channels: dict[str, Channel] = {}
    for number, url in enumerate(filter(None, pieces), start=1):
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,19}(?=://)", url)
        digest = hashlib.sha256(url.encode()).hexdigest()
        channels.setdefault(digest, Channel(number, scheme[0].lower() if scheme else "no scheme", digest, url))
    return list(channels.values())


def _service_of(url: str) -> apprise.NotifyBase | None:
    import apprise

    # Its log lines show the addresses, which are secrets.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return apprise.Apprise.instantiate(url)


def _deliver(channel: Channel, text: Text, until: float, took: set[Channel]) -> None:
    """Send the text, or else where the whole of it can be read: what a channel refuses must not silence later texts."""
    try:
        service = _service_of(channel.url)
        if service is None:
            return
        was_asked_to_wait = _never_wait_long(service)
        is_taken = _post(service, text)
        if not is_taken and not was_asked_to_wait and time.monotonic() < until:
            is_taken = _post(service, Text(text.title, _ELSEWHERE))
    except Exception:  # noqa: BLE001  # the boundary: whatever it is, the channel did not take it
        return
    if is_taken and time.monotonic() < until:
        took.add(channel)
        with suppress(Exception):  # the text has arrived, so nothing is sent again because of a picture
            _post_pictures(service, text.pictures, until)


def _post(service: apprise.NotifyBase, text: Text) -> bool:
    import apprise

    body = "\n".join(map(for_chat, text.body.split("\n")))
    limit = int(service.body_maxlen)
    link = f"\n{text.link}" if text.link and len(text.link.encode()) < limit // 4 else ""
    fitting = fit(Text(for_chat(text.title), body, text.parts), limit - len(link.encode()))
    # Parts, and characters that a channel counts as several, exceed its limit. By default that is sent as it is.
    if service.overflow_mode == apprise.OverflowMode.UPSTREAM:
        service.overflow_mode = apprise.OverflowMode.SPLIT
    carrier = apprise.Apprise()
    carrier.add(service)
    return bool(carrier.notify(title=fitting.title, body=fitting.body + link))


def _post_pictures(service: apprise.NotifyBase, pictures: Sequence[Picture], until: float) -> None:
    """Send the pictures after the text, from memory: no file is made. A channel that takes none gets none."""
    import apprise
    from apprise.attachment.memory import AttachMemory

    # Slack takes files from an app only, and would post the caption alone for an incoming webhook.
    if not service.attachment_support or getattr(service, "mode", None) == "webhook":
        return
    if not pictures or time.monotonic() >= until:
        return
    as_file: Callable[..., Any] = AttachMemory
    files = apprise.AppriseAttachment(
        [as_file(content=picture.png, name=picture.name, mimetype="image/png") for picture in pictures]
    )
    carrier = apprise.Apprise()
    carrier.add(service)
    carrier.notify(body="\n".join(for_chat(picture.caption) for picture in pictures), attach=files)


def _never_wait_long(service: apprise.NotifyBase) -> list[float]:
    """Let a service that asks for a long pause fail instead of holding up the poll. Return the pauses it asked for."""
    throttle: Callable[..., Any] = service.throttle
    asked: list[float] = []

    def throttle_briefly(last_io: datetime | None = None, wait: float | None = None) -> Any:
        if wait is not None and wait > _LONGEST_WAIT_SECONDS:
            asked.append(wait)
            raise _AskedToWait
        return throttle(last_io=last_io, wait=wait)

    service.throttle = throttle_briefly  # type: ignore[method-assign]
    return asked


def fit(text: Text, limit: int) -> Text:
    """Return the text as a channel with ``limit`` characters a message can show it, cut at the end of a line.

    Counted in bytes: some channels count characters of other alphabets more than once.
    """
    title = _cut(text.title, min(_LONGEST_TITLE, limit // 2))
    room = (limit - len(title.encode()) - _SPARE) * text.parts
    if len(text.body.encode()) <= room:
        return Text(title, text.body, text.parts)
    lines = text.body.splitlines()
    for kept in range(len(lines) - 1, 0, -1):
        body = "\n".join([*lines[:kept], _rest(len(lines) - kept)])
        if len(body.encode()) <= room:
            return Text(title, body, text.parts)
    return Text(title, _cut(text.body.splitlines()[0], max(1, room)) if lines else "", text.parts)


def _rest(lines: int) -> str:
    return for_chat(f"… and {lines} more lines: `pycontw-assets status`")


def _cut(text: str, room: int) -> str:
    if len(text.encode()) <= room:
        return text
    return text.encode()[: max(0, room - len("…".encode()))].decode(errors="ignore").rstrip() + "…"
