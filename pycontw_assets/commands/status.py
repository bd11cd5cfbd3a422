"""``status``: show everything on one screen, from vault, ledger and Dagster. No service is asked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

from pycontw_assets.api.adaptive_rate import SlowedRate, rate_in_force
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.doctor import describe_finding
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_to_read
from pycontw_assets.extract.orders import count_states
from pycontw_assets.ledger.by_event.mails import count_unseen
from pycontw_assets.ledger.discord.invites import count_without_link
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Paused, paused_since
from pycontw_assets.ledger.progress import headcount
from pycontw_assets.ledger.rate_slots import slowed_rate
from pycontw_assets.ledger.reporting.problems import Problem, open_problems
from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.pipeline.consistency.orders import ReadOrders, read_for_people
from pycontw_assets.pipeline.hints.report import hook_finding
from pycontw_assets.pipeline.observe import edition_facts
from pycontw_assets.pipeline.reconcile import OF_DISCORD, Decision, EventFacts, RunHistory
from pycontw_assets.pipeline.reporting.funnel import FunnelRow, describe_funnel, funnel_of
from pycontw_assets.pipeline.steps import recorded_edition
from pycontw_assets.records import TICKET_STATES, OrderSnapshot
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore

_TICKETS = ("attendees", *TICKET_STATES, "quarantined")
_COLUMNS = (*_TICKETS, "let in", "invited", "waiting", "unreachable", "no invite", "not seen")
# Columns that are left out while they hold nothing.
_RARE = frozenset({*TICKET_STATES, "no invite", "not seen"}) - {"usable", "unpaid"}


def add_to(commands: Commands) -> None:
    """Register the command."""
    status = commands.add_parser(
        "status",
        help="show everything on one screen; ask no service",
        description="Show on one screen what is stored here: how many attendees of each event came how far, the last "
        "good poll, the next attempt, open problems, the sensor and the daemon. Ask no service.",
        epilog="Exit 0: no problem is open. 1: problems are open, or orders could not be read. 2: the configuration is "
        "wrong.",
    )
    status.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    status.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.instance import read_history, read_machinery

    root = compose_to_read(used_in=ANYWHERE)
    settings = root.settings
    status = look_up(
        vault=root.vault_to_read,
        ledger=root.ledger_to_read,
        settings=settings,
        history=read_history(settings.dagster_folder, root.ledger_to_read),
        machinery=[
            *read_machinery(settings.dagster_folder, settings.poll_interval_seconds),
            *([hook_finding(root.ledger_to_read, settings)] if settings.kktix_hook_secret else []),
        ],
    )
    document = json.dumps(asdict(status), ensure_ascii=False, indent=2, default=str)
    print(document if parsed.json else "\n".join(describe_status(status)))
    return FAILED if status.problems or status.unread else FINE


# -- the question ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventStatus:
    """How far the people of one event came.

    ``counts`` are by column. ``None``: the orders could not be read, and ``unread`` says why; ``note`` says what is
    uncertain about those that could. People are counted once per event, tickets each.
    """

    partition_key: str
    counts: dict[str, int | None]
    polled_at: datetime | None
    next_attempt_at: datetime | None
    failures: int
    unread: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that the screen shows."""

    edition: str | None
    events: tuple[EventStatus, ...]
    problems: tuple[Problem, ...]
    machinery: tuple[Finding, ...]
    paused_since: datetime | None = None
    kktix_rate: SlowedRate | None = None
    switched_off: tuple[str, ...] = ()
    funnel: tuple[FunnelRow, ...] = ()

    @property
    def unread(self) -> list[str]:
        """Return what could not be read. It is no problem of a poll yet, and nothing is fine because of it."""
        return [event.unread for event in self.events if event.unread]


def look_up(
    *, vault: OrdersStore, ledger: Ledger, settings: Settings, history: RunHistory, machinery: Iterable[Finding] = ()
) -> Status:
    """Read what is stored here. ``machinery`` are findings about the sensor, the daemon and the webhook."""
    edition = recorded_edition(ledger, settings)
    facts_of = edition_facts(edition, ledger=ledger, settings=settings, history=history) if edition else {}
    orders = read_for_people(vault, ledger)
    events = [_event(facts, decision, orders[facts.partition], ledger) for facts, decision in facts_of.values()]
    problems = tuple(open_problems(ledger))
    return Status(
        edition,
        tuple(events),
        problems,
        tuple(machinery),
        paused_since(ledger),
        _kktix_rate(ledger, settings.kktix_requests_per_second),
        tuple(settings.switched_off),
        tuple(funnel_of(edition, orders, ledger) if edition else ()),
    )


def _kktix_rate(ledger: Ledger, most: int) -> SlowedRate | None:
    """Return the rate in force, and why. ``None``: it is the one that is set."""
    now, slowed = ledger.clock(), slowed_rate(ledger, "KKTIX", "attendees")
    per_second = rate_in_force(slowed, most, now.timestamp())
    return replace(slowed, per_second=per_second) if slowed and per_second < most else None


def _event(facts: EventFacts, decision: Decision, orders: ReadOrders, ledger: Ledger) -> EventStatus:
    key, poll = facts.partition.key, facts.poll
    return EventStatus(
        key,
        {**_tickets(orders.snapshot), **_people(facts, ledger)},
        poll.polled_at if poll and not poll.problem else None,
        decision.next_attempt_at,
        max(facts.access.failures, facts.load.failures),
        unread=orders.unread,
        note=orders.note or _wave(facts),
    )


def _wave(facts: EventFacts) -> str:
    """Say how many attendees a poll that serves buyers in waves has still to read."""
    return f"{facts.partition.key}: wave: {facts.unread} more to be read" if facts.unread else ""


def _tickets(snapshot: OrderSnapshot | None) -> dict[str, int | None]:
    if snapshot is None:
        return dict.fromkeys(_TICKETS)
    return {"attendees": len(snapshot.present), **count_states(snapshot), "quarantined": len(snapshot.quarantine)}


def _people(facts: EventFacts, ledger: Ledger) -> dict[str, int | None]:
    """Count the holders of the event by how far they came.

    ``no invite``: they wait for their link to Discord. ``not seen``: handed over, and no mail of it was seen.
    """
    partition, has_discord = facts.partition, not facts.off >= OF_DISCORD
    count = headcount(ledger, partition.key, partition.edition, ledger.clock())
    return {
        "let in": count.let_in,
        "invited": count.invited,
        "waiting": count.entitled - count.invited - count.unreachable,
        "unreachable": count.unreachable,
        "no invite": count_without_link(ledger, partition.key, partition.edition) if has_discord else 0,
        "not seen": count_unseen(ledger, partition.key, partition.edition),
    }


# -- the printing ----------------------------------------------------------------------------------


def describe_status(status: Status) -> Iterator[str]:
    """Yield the lines of the screen."""
    yield paint(f"edition {status.edition or 'none yet'}: {len(status.events)} events", "bold")
    if status.paused_since:
        yield paint(str(Paused(status.paused_since)), "yellow")
    yield from _table(status.events)
    yield from map(describe_funnel, status.funnel)
    yield from (f"switched off: {text}" for text in status.switched_off)
    if rate := status.kktix_rate:
        slowed_at = datetime.fromtimestamp(rate.slowed_at, timezone.utc)
        why = f"since {slowed_at:%Y-%m-%d %H:%M} UTC, because of: {rate.reason}; it rises again within half an hour"
        yield paint(f"KKTIX is asked {rate.per_second:.0f} times a second at most ({why})", "yellow")
    for problem in status.problems:
        for line in problem.text.splitlines():
            where = f"{problem.partition_key} " if problem.partition_key else ""
            times = f", {problem.times} times" if problem.times > 1 else ""
            since = f"since {problem.since:%Y-%m-%d %H:%M} UTC{times}"
            yield paint(f"! {where}{problem.subject}: {line} ({since})", "red" if problem.is_failure else "yellow")
    for text in status.unread:
        yield paint(f"! could not be read: {text}", "red")
    for event in status.events:
        if event.note:
            yield paint(f"! {event.note}", "yellow")
    if not status.problems and not status.unread:
        yield paint("no open problems", "green")
    yield from map(describe_finding, status.machinery)


def _table(events: tuple[EventStatus, ...]) -> Iterator[str]:
    if not events:
        return
    width = max(len(event.partition_key) for event in events)
    columns = [name for name in _COLUMNS if name not in _RARE or any(event.counts[name] for event in events)]
    yield paint(f"{'':<{width}}  {'  '.join(columns)}  last good poll    next attempt", "dim")
    for event in events:
        cells = [_cell(event.counts[name], len(name)) for name in columns]
        failed = f" (failed {event.failures} times)" if event.failures else ""
        after = _moment(event.next_attempt_at, "with the next poll")
        polled = f"{_moment(event.polled_at, 'never'):<16}"
        yield "  ".join([f"{event.partition_key:<{width}}", *cells, polled, after + failed])


def _cell(number: int | None, width: int) -> str:
    return f"{'?' if number is None else number:>{width}}"


def _moment(moment: datetime | None, otherwise: str) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else otherwise
