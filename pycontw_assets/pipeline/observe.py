"""One look at the world for one tick: listing, books, ledger, Dagster's state. Reads only, constant in cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from pycontw_assets.authorize.guest_list import is_due
from pycontw_assets.extract.events import Discovery, discover
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.extract.snapshot import read_books
from pycontw_assets.ledger.batches import find_newcomers, invitations_without_access, unfinished_batches
from pycontw_assets.ledger.events import is_purged, known_events, register_events
from pycontw_assets.ledger.grants import grants_without_ticket, holders_to_let_in
from pycontw_assets.ledger.guest_lists import enter_space
from pycontw_assets.ledger.lists import count_list_changes
from pycontw_assets.ledger.locks import is_dead
from pycontw_assets.ledger.polls import last_poll, news_since, record_news_since, record_stale_events
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.ledger.tables import LET_IN, GrantState
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.rebuild import refuse_lost_ledger_if_known
from pycontw_assets.pipeline.reconcile import (
    ACCESS_CHAIN,
    Attempts,
    Decision,
    EventFacts,
    decide,
    is_stale,
    pause_base,
    table_asset,
)
from pycontw_assets.pipeline.steps import without_erased
from pycontw_assets.records import FAMILIES, EventPartition

PARTITION_TAG = "dagster/partition"
OWNER_TAG = "pycontw/owner"
_HISTORY = 50  # runs of an event looked back at: enough for the pause to reach its cap
_AT_WORK = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick saw and decided."""

    discovery: Discovery
    warnings: tuple[str, ...]
    facts: Mapping[str, EventFacts]
    decisions: Mapping[str, Decision]
    template_due: bool
    stale_since: Mapping[str, datetime] = field(default_factory=dict)
    requests: int = 0

    @property
    def listed(self) -> frozenset[int]:
        """Ids of all events that KKTIX shows, also of those left alone."""
        ours = {partition.event_id for partition in self.discovery.partitions}
        return frozenset(ours | {event.event_id for event in self.discovery.unmatched})

    @property
    def is_good(self) -> bool:
        """Everything could be read, and no event is waiting for another attempt after a failure."""
        failing = any(fact.access.failures or fact.load.failures for fact in self.facts.values())
        return not self.problems and not failing

    @property
    def problems(self) -> tuple[str, ...]:
        """Readings that could not be trusted; unlike ``warnings`` they keep something from being done."""
        return tuple(
            f"{key}: {fact.book.problem}" for key, fact in self.facts.items() if fact.book and fact.book.problem
        )


def observe(services: Services, instance: DagsterInstance) -> Tick:
    """Look and decide. The ledger hears of new events (their keys are for good), unread orders and another space."""
    asked = services.request_counter("kktix", "klaviyo")  # the latter when a ledger may be lost
    listing = services.kktix.list_events()
    discovery = discover(
        listing.events, known_events(services.ledger), services.mapped_events(), services.settings.edition
    )
    refuse_lost_ledger_if_known(services, discovery)
    register_events(services.ledger, discovery.partitions)
    if discovery.edition and not (services.settings.gather_is_off or services.settings.pycontw_dry_run):
        enter_space(services.ledger, discovery.edition, services.settings.gather_space_id)
    ended = _ended(services, discovery)
    read = _read_all_books(services, discovery.partitions)
    books = {p.event_id: without_erased(services, p, read[p.event_id]) for p in discovery.partitions}
    runs = _Runs(instance)
    facts = {
        partition.key: _facts(services, runs, partition, books.get(partition.event_id))
        for partition in (*discovery.partitions, *ended)
    }
    if discovery.edition:
        unread = [key for key, fact in facts.items() if is_stale(fact, services.clock())]
        record_stale_events(services.ledger, discovery.edition, unread)
    template_due = bool(discovery.edition) and _template_due(services, instance, discovery.edition or "", runs)
    warnings = (*listing.warnings, *_warnings(discovery, ended, facts))
    since = _stale_since(services, facts)
    return Tick(discovery, warnings, facts, _decisions(services, facts), template_due, since, asked())


def _stale_since(services: Services, facts: Mapping[str, EventFacts]) -> dict[str, datetime]:
    """Since when there is news of an event that no poll has taken in, kept over ticks; written when that changes."""
    now, before = services.clock(), news_since(services.ledger)
    unread = [key for key, fact in facts.items() if is_stale(fact, now) or (fact.book and fact.book.problem)]
    since = {key: before.get(key, now) for key in sorted(unread)}
    if since != before:
        record_news_since(services.ledger, since)
    return {key: _last_in_line(facts[key], moment) for key, moment in since.items()}


def _last_in_line(fact: EventFacts, stale_since: datetime) -> datetime:
    """Unpaid attendees are news for every tick: a good poll meanwhile took in what there was."""
    if fact.poll is None or fact.poll.problem or (fact.book and fact.book.problem):
        return stale_since
    return max(stale_since, fact.poll.polled_at)


def _ended(services: Services, discovery: Discovery) -> list[EventPartition]:
    """Events of the live edition that are not listed any more: not polled, but what is open for them goes on."""
    listed = {partition.event_id for partition in discovery.partitions}
    ignored = {event_id for event_id, mapping in services.mapped_events().items() if mapping is None}
    return [
        partition
        for partition in known_events(services.ledger).values()
        if partition.edition == discovery.edition
        and partition.event_id not in listed | ignored
        and not is_purged(services.ledger, partition.key)
    ]


def _warnings(discovery: Discovery, ended: Sequence[EventPartition], facts: Mapping[str, EventFacts]) -> Iterator[str]:
    if ended and not discovery.partitions:
        yield f"no event of edition {discovery.edition} is listed any more, {len(ended)} were known"
    for key, fact in facts.items():
        for warning in fact.book.warnings if fact.book else ():
            yield f"{key}: {warning}"


def decide_again(services: Services, instance: DagsterInstance, tick: Tick) -> Tick:
    """The same tick after its access runs: what the ledger and Dagster say now, KKTIX not asked again."""
    runs = _Runs(instance)
    facts = {key: _facts(services, runs, fact.partition, fact.book) for key, fact in tick.facts.items()}
    return replace(tick, facts=facts, decisions=_decisions(services, facts))


def edition_facts(
    services: Services, instance: DagsterInstance, edition: str
) -> dict[str, tuple[EventFacts, Decision]]:
    """What ledger and Dagster know of the edition's events, and what is due of it; nobody outside is asked."""
    runs = _Runs(instance)
    mine = [partition for partition in known_events(services.ledger).values() if partition.edition == edition]
    facts = {partition.key: _facts(services, runs, partition, None) for partition in mine}
    decisions = _decisions(services, facts)
    return {key: (facts[key], decisions[key]) for key in sorted(facts)}


def _decisions(services: Services, facts: Mapping[str, EventFacts]) -> dict[str, Decision]:
    now, base = services.clock(), pause_base(services.settings.poll_interval_seconds)
    return {key: decide(fact, now, base) for key, fact in facts.items()}


def _read_all_books(services: Services, partitions: Iterable[EventPartition]) -> dict[int, BookReading]:
    ids = [partition.event_id for partition in partitions]
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(ids, pool.map(lambda event_id: read_books(services.kktix, event_id), ids), strict=True))


def _facts(
    services: Services,
    runs: _Runs,
    partition: EventPartition,
    book: BookReading | None,
) -> EventFacts:
    ledger, key = services.ledger, partition.key
    poll = last_poll(ledger, key)
    table = table_asset(partition.family)
    facts = EventFacts(
        partition,
        book,
        poll,
        materialized=runs.materialized(key),
        access=runs.attempts(key, frozenset(ACCESS_CHAIN)),
        load=runs.attempts(key, frozenset({table})),
    )
    return facts if poll is None else _with_open_work(services, facts)


def _with_open_work(services: Services, facts: EventFacts) -> EventFacts:
    ledger, partition, now = services.ledger, facts.partition, services.clock()
    assumed = services.settings.gather_is_off
    settled: tuple[GrantState, ...] = LET_IN if assumed else ("granted",)
    unsettled = holders_to_let_in(ledger, partition.key, partition.edition, settled)
    without_ticket = [
        grant
        for grant in grants_without_ticket(ledger, partition.edition).values()
        if grant.partition_key == partition.key and (not assumed or grant.state == "assumed")
    ]
    pending = sum(is_due(grant, now) for grant in unsettled.values())
    batches = [
        batch
        for batch in unfinished_batches(ledger, partition.key)
        if batch.state == "open"
        or batch.send_at is None
        or batch.send_at <= now
        or invitations_without_access(ledger, batch)
    ]
    return replace(
        facts,
        guest_list_open=pending + len(without_ticket),
        list_open=count_list_changes(ledger, partition.key),
        campaign_open=len(batches) + len(find_newcomers(ledger, partition.key, partition.edition)),
    )


def _template_due(services: Services, instance: DagsterInstance, edition: str, runs: _Runs) -> bool:
    if runs.is_running("klaviyo_template"):
        return False
    unknown = remembered_id(services.ledger, "template", services.mail(edition).name) is None
    return unknown or instance.get_latest_materialization_event(AssetKey("klaviyo_template")) is None


class _Runs:
    """Dagster's state by event and asset: a few queries per tick, and one more per event that failed lately."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        unfinished = instance.get_run_records(RunsFilter(statuses=_AT_WORK), limit=500)
        self._running = [record.dagster_run for record in unfinished if not fail_dead_run(instance, record)]
        failed = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=500)
        self._failed = {record.dagster_run.tags.get(PARTITION_TAG) for record in failed}

        assets = (*ACCESS_CHAIN, *map(table_asset, FAMILIES))
        self._materialized = {asset: instance.get_materialized_partitions(AssetKey(asset)) for asset in assets}

    def materialized(self, key: str) -> frozenset[str]:
        """Assets of which this partition was ever materialized."""
        return frozenset(asset for asset, keys in self._materialized.items() if key in keys)

    def is_running(self, asset: str) -> bool:
        return any(asset in _assets_of(run) for run in self._running)

    def attempts(self, key: str, assets: frozenset[str]) -> Attempts:
        mine = [run for run in self._running if run.tags.get(PARTITION_TAG) == key]
        running = any(assets & _assets_of(run) for run in mine)
        if key not in self._failed:
            return Attempts(running)
        ended = self._instance.get_run_records(RunsFilter(tags={PARTITION_TAG: key}, statuses=_ENDED), limit=_HISTORY)
        failures, last_ended_at = 0, None
        for record in ended:
            if not assets & _assets_of(record.dagster_run):
                continue
            if record.dagster_run.status != DagsterRunStatus.FAILURE:
                break
            failures += 1
            last_ended_at = last_ended_at or _ended_at(record)
        return Attempts(running, failures, last_ended_at)


def _ended_at(record: RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), timezone.utc)


def _assets_of(run: DagsterRun) -> frozenset[str]:
    if run.asset_selection:
        return frozenset(key.to_user_string() for key in run.asset_selection)
    if run.job_name == "grant_access_job":
        return frozenset(ACCESS_CHAIN)
    return frozenset({run.job_name.removeprefix("load_").removesuffix("_job")})


def fail_dead_run(instance: DagsterInstance, record: RunRecord) -> bool:
    """A run whose process died without a word would keep its event waiting for ever: say that it failed."""
    owner = record.dagster_run.tags.get(OWNER_TAG)
    if owner is None or not is_dead(owner):
        return False
    instance.report_run_failed(record.dagster_run, "The process that ran this died. The next tick asks again.")
    return True
