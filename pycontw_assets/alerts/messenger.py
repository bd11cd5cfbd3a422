"""Send a message to where organisers read: Discord, Slack, mail and whatever else Apprise knows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pycontw_assets.api.outlets import for_chat

if TYPE_CHECKING:
    import apprise


class Messenger:
    """``urls`` are Apprise URLs, separated by blanks or commas; none: every message is dropped."""

    def __init__(self, urls: str | None) -> None:
        self._urls = urls

    def check(self) -> None:
        """Raise ``ValueError`` when no address can be understood, so that nobody would be alerted."""
        if self._urls and not len(self._channel()):
            raise ValueError("ALERT_URLS: no Apprise URL in it; a Discord one is discord://<webhook id>/<token>")

    def send(self, title: str, body: str) -> bool:
        """Say whether every address took it. It never raises: the next poll tries an unsent alert again."""
        if not self._urls:
            return True
        lines = [for_chat(line) for line in body.split("\n")]
        return bool(self._channel().notify(title=for_chat(title), body="\n".join(lines)))

    def _channel(self) -> apprise.Apprise:
        import apprise

        # Its log lines show the addresses, which are secrets.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        channel = apprise.Apprise()
        channel.add(self._urls or "")
        return channel
