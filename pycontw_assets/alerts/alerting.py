"""Send what is new about the open problems; what could not be sent is new again next time."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.alerts.problems import alerts_of, message, sent_with
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import Busy, LockName, lock
from pycontw_assets.ledger.reporting.problems import open_problems, record_sent, sent_alerts


def send_alerts(known_keys: Collection[str], *, ledger: Ledger, alerts: Messenger) -> None:
    """Send one message about everything that is new, has grown or is over. ``known_keys``: events that still matter."""
    # Another process that holds the lock is sending now.
    with suppress(Busy), lock(ledger, LockName.ALERTS, wait_seconds=0):
        now = ledger.clock()
        news = message(alerts_of(open_problems(ledger), known_keys), sent_alerts(ledger), now)
        if news and alerts.send(f"pycontw-assets: {news.title}", news.body):
            record_sent(ledger, sent_with(news, now), news.over)
