"""Send every channel its news about the open problems. What a channel did not take is news to it again next time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from pycontw_assets.alerts.messenger import Channel, Messenger, Text
from pycontw_assets.alerts.problems import Message, alerts_of, by_cause, message, sent_with, without_helped
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import Busy, LockName, lock
from pycontw_assets.ledger.reporting.channels import FailingChannel, channels_that_fail, record_channel
from pycontw_assets.ledger.reporting.problems import (
    open_problems,
    record_findings,
    record_sent,
    sent_alerts,
    share_sent_alerts,
)

_SUBJECT = "alarm channels"
_FAILURES_OF_A_PROBLEM = 3  # a blip of a chat service is nobody's business
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=1)
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Reach:
    """Which channels do not work (one text each), and whether a message would reach anybody."""

    problems: tuple[str, ...] = ()
    is_anybody_there: bool = True


def send_alerts(known_keys: Collection[str], *, ledger: Ledger, alerts: Messenger) -> Reach:
    """Send each channel one message about everything that is new to it, has grown or is over.

    ``known_keys``: events that still matter.
    """
    # Another process that holds the lock is sending now.
    with suppress(Busy), lock(ledger, LockName.ALERTS, wait_seconds=0):
        _send_news(known_keys, ledger=ledger, alerts=alerts)
    return reach_of(ledger=ledger, alerts=alerts)


def _send_news(known_keys: Collection[str], *, ledger: Ledger, alerts: Messenger) -> None:
    now = ledger.clock()
    share_sent_alerts(ledger, [channel.digest for channel in alerts.channels])
    current, news = alerts_of(open_problems(ledger), known_keys), dict[Channel, Message]()
    for channel in alerts.channels:
        sent = sent_alerts(ledger, channel.digest)
        if helped := without_helped(current, sent):
            record_sent(ledger, channel.digest, helped, over=())
        if found := message(current, sent, now):
            news[channel] = found
    texts = {channel: Text(f"pycontw-assets: {found.title}", found.body) for channel, found in news.items()}
    for channel in deliver(texts, ledger=ledger, alerts=alerts):
        record_sent(ledger, channel.digest, sent_with(news[channel], now), news[channel].over)
    record_findings(ledger, "", _SUBJECT, by_cause(_SUBJECT, reach_of(ledger=ledger, alerts=alerts).problems))


def deliver(texts: Mapping[Channel, Text], *, ledger: Ledger, alerts: Messenger) -> set[Channel]:
    """Send each channel its text, unless it failed a moment ago. Return the channels that took it, and remember all."""
    now, failing = ledger.clock(), channels_that_fail(ledger)
    due = {c: text for c, text in texts.items() if c.digest not in failing or failing[c.digest].retry_at <= now}
    took = alerts.send(due) if due else set()
    for channel in due:
        earlier = failing.get(channel.digest)
        if channel not in took:
            failures = earlier.failures + 1 if earlier else 1
            since = earlier.since if earlier else now
            record_channel(
                ledger, channel.digest, FailingChannel(channel.digest, failures, since, now + _pause(failures))
            )
        elif earlier:
            record_channel(ledger, channel.digest, None)
    return took


def _pause(failures: int) -> timedelta:
    """Return none at first. Somebody whose address is one of several in a failing channel hears each attempt."""
    doublings = min(failures - _FAILURES_OF_A_PROBLEM, _MOST_DOUBLINGS)
    return min(_FIRST_PAUSE * int(2**doublings), _LONGEST_PAUSE) if doublings >= 0 else timedelta(0)


def reach_of(*, ledger: Ledger, alerts: Messenger) -> Reach:
    """Return which channels do not work, as far as messages were tried."""
    failing = channels_that_fail(ledger)
    problems = [text for one in alerts.channels if (text := _problem(one, failing.get(one.digest)))]
    return Reach(tuple(problems), len(problems) < len(alerts.channels) or not alerts.channels)


def recorded_channel_problems(ledger: Ledger) -> list[str]:
    """Return what the last ``send_alerts`` recorded of channels that do not work."""
    texts = [problem.text for problem in open_problems(ledger) if problem.subject == _SUBJECT]
    return [line for text in texts for line in text.splitlines()]


def _problem(channel: Channel, failing: FailingChannel | None) -> str | None:
    if not channel.is_understood:
        return f"{channel.name} is no address that Apprise understands: correct it in ALERT_URLS"
    if failing is None or failing.failures < _FAILURES_OF_A_PROBLEM:
        return None
    return (
        f"{channel.name} has taken no message since {failing.since:%Y-%m-%d %H:%M} UTC: look at its address in "
        "ALERT_URLS, and try it with `pycontw-assets doctor --test-alert`"
    )
