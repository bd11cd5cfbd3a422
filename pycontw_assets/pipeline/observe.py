"""Read the world for one tick: KKTIX, the ledger, the run history. Nothing is changed; the cost is constant.

What a tick has to write down about it belongs to ``record``; what is due is decided in ``reconcile``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from pycontw_assets.api.at_once import ask_at_once
from pycontw_assets.api.request_counter import count_requests
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.extract.events import Discovery
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.extract.snapshot import read_books
from pycontw_assets.ledger.batches import Batch, invitations_without_access, unfinished_batches
from pycontw_assets.ledger.counting.kept import Counted
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.guest_lists import refuse_lost_spaces
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import requested_refreshes
from pycontw_assets.ledger.polls import Poll, last_poll, news_since, unread_after_wave
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.ledger.restoration import is_doubted
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.pipeline.checks import late_events, long_runs
from pycontw_assets.pipeline.consistency.accounts import kktix_token
from pycontw_assets.pipeline.consistency.orders import refuse_signs
from pycontw_assets.pipeline.discord.invites import open_invite_work
from pycontw_assets.pipeline.polling.open_work import OpenWork, open_work
from pycontw_assets.pipeline.rebuild import is_beginning
from pycontw_assets.pipeline.reconcile import (
    OF_DISCORD,
    OF_GATHER,
    OF_MAIL,
    Decision,
    EventFacts,
    RunHistory,
    decide,
    is_stale,
    late_after,
    pause_base,
    table_asset,
    waits_since,
)
from pycontw_assets.pipeline.steps import (
    changed_tables,
    discover_events,
    invitation,
    mapped_events,
    space_ids,
    without_erased,
)
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore

_TEMPLATE_ASSET = "klaviyo_template"


@dataclass(frozen=True, slots=True)
class Tick:
    """The findings and decisions of one tick.

    ``begins_edition``: Klaviyo knows no invitation of the edition, so this ledger may begin it; ``rereads`` are
    then events whose orders the vault has of an earlier ledger. ``trusts_again``: a doubt about the ledger is over.
    ``stale`` are partition keys whose orders may differ from what the last good poll read. ``news_since`` maps
    partition keys to the moment since which there is news, as it is recorded. ``late`` are texts about events that no
    poll has taken in for long. ``changed_tables`` maps the tables that are not as our last load left them to their
    states. ``kktix_token``: the fingerprint of a token that is not recorded yet. ``counted``: counts to keep.
    """

    discovery: Discovery
    warnings: tuple[str, ...]
    facts: Mapping[str, EventFacts]
    decisions: Mapping[str, Decision]
    template_due: bool
    begins_edition: bool = False
    rereads: tuple[str, ...] = ()
    trusts_again: bool = False
    stale: tuple[str, ...] = ()
    news_since: Mapping[str, datetime] = field(default_factory=dict)
    late: tuple[str, ...] = ()
    changed_tables: Mapping[str, str] = field(default_factory=dict)
    kktix_token: str | None = None
    counted: tuple[Counted, ...] = ()
    requests: int = 0

    @property
    def listed(self) -> frozenset[int]:
        """Return the ids of all events that KKTIX lists, also of those left alone."""
        partitions = {partition.event_id for partition in self.discovery.partitions}
        return frozenset(partitions | {event.event_id for event in self.discovery.unmatched})

    @property
    def is_good(self) -> bool:
        """Whether everything could be read, and no event waits too long or for another attempt after a failure."""
        failing = any(fact.access.failures or fact.load.failures for fact in self.facts.values())
        return not (self.problems or self.late or failing)

    @property
    def problems(self) -> tuple[str, ...]:
        """Return readings that could not be trusted and settings that are contradicted.

        Unlike ``warnings`` they keep something from being done.
        """
        books = [f"{key}: {fact.book.problem}" for key, fact in self.facts.items() if fact.book and fact.book.problem]
        return (*self.discovery.conflicts.values(), *books)

    @property
    def books(self) -> dict[int, BookReading]:
        """Return the attendance books that were read, by event id."""
        return {fact.partition.event_id: fact.book for fact in self.facts.values() if fact.book}


def observe(
    *,
    kktix: KktixClient,
    klaviyo: KlaviyoClient | None,
    vault: OrdersStore,
    ledger: Ledger,
    settings: Settings,
    history: RunHistory,
    warehouse: Warehouse | None = None,
    limit: TimeLimit | None = None,
    only: Collection[str] | None = None,
) -> Tick:
    """Read the world and decide what is due.

    ``only``: partition keys; no other event is looked at, so such a tick says nothing of the rest and is not recorded.

    ``klaviyo`` and ``vault`` are asked only while the ledger does not know the edition. ``warehouse``: ``None`` for a
    caller whom the tables do not concern. Books that cannot be read within ``limit`` count as not read. Raises
    ``ServiceError`` when KKTIX cannot be read and ``LedgerError`` when the ledger looks lost, or a space is gone from
    the settings that people were let into.
    """
    requests, known = count_requests(kktix, klaviyo), known_events(ledger)
    with limit or TimeLimit() as limit:
        listing = kktix.list_events()
        token = kktix_token([event.event_id for event in listing.events], ledger=ledger, settings=settings)
        discovery = discover_events(listing.events, known, settings)
        begins = is_beginning(discovery, klaviyo=klaviyo, vault=vault, ledger=ledger)
        doubted = discovery.edition is not None and is_doubted(ledger, discovery.edition)
        if doubted and discovery.edition:
            refuse_signs(discovery.edition, klaviyo=klaviyo, vault=vault, ledger=ledger)
    spaces = []
    if discovery.edition and not settings.gather_is_off:
        spaces = [refuse_lost_spaces(ledger, discovery.edition, *space_ids(settings))]
    ended = _ended_events(discovery, known.values(), ledger=ledger, settings=settings)
    listed = discovery.partitions
    if only is not None:
        listed, ended = tuple(partition for partition in listed if partition.key in only), []
    books = _read_all_books(kktix, _longest_unread_first(listed, ledger), limit)
    read = {p.event_id: without_erased(ledger, p, books[p.event_id]) for p in listed}
    work = {p.key: open_work(p, ledger=ledger, settings=settings) for p in (*listed, *ended)}
    facts = {
        p.key: _facts(p, read.get(p.event_id), work[p.key], ledger=ledger, settings=settings, history=history)
        for p in (*listed, *ended)
    }
    changed = _changed_tables(facts, ledger=ledger, warehouse=warehouse if limit.left else None)
    facts = {key: _without_load(fact, changed) for key, fact in facts.items()}
    waiting = [known[event_id] for event_id in discovery.conflicts if known[event_id].edition == discovery.edition]
    stale = [partition.key for partition in waiting]
    stale += [key for key, fact in facts.items() if is_stale(fact, ledger.clock())]
    since = _news_since(facts, ledger)
    decisions = _decisions(facts, now=ledger.clock(), settings=settings)
    return Tick(
        discovery,
        (*listing.warnings, *_warnings(discovery, ended, facts)),
        facts,
        decisions,
        template_due=_is_template_due(discovery.edition, ledger=ledger, settings=settings, history=history),
        begins_edition=begins,
        rereads=_orders_of_an_earlier_ledger(discovery, vault) if begins else (),
        trusts_again=doubted,
        stale=tuple(stale),
        news_since=since,
        late=_late(facts, decisions, since, now=ledger.clock(), settings=settings),
        changed_tables=changed,
        kktix_token=token,
        counted=(*spaces, *(one.counted for one in work.values())),
        requests=requests(),
    )


def _orders_of_an_earlier_ledger(discovery: Discovery, vault: OrdersStore) -> tuple[str, ...]:
    stored = {partition.key: vault.stream(partition.key) for partition in discovery.partitions}
    return tuple(key for key, orders in stored.items() if orders and orders[0].mark is not None)


def decide_again(tick: Tick, *, ledger: Ledger, settings: Settings, history: RunHistory) -> Tick:
    """Return the same tick after its access runs: ledger and run history are read again, KKTIX is not asked again."""
    facts = {
        key: _facts(
            fact.partition,
            fact.book,
            open_work(fact.partition, ledger=ledger, settings=settings),
            ledger=ledger,
            settings=settings,
            history=history,
        )
        for key, fact in tick.facts.items()
    }
    decisions = _decisions(facts, now=ledger.clock(), settings=settings)
    late = _late(facts, decisions, tick.news_since, now=ledger.clock(), settings=settings)
    return replace(tick, facts=facts, decisions=decisions, late=late)


def decide_at_once(tick: Tick, *, now: datetime, reads_again: bool) -> Tick:
    """Return the tick without pauses after failures: a person asked for this poll. ``reads_again``: every event."""
    facts = dict(tick.facts)
    if reads_again:
        facts = {
            key: replace(fact, poll=replace(fact.poll, book_digest=None)) if fact.poll else fact
            for key, fact in facts.items()
        }
    return replace(tick, decisions={key: decide(fact, now, timedelta(0)) for key, fact in facts.items()})


def edition_facts(
    edition: str, *, ledger: Ledger, settings: Settings, history: RunHistory
) -> dict[str, tuple[EventFacts, Decision]]:
    """Return what ledger and run history know of the edition's events, and what is due. No service is asked."""
    partitions = [partition for partition in known_events(ledger).values() if partition.edition == edition]
    work = {p.key: open_work(p, ledger=ledger, settings=settings) for p in partitions}
    facts = {p.key: _facts(p, None, work[p.key], ledger=ledger, settings=settings, history=history) for p in partitions}
    decisions = _decisions(facts, now=ledger.clock(), settings=settings)
    return {key: (facts[key], decisions[key]) for key in sorted(facts)}


# -- events that wait -------------------------------------------------------------------------------


def _news_since(facts: Mapping[str, EventFacts], ledger: Ledger) -> dict[str, datetime]:
    """Since when each event has news that no poll has taken in, kept over ticks."""
    now, recorded = ledger.clock(), news_since(ledger)
    waiting = [key for key, fact in facts.items() if is_stale(fact, now) or (fact.book and fact.book.problem)]
    return {key: recorded.get(key, now) for key in sorted(waiting)}


def _late(
    facts: Mapping[str, EventFacts],
    decisions: Mapping[str, Decision],
    news_since: Mapping[str, datetime],
    *,
    now: datetime,
    settings: Settings,
) -> tuple[str, ...]:
    patience = late_after(settings.poll_interval_seconds)
    since = {key: waits_since(facts[key], decisions[key], moment) for key, moment in news_since.items()}
    waiting = {key: moment for key, moment in since.items() if moment is not None}
    running = {
        key: attempts.running_since
        for key, fact in facts.items()
        for attempts in (fact.load, fact.access)
        if attempts.running_since is not None
    }
    return (*late_events(waiting, now, patience), *long_runs(running, now, patience))


def _ended_events(
    discovery: Discovery, known: Iterable[EventPartition], *, ledger: Ledger, settings: Settings
) -> list[EventPartition]:
    """Events of the live edition that are not listed any more: not polled, but their open work goes on."""
    listed = {partition.event_id for partition in discovery.partitions}
    mapped = mapped_events(settings)
    return [
        partition
        for partition in known
        if partition.edition == discovery.edition
        and partition.event_id not in listed
        and mapped.get(partition.event_id, partition) == partition  # neither ignored nor contradicted
        and not is_purged(ledger, partition.key)
    ]


def _warnings(discovery: Discovery, ended: Sequence[EventPartition], facts: Mapping[str, EventFacts]) -> Iterator[str]:
    others = sorted({event.edition for event in discovery.unmatched if event.edition})
    if ended and not discovery.partitions:
        yield f"no event of edition {discovery.edition} is listed any more, {len(ended)} were known"
    elif others and not discovery.partitions:
        yield f"no event of edition {discovery.edition} is listed, but of {', '.join(others)}; is EDITION right?"
    for key, fact in facts.items():
        for warning in fact.book.warnings if fact.book else ():
            yield f"{key}: {warning}"


# -- one event --------------------------------------------------------------------------------------


def _decisions(facts: Mapping[str, EventFacts], *, now: datetime, settings: Settings) -> dict[str, Decision]:
    base = pause_base(settings.poll_interval_seconds)
    return {key: decide(fact, now, base) for key, fact in facts.items()}


def _longest_unread_first(partitions: Iterable[EventPartition], ledger: Ledger) -> list[EventPartition]:
    """Sort the events, so that a limit of time does not hit the same ones in every tick."""
    polls = {partition: last_poll(ledger, partition.key) for partition in partitions}
    return sorted(polls, key=lambda item: poll.polled_at.timestamp() if (poll := polls[item]) else 0.0)


def _read_all_books(
    kktix: KktixClient, partitions: Iterable[EventPartition], limit: TimeLimit
) -> dict[int, BookReading]:
    with limit:
        return ask_at_once(partial(read_books, kktix), [partition.event_id for partition in partitions])


def _facts(
    partition: EventPartition,
    book: BookReading | None,
    work: OpenWork,
    *,
    ledger: Ledger,
    settings: Settings,
    history: RunHistory,
) -> EventFacts:
    facts = EventFacts(
        partition,
        book,
        last_poll(ledger, partition.key),
        unread=unread_after_wave(ledger, partition.key),
        off=switched_off(settings),
        materialized=history.materialized_assets(partition.key),
        access=history.attempts(partition.key, "access"),
        load=history.attempts(partition.key, "load"),
    )
    return facts if facts.poll is None else _with_open_work(facts, facts.poll, work, ledger=ledger, settings=settings)


def switched_off(settings: Settings) -> frozenset[str]:
    """Return the assets of the access chain that the settings switch off."""
    switches = {
        OF_GATHER: settings.gather_is_off,
        OF_DISCORD: settings.discord_is_off,
        OF_MAIL: settings.mail_is_off,
    }
    return frozenset().union(*(assets for assets, is_off in switches.items() if is_off))


def _with_open_work(facts: EventFacts, poll: Poll, work: OpenWork, *, ledger: Ledger, settings: Settings) -> EventFacts:
    partition, is_off = facts.partition, settings.gather_is_off
    batches = [batch for batch in unfinished_batches(ledger, partition.key) if _is_due(batch, ledger, settings)]
    access_open = work.entering_at(ledger.clock()) + work.leaving
    return replace(
        facts,
        guest_list_open=access_open,
        invites_open=0 if settings.discord_is_off else open_invite_work(partition, ledger=ledger, settings=settings),
        # Without a guest list, access is assumed where people join the list of ticket holders.
        list_open=work.joining + (access_open if is_off else 0),
        unreachable=0 if facts.off == OF_GATHER | OF_DISCORD | OF_MAIL else poll.without_address + work.refused,
        requested=len(requested_refreshes(ledger, partition.key)),
        campaign_open=len(batches) + work.newcomers + work.resumable,
    )


def _is_due(batch: Batch, ledger: Ledger, settings: Settings) -> bool:
    """Whether a poll can do something for an unfinished batch now. A batch that waits for its time costs nothing."""
    now, held_until = ledger.clock(), settings.invitation_send_at
    if batch.way == "event":
        is_held_back = held_until is not None and held_until > now
        return not is_held_back or settings.invite_via == "campaign" or batch.send_at != held_until
    if batch.state == "open" or batch.send_at is None or batch.send_at <= now:
        return True
    return bool(invitations_without_access(ledger, batch))


def _changed_tables(facts: Mapping[str, EventFacts], *, ledger: Ledger, warehouse: Warehouse | None) -> dict[str, str]:
    if warehouse is None:
        return {}
    loaded = [fact.partition for fact in facts.values() if fact.poll and fact.poll.loaded_digest is not None]
    return changed_tables(loaded, warehouse=warehouse, ledger=ledger)


def _without_load(fact: EventFacts, changed: Mapping[str, str]) -> EventFacts:
    """Let the event's table be due where somebody else changed it: a load writes only what is really missing."""
    if fact.poll is None or table_asset(fact.partition.family) not in changed:
        return fact
    return replace(fact, poll=replace(fact.poll, loaded_digest=None))


def _is_template_due(edition: str | None, *, ledger: Ledger, settings: Settings, history: RunHistory) -> bool:
    if not edition or settings.mail_is_off or history.is_running(_TEMPLATE_ASSET):
        return False
    unknown = remembered_id(ledger, "template", invitation(edition, settings).name) is None
    return unknown or not history.template_was_made
