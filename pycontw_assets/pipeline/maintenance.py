"""Maintenance with every tick: old things leave, the day's sales are reported. None of it stops a tick.

Sensor and ``poll`` do the same, so that it happens where no daemon runs too. Each part finds out what is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone

from pycontw_assets.alerts.alerting import deliver
from pycontw_assets.alerts.messenger import Channel, Messenger, Text
from pycontw_assets.alerts.problems import by_cause
from pycontw_assets.alerts.sales_report import Report, count, report
from pycontw_assets.alerts.unreachable import unserved_attendees
from pycontw_assets.api.stopping import Stop
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.ledger.database.future_times import correct_future_times
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.letters.letters import letters_of
from pycontw_assets.ledger.locks import Busy, LockName, lock
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.ledger.reporting.problems import open_problems, record_findings
from pycontw_assets.ledger.reporting.sales import (
    Counts,
    Figures,
    Ticket,
    edition_before,
    last_counted_day,
    last_report_day,
    record_report,
    record_sales,
    sales_by_day,
)
from pycontw_assets.pipeline.checks import gone_venue
from pycontw_assets.pipeline.consistency.orders import AgreedOrders
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.reconcile import OF_DISCORD, OF_GATHER, OF_MAIL, EventFacts
from pycontw_assets.pipeline.record import best_effort
from pycontw_assets.pipeline.reporting.campaign_report import read_report
from pycontw_assets.pipeline.reporting.daily import Extras
from pycontw_assets.pipeline.retention import purge_expired
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import OrderSnapshot
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.by_event.mail_watch import watch_mails
from pycontw_assets.send_email.klaviyo_client import REVISION, KlaviyoClient
from pycontw_assets.send_email.recipients import compare_recipients
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.vault.vault import OrdersStore, VaultError

_SALES, _PACE = "sales", "the pace of the sale"
_AHEAD = timedelta(days=1)  # a day further ahead was written by a clock that was wrong
_MOST_PARTS = 5  # messages of one report, in channels with little room
_SUPPORTED_FOR = timedelta(days=730)  # Klaviyo supports a revision of its interface for about two years from its date
_MOVE_UP_BEFORE = timedelta(days=180)

REVISION_ENDS = datetime.fromisoformat(REVISION).replace(tzinfo=timezone.utc) + _SUPPORTED_FOR
MOVE_UP = "a developer has to move the client to a newer revision"


def run_maintenance(
    tick: Tick,
    *,
    klaviyo: KlaviyoClient | None,
    ledger: Ledger,
    vault: OrdersStore,
    alerts: Messenger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    retention_days: int,
    prune_history: Callable[[], None],
    finish_erasures: Callable[[], Iterable[str]],
    follow_letters: Callable[[], Iterable[str]] = tuple,
    read_extras: Callable[[str, datetime], Extras] = lambda _edition, _now: Extras(),
    limit: TimeLimit | None = None,
    stop: Stop | None = None,
) -> None:
    """Do what is due.

    ``prune_history`` deletes old run history, wherever that is kept. ``finish_erasures`` returns what is left to erase.
    ``follow_letters`` goes on with letters to everybody, and returns their problems.
    ``read_extras`` returns what the daily message says of an edition beyond its counts; it is called once a day.
    What ``limit`` leaves no time for is left to the next tick. Raise ``Stopped`` when ``stop`` was asked for.
    """

    def may_go_on() -> bool:
        if stop:
            stop.check()
        return limit is None or limit.left > 0

    with best_effort("the look at the clock", ledger=ledger) as findings:
        findings += correct_clock(ledger)
    if not may_go_on():
        return
    with best_effort("erasures", ledger=ledger) as findings:
        findings += finish_erasures()
    if not may_go_on():
        return
    with best_effort("maintenance", ledger=ledger) as findings:
        findings += expiring(ledger.clock())
        purge_expired(tick.listed, ledger=ledger, vault=vault, waits=waits, retention_days=retention_days)
        prune_history()
    if not may_go_on():
        return
    with best_effort("the look for the venue", ledger=ledger) as findings:
        findings += gone_venue(open_problems(ledger), ledger.clock())
    if klaviyo is not None:
        advance_letters(follow_letters, ledger=ledger)
        for _ in count_mails(tick, klaviyo=klaviyo, ledger=ledger):
            if not may_go_on():
                return
    search_unserved(tick, ledger=ledger, vault=vault, pseudonymizer=pseudonymizer)
    if not may_go_on():
        return
    with best_effort("the sales report", ledger=ledger):
        report_sales(tick, ledger=ledger, vault=vault, alerts=alerts, read_extras=read_extras)


def advance_letters(follow_letters: Callable[[], Iterable[str]], *, ledger: Ledger) -> None:
    """Go on with the letters to everybody. A season without one costs one look into the ledger."""
    if letters_of(ledger):
        with best_effort("letters", ledger=ledger) as findings:
            findings += follow_letters()


def count_mails(tick: Tick, *, klaviyo: KlaviyoClient, ledger: Ledger) -> Iterator[None]:
    """Ask the mail service what became of the mails that left. Yield after each of the questions."""
    with best_effort("the count of recipients", ledger=ledger) as findings:
        findings += compare_recipients(klaviyo=klaviyo, ledger=ledger)
    yield
    with best_effort("the look for mails of the flow", ledger=ledger) as findings:
        findings += watch_mails(events=EventsClient(klaviyo), ledger=ledger)
    yield
    with best_effort("the report of campaigns", ledger=ledger):
        read_report(tick.discovery.edition, klaviyo=klaviyo, ledger=ledger)
    yield


def search_unserved(tick: Tick, *, ledger: Ledger, vault: OrdersStore, pseudonymizer: Pseudonymizer) -> None:
    """Look up who is not served, as the ledger knows it now: also the people of events that are not listed any more."""
    with best_effort("the search for unreachable buyers", ledger=ledger) as findings:
        # What is switched off serves nobody, and asks nobody to look after people.
        served = {
            key: fact for key, fact in sorted(tick.facts.items()) if not fact.off >= OF_GATHER | OF_DISCORD | OF_MAIL
        }
        events = [(fact.partition, last_poll(ledger, key)) for key, fact in served.items()]
        findings += unserved_attendees(
            events,
            ledger=ledger,
            vault=AgreedOrders(vault, ledger),
            pseudonymizer=pseudonymizer,
            contact_address=contact_address,
            is_mailed=not any(fact.off >= OF_MAIL for fact in served.values()),
        )


def correct_clock(ledger: Ledger) -> Iterator[str]:
    """Let times that lie in the future count as now, and say so: nobody waits until they have come."""
    if corrected := correct_future_times(ledger):
        yield (
            f"{corrected} stored times lay in the future: a clock was ahead, or is behind now. They count as now. Look "
            "at the clocks of the machines"
        )


def expiring(now: datetime) -> Iterator[str]:
    """Yield what stops working on a day known before. No key tells its end; a refusal does."""
    left = REVISION_ENDS - now
    if left <= timedelta(0):
        yield f"Klaviyo revision {REVISION} has not been supported since about {REVISION_ENDS:%Y-%m-%d}: {MOVE_UP}"
    elif left <= _MOVE_UP_BEFORE:
        yield f"Klaviyo revision {REVISION} is supported until about {REVISION_ENDS:%Y-%m-%d} only: {MOVE_UP}"


def report_sales(
    tick: Tick,
    *,
    ledger: Ledger,
    vault: OrdersStore,
    alerts: Messenger,
    read_extras: Callable[[str, datetime], Extras] = lambda _edition, _now: Extras(),
) -> None:
    """Report the sales once per UTC day while anything is on sale. The day begins at eight in the morning in Taipei."""
    edition, today = tick.discovery.edition, ledger.clock().date()
    if not any(fact.book is not None for fact in tick.facts.values()):
        record_findings(ledger, "", _PACE, {})  # no sale, no pace
        return
    if edition is None or not _is_due(ledger, edition, today, alerts) or not _is_counted(tick):
        return
    # Another process that holds the lock is reporting them now.
    with suppress(Busy), lock(ledger, LockName.SALES_REPORT, wait_seconds=0):
        if not _is_due(ledger, edition, today, alerts):
            return
        if _is_before(last_counted_day(ledger, edition, until=today + _AHEAD), today):
            figures = _figures(tick, ledger=ledger, vault=vault)
            if figures is None:
                return
            record_sales(ledger, edition, today, figures)
        extras = read_extras(edition, ledger.clock())
        if extras.is_known:
            record_findings(ledger, "", _PACE, by_cause(_PACE, extras.findings))
        news = _report(ledger, edition, is_compared=extras.is_compared)
        waiting = _waiting(ledger, today, alerts)
        if news is not None and waiting:
            text = _message(news, extras, open_problems=len(open_problems(ledger)))
            waiting = deliver(dict.fromkeys(waiting, text), ledger=ledger, alerts=alerts)
        for channel in waiting:
            record_report(ledger, _SALES, channel.digest, today)


def _message(news: Report, extras: Extras, *, open_problems: int) -> Text:
    """Put the summary first: a channel with little room cuts off the last tickets, not the money."""
    state = f"KKTIX was polled just now; open problems: {open_problems or 'none'}"
    body = "\n".join([*extras.lines, news.body, state])
    return Text(f"pycontw-assets: {news.title}", body, parts=_MOST_PARTS, link=extras.link, pictures=extras.draw())


def _is_counted(tick: Tick) -> bool:
    """Every event that is on sale was read at least once."""
    return all(fact.poll for fact in tick.facts.values() if fact.book is not None)


def _is_due(ledger: Ledger, edition: str, today: date, alerts: Messenger) -> bool:
    return _is_before(last_counted_day(ledger, edition, until=today + _AHEAD), today) or bool(
        _waiting(ledger, today, alerts)
    )


def _waiting(ledger: Ledger, today: date, alerts: Messenger) -> set[Channel]:
    """Return the channels that have not taken the report of the day."""
    last = {
        channel: last_report_day(ledger, _SALES, channel.digest, until=today + _AHEAD) for channel in alerts.channels
    }
    return {channel for channel, day in last.items() if _is_before(day, today)}


def _is_before(day: date | None, today: date) -> bool:
    # Not "another day": a clock that was set back must not report a day again.
    return day is None or day < today


def _figures(tick: Tick, *, ledger: Ledger, vault: OrdersStore) -> Figures | None:
    """Count the tickets. ``None``: orders of a listed event are lost or of another time than the ledger.

    A poll reads such orders again, and the figures wait for it. Of an event that ended, what is stored counts.
    """
    figures: dict[Ticket, Counts] = {}
    for fact in tick.facts.values():
        try:
            snapshot = vault.read(fact.partition.key) if fact.book is None else _whole_orders(fact, ledger, vault)
        except VaultError:
            return None
        counted = count(snapshot.records.values()) if snapshot else {}
        for name, counts in (counted or {"no tickets yet": Counts()}).items():
            ticket = (fact.partition.family, name)
            figures[ticket] = figures.get(ticket, Counts()) + counts
    return figures


def _whole_orders(fact: EventFacts, ledger: Ledger, vault: OrdersStore) -> OrderSnapshot | None:
    """Return the orders of a listed event; ``None``: nobody has bought yet."""
    key = fact.partition.key
    snapshot = AgreedOrders(vault, ledger).read(key)
    if fact.poll and fact.poll.known and (snapshot is None or snapshot.rebuilding):
        raise VaultError(f"vault: the orders of {key} are not all there")
    return snapshot


def _report(ledger: Ledger, edition: str, *, is_compared: bool) -> Report | None:
    earlier, days = edition_before(ledger, edition), sales_by_day(ledger, edition)
    before = (earlier, sales_by_day(ledger, earlier)) if earlier else None
    return report(edition, days, before, is_compared=is_compared) if days else None
