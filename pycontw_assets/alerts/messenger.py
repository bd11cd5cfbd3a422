"""Sends a message to where organisers read: Discord, Slack, mail and whatever else Apprise knows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apprise


class Messenger:
    """``urls`` are Apprise URLs, separated by blanks or commas; none: every message is dropped."""

    def __init__(self, urls: str | None) -> None:
        self._urls = urls

    def check(self) -> None:
        """``ValueError`` when nobody would be told because no address can be understood."""
        if self._urls and not len(self._channel()):
            raise ValueError("ALERT_URLS: no Apprise URL in it; a Discord one is discord://<webhook id>/<token>")

    def send(self, title: str, body: str) -> bool:
        """Whether every address took it. Never raises: an alarm that cannot be sent is tried again by the next poll."""
        if not self._urls:
            return True
        return bool(self._channel().notify(title=title, body=body))

    def _channel(self) -> apprise.Apprise:
        import apprise

        # Its log lines show the addresses, which are secrets.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        channel = apprise.Apprise()
        channel.add(self._urls or "")
        return channel
