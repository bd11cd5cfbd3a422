"""Two alarm channels of a sale, and what must be so about the messages that they take."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.alerts.problems import REMINDER, alerts_of
from pycontw_assets.api.outlets import for_chat
from pycontw_assets.ledger.reporting.problems import open_problems, sent_alerts
from pycontw_assets.orchestration.poll import PollReport
from pycontw_assets.play.drill.alarms import AlarmChannel
from pycontw_assets_tests.pipeline.harness import Pipeline

Message = tuple[str, str]
_DAY = REMINDER - timedelta(minutes=5)  # the clock is read after the poll


@dataclass
class _Ear:
    """One channel, how many of its messages were judged, and the last one. ``None``: what follows may repeat it."""

    channel: AlarmChannel
    heard: int = 0
    last: tuple[datetime, Message] | None = None


@dataclass
class Hearing:
    """Listens to two channels. They are servers of this process, which children reach as well."""

    _ears: list[_Ear] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._ears = [_Ear(self._open.enter_context(AlarmChannel())) for _ in range(2)]

    @property
    def urls(self) -> str:
        return " ".join(ear.channel.url for ear in self._ears)

    @property
    def messages(self) -> int:
        """Count the messages that were taken."""
        return sum(len(ear.channel.messages) for ear in self._ears)

    def break_one(self, number: int) -> None:
        """Let a channel refuse everything from now on; every third time both."""
        for index, ear in enumerate(self._ears):
            ear.channel.works = ear.channel.works and number % 3 != 2 and index != number % 3

    def mend(self) -> None:
        for ear in self._ears:
            ear.channel.works = True

    def listen(self, now: datetime) -> None:
        """Judge the messages since the last time: no channel takes the same one twice in a row within a day."""
        for number, ear in enumerate(self._ears, start=1):
            for message in ear.channel.messages[ear.heard :]:
                at, last = ear.last or (now, None)
                assert message != last or now - at >= _DAY, (number, message)
                ear.last = (now, message)
            ear.heard = len(ear.channel.messages)

    def forget(self) -> None:
        """Let the next message repeat the last one: the poll that sent it died before it could remember that."""
        for ear in self._ears:
            ear.heard, ear.last = len(ear.channel.messages), None

    def has_everything(self, pipeline: Pipeline, report: PollReport) -> None:
        """Judge, after polls with nothing left to do, that both channels took what is open and the end of the rest."""
        current = alerts_of(open_problems(pipeline.ledger), report.tick.facts.keys())
        for ear in self._ears:
            [channel] = Messenger(ear.channel.url).channels
            sent = sent_alerts(pipeline.ledger, channel.digest)
            assert sent.keys() == current.keys(), (sent.keys(), current.keys())
            texts = [f"{title}\n{body}" for title, body in ear.channel.messages]
            missing = [one.title for one in sent.values() if not any(for_chat(one.title) in text for text in texts)]
            assert not missing, missing

    def close(self) -> None:
        self._open.close()
