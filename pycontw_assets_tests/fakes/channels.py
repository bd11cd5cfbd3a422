"""Alarm channels that keep what they take. ``works`` is false while all are down, ``broken`` names some by number."""

from __future__ import annotations

from collections.abc import Mapping

from pycontw_assets.alerts.messenger import Channel, Messenger, Text


class Channels(Messenger):
    """A messenger without a network. The addresses are never used."""

    def __init__(self, count: int = 1) -> None:
        super().__init__(" ".join(f"json://channel-{number}.example.org" for number in range(1, count + 1)))
        self.taken: list[tuple[int, str, str]] = []
        self.works = True
        self.broken: set[int] = set()
        self.attempts: list[int] = []

    def send(self, texts: Mapping[Channel, Text]) -> set[Channel]:
        self.attempts += [channel.number for channel in texts]
        took = {channel for channel in texts if self.works and channel.number not in self.broken}
        self.taken += [
            (channel.number, text.title.removeprefix("pycontw-assets: "), text.body)
            for channel, text in texts.items()
            if channel in took
        ]
        return took

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Return title and body of every message, without the daily figures."""
        return [(title, body) for _, title, body in self.taken if "sales of " not in title]

    def titles_of(self, number: int) -> list[str]:
        return [title for channel, title, _ in self.taken if channel == number]

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.sent]
