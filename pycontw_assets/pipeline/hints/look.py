"""Look at the events that hints are about: what a tick does for all events, for these only, and seconds earlier.

A look costs the listing, and a list of books and a book per event. After a hint KKTIX may not show the order yet, so an
event is looked at up to three times. Whatever a look misses, the next poll sees.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.hints.deliveries import waiting_hints
from pycontw_assets.ledger.hints.looks import (
    HintedEvent,
    contents,
    end_looks,
    hinted,
    learned_slugs,
    postpone,
    record_look,
    take_hints,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.hints.pace import POSTPONED_SECONDS, may_mail
from pycontw_assets.pipeline.hints.resolve import Resolution, needs_listing, resolve
from pycontw_assets.pipeline.observe import Tick, observe
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, RunHistory
from pycontw_assets.pipeline.steps import recorded_edition
from pycontw_assets.records import Event
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore

_MAIL = ACCESS_CHAIN[-1]


def look_at_hinted(
    *,
    kktix: KktixClient,
    klaviyo: KlaviyoClient,
    vault: OrdersStore,
    ledger: Ledger,
    settings: Settings,
    history: RunHistory,
    waits: WaitPolicy,
    limit: TimeLimit | None = None,
) -> Tick | None:
    """Take in new hints, and return a tick of the events that are due for a look; ``None``: there are none.

    Only looks are recorded. An edition that begins, a ledger in doubt and a new token are left to the next poll.
    """
    _take_in(kktix=kktix, ledger=ledger, settings=settings)
    due = _due(ledger, history)
    if not due:
        return None
    seen = contents(ledger)
    for event in due:
        # Before KKTIX is asked: a look that fails is one of the three, too.
        record_look(ledger, event, seen.get(event.partition_key))
    keys = frozenset(event.partition_key for event in due)
    tick = observe(
        kktix=kktix,
        klaviyo=klaviyo,
        vault=vault,
        ledger=ledger,
        settings=settings,
        history=history,
        limit=limit,
        only=keys,
    )
    belongs_to_a_poll = tick.begins_edition or tick.trusts_again or tick.kktix_token is not None
    if belongs_to_a_poll:
        return None
    events = len(tick.discovery.partitions)
    if may_mail(ledger=ledger, settings=settings, waits=waits, events=events):
        return tick
    return _without_mails(tick, ledger)


def _without_mails(tick: Tick, ledger: Ledger) -> Tick:
    """Let people in now, and look at the events again for their mails soon."""
    mailing = [key for key, decision in tick.decisions.items() if _MAIL in decision.access]
    postpone(ledger, mailing, POSTPONED_SECONDS)
    decisions = {
        key: replace(decision, access=tuple(asset for asset in decision.access if asset != _MAIL))
        for key, decision in tick.decisions.items()
    }
    return replace(tick, decisions=decisions)


def _take_in(*, kktix: KktixClient, ledger: Ledger, settings: Settings) -> None:
    """Turn the hints that are waiting into events that are due. KKTIX is asked for names that are not known yet."""
    hints, slugs = waiting_hints(ledger), learned_slugs(ledger)
    if not hints:
        return
    listed: tuple[Event, ...] = ()
    if needs_listing(hints, slugs):
        try:
            listed = tuple(kktix.list_events().events)
        except ServiceError:
            listed = ()  # then every event is due, and its looks wait for KKTIX
    found = resolve(hints, slugs, listed)
    take_hints(ledger, hints, due=_keys_of(found, ledger, settings), learned=found.learned)


def _keys_of(found: Resolution, ledger: Ledger, settings: Settings) -> Collection[str]:
    """Return the partition keys of the events of the live edition that are due. Others are none of our business."""
    edition = recorded_edition(ledger, settings)
    live = [partition for partition in known_events(ledger).values() if partition.edition == edition]
    return {
        partition.key
        for partition in live
        if (found.every_event or partition.event_id in found.event_ids) and not is_purged(ledger, partition.key)
    }


def _due(ledger: Ledger, history: RunHistory) -> list[HintedEvent]:
    """Return the events to look at now. Those of which something new was seen since their last look are done with."""
    now, seen, due = ledger.clock(), contents(ledger), []
    for event in hinted(ledger):
        if event.looks and seen.get(event.partition_key) != event.content_digest:
            end_looks(ledger, event)
        elif event.next_look_at <= now and not history.attempts(event.partition_key, "access").running:
            due.append(event)
    return due
