"""Decide what is due: compare the world with the ledger and with Dagster's own state. Pure.

A level, never an edge: nothing here depends on what an earlier tick decided. Deleting all history makes
assets "missing", which materializes them again without a call that changes anything outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.polls import Poll
from pycontw_assets.load.schema import attendee_table_name
from pycontw_assets.records import EventPartition, Family

ACCESS_CHAIN = ("raw_kktix_orders", "gather_guestlist", "discord_invites", "klaviyo_list", "klaviyo_campaign")
OF_GATHER, OF_DISCORD = frozenset(ACCESS_CHAIN[1:2]), frozenset(ACCESS_CHAIN[2:3])
OF_MAIL = frozenset(ACCESS_CHAIN[3:])
_LONGEST_PAUSE = timedelta(hours=1)
_LATE_AFTER_POLLS = 3
_NEVER_LATE_BEFORE = timedelta(minutes=5)  # Dagster keeps freshness by the minute, and polls take their time
_CLOCK_SKEW = timedelta(minutes=1)  # of machines that share the work

RunKind = Literal["access", "load", "template"]


def table_asset(family: Family) -> str:
    """Return the name of the asset of a family's table, which is the table's name."""
    return attendee_table_name(family)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Runs of one kind for one event: whether one is at work, and the failures since the last success.

    ``running_since``: when the one at work was asked for, where this Dagster knows it.
    """

    running: bool = False
    failures: int = 0
    last_ended_at: datetime | None = None
    running_since: datetime | None = None


AttemptKind = Literal["access", "load"]


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The run history, as far as a tick decides by it.

    ``materialized`` maps assets to the partition keys that were ever materialized; ``running`` are the assets that
    unfinished runs work on. ``attempts_by`` holds only partitions with a run at work or a failure. ``dead_runs`` are
    ids of runs whose process died without a word: they count as failed, and recording them says so.
    """

    materialized: Mapping[str, frozenset[str]] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    attempts_by: Mapping[tuple[str, AttemptKind], Attempts] = field(default_factory=dict)
    template_was_made: bool = False
    dead_runs: tuple[str, ...] = ()

    def materialized_assets(self, partition_key: str) -> frozenset[str]:
        """Return the assets of which this partition was ever materialized."""
        return frozenset(asset for asset, keys in self.materialized.items() if partition_key in keys)

    def is_running(self, asset: str) -> bool:
        return asset in self.running

    def attempts(self, partition_key: str, kind: AttemptKind) -> Attempts:
        return self.attempts_by.get((partition_key, kind), Attempts())


@dataclass(frozen=True, slots=True)
class EventFacts:
    """All that the decision about one event looks at. ``book`` is ``None`` for an event that is not listed any more.

    ``unreachable``: usable tickets whose address no mail can reach. ``requested``: attendees that somebody asked to
    read again. ``unread``: attendees that the last wave left to be read by the same poll. ``off``: assets of the chain
    that are switched off, which are never due.
    """

    partition: EventPartition
    book: BookReading | None
    poll: Poll | None
    guest_list_open: int = 0
    invites_open: int = 0
    list_open: int = 0
    campaign_open: int = 0
    unreachable: int = 0
    requested: int = 0
    unread: int = 0
    off: frozenset[str] = frozenset()
    materialized: frozenset[str] = frozenset()
    access: Attempts = field(default_factory=Attempts)
    load: Attempts = field(default_factory=Attempts)

    @property
    def newcomers(self) -> int:
        """Estimate how many attendees of the book no poll has read yet."""
        listed = len(self.book.ids) if self.book else 0
        return max(0, listed - (self.poll.known if self.poll else 0))


@dataclass(frozen=True, slots=True)
class Decision:
    """The assets to ask for. ``access`` is a tail of the chain, possibly empty, without what is switched off.

    ``reason`` always holds a number.
    """

    access: tuple[str, ...]
    load: bool
    reason: str
    next_attempt_at: datetime | None = None


def pause_base(poll_interval_seconds: float) -> timedelta:
    return timedelta(seconds=poll_interval_seconds / 5)


def pause_after(failures: int, base: timedelta) -> timedelta:
    """The first retry comes with the next tick; later ones after a pause that doubles, up to an hour."""
    return timedelta(0) if failures <= 1 else min(base * 2 ** min(failures - 2, 20), _LONGEST_PAUSE)


def decide(facts: EventFacts, now: datetime, pause_base: timedelta) -> Decision:
    """Which assets of one event are due now, and why or why not. Of an import nothing about access ever is."""
    access, why = _access_due(facts, now)
    load, load_why = _load_due(facts)
    held = _held_back(facts.access, now, pause_base) if access else None
    load_held = _held_back(facts.load, now, pause_base) if load else None
    wave = f"wave: {facts.unread} more to be read" if facts.unread else ""
    reason = "; ".join(part for part in (why, held and held[0], wave, load_why, load_held and load_held[0]) if part)
    waits = [until for blocked in (held, load_held) if blocked and (until := blocked[1])]
    return Decision(() if held else access, load and not load_held, reason, min(waits, default=None))


def _access_due(facts: EventFacts, now: datetime) -> tuple[tuple[str, ...], str]:
    if facts.partition.is_imported:
        return (), "an import lets 0 people in and mails 0"
    why = {asset: reason for asset, reason in zip(ACCESS_CHAIN, _reasons(facts, now), strict=True) if reason}
    chain = [asset for asset in ACCESS_CHAIN if asset not in facts.off]
    for position, asset in enumerate(chain):
        if asset in why:
            return tuple(chain[position:]), "; ".join(why.values())
    known = facts.poll.known if facts.poll else 0
    return (), f"{known} attendees known, nothing new"


def _reasons(facts: EventFacts, now: datetime) -> tuple[str, ...]:
    open_work = (facts.guest_list_open, facts.invites_open, facts.list_open, facts.campaign_open)
    words = (
        "changes for the guest list",
        "changes of invites to Discord",
        "changes for the ticket-holder list",
        "open invitations or batches",
    )
    downstream = []
    for asset, count, word in zip(ACCESS_CHAIN[1:], open_work, words, strict=True):
        if asset in facts.off:
            downstream.append("")
            continue
        missing = facts.poll is not None and asset not in facts.materialized
        downstream.append(f"{count} {word}" if count else f"{asset} has 0 materializations" if missing else "")
    orders = _news(facts, now) or _rereads(facts)
    return (orders, *downstream)


def _news(facts: EventFacts, now: datetime) -> str:
    """Say why the orders may have changed since the last good poll."""
    book, poll = facts.book, facts.poll
    if book is None or (book.problem and not book.ids):
        return ""  # not listed, or unreadable right now: nothing can be polled
    if poll is None:
        return f"never polled, {len(book.ids)} attendees in the book"
    if book.problem or poll.book_digest != book.digest:
        return f"the book changed: {len(book.ids)} attendees, {poll.known} known"
    if poll.reread_count:
        return f"{poll.reread_count} attendees not usable yet, missing or quarantined"
    if poll.refresh_at is not None and poll.refresh_at <= now:
        return f"{poll.known} known attendees, some due for a re-read"
    if ACCESS_CHAIN[0] not in facts.materialized:
        return "raw_kktix_orders has 0 materializations"
    return ""


def _rereads(facts: EventFacts) -> str:
    """Say who is read again so that a correction is seen by the next poll, although nothing else is due."""
    if facts.book is None or (facts.book.problem and not facts.book.ids):
        return ""
    if facts.requested:
        return f"{facts.requested} attendees are read again by request"
    return f"{facts.unreachable} usable tickets have no reachable address" if facts.unreachable else ""


def is_stale(facts: EventFacts, now: datetime) -> bool:
    """Whether the event's orders may by now differ from what the last good poll read."""
    if facts.book is not None and facts.book.problem and not facts.book.ids:
        return facts.poll is not None
    return bool(_news(facts, now))


def late_after(poll_interval_seconds: float) -> timedelta:
    """Return how long an event may wait for a poll. After that it is an alarm."""
    return max(timedelta(seconds=_LATE_AFTER_POLLS * poll_interval_seconds), _NEVER_LATE_BEFORE)


def waits_since(facts: EventFacts, decision: Decision, news_since: datetime) -> datetime | None:
    """Since when no poll has taken the event in; ``None``: this tick asks for it, and nothing has failed before.

    Unpaid attendees are news for every tick: a good poll meanwhile took in what there was.
    """
    poll, book = facts.poll, facts.book
    if (poll is not None and poll.problem) or (book is not None and book.problem):
        return news_since
    if decision.access[:1] == ACCESS_CHAIN[:1] and not facts.access.failures:
        return None
    return news_since if poll is None else max(news_since, poll.polled_at)


def _load_due(facts: EventFacts) -> tuple[bool, str]:
    poll = facts.poll
    if poll is None:
        return False, ""
    if poll.content_digest != poll.loaded_digest:
        return True, "1 table partition is behind"
    if table_asset(facts.partition.family) not in facts.materialized:
        return True, "1 table partition has no materialization"
    return False, ""


def _held_back(attempts: Attempts, now: datetime, base: timedelta) -> tuple[str, datetime | None] | None:
    if attempts.running:
        return "1 run is still at work", None
    if not attempts.failures or attempts.last_ended_at is None:
        return None
    until = attempts.last_ended_at + pause_after(attempts.failures, base)
    # A run that ended in the future ended before somebody set the clock back: nobody waits for that time to come again.
    if not attempts.last_ended_at - _CLOCK_SKEW <= now < until:
        return None
    return f"failed {attempts.failures} times, next attempt at {until:%H:%M:%S} UTC", until


def summarize(decisions: Mapping[str, Decision]) -> str:
    """The skip reason of a tick: one line per event, each with a number."""
    return "; ".join(f"{key}: {decision.reason}" for key, decision in sorted(decisions.items())) or "0 events listed"


def new_poll_id(now: datetime) -> str:
    """Name a poll by its moment: all runs that it asks for share the name."""
    return f"{now:%Y%m%dT%H%M%S.%f}"
