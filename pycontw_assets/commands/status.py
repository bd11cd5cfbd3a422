"""``status``: one screen about everything, from what vault, ledger and Dagster say; asks no service."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pycontw_assets.alerts.problems import Problem
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.doctor import describe_finding
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import checked_services
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.progress import headcount
from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.observe import edition_facts
from pycontw_assets.pipeline.reconcile import Decision, EventFacts
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.vault.vault import VaultError

if TYPE_CHECKING:
    from dagster import DagsterInstance

_COLUMNS = ("attendees", "usable", "unpaid", "let in", "invited", "waiting", "unreachable", "quarantined")


def add_to(commands: Commands) -> None:
    status = commands.add_parser("status", help="one screen about everything; asks no service")
    status.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    status.set_defaults(run=_status)


def _status(parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.instance import open_instance

    services = checked_services()
    with open_instance(services.settings.dagster_folder) as instance:
        status = look_up(services, instance)
    document = json.dumps(asdict(status), ensure_ascii=False, indent=2, default=str)
    print(document if parsed.json else "\n".join(describe_status(status)))
    return FAILED if status.problems else FINE


# -- the question ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventStatus:
    """``counts`` by column; ``None``: the vault does not say. People are counted once per event, tickets each."""

    partition_key: str
    counts: dict[str, int | None]
    polled_at: datetime | None
    next_attempt_at: datetime | None
    failures: int


@dataclass(frozen=True, slots=True)
class Status:
    edition: str | None
    events: tuple[EventStatus, ...]
    problems: tuple[Problem, ...]
    machinery: tuple[Finding, ...]


def look_up(services: Services, instance: DagsterInstance) -> Status:
    from pycontw_assets.orchestration.instance import instance_findings

    known = known_events(services.ledger).values()
    edition = services.settings.edition or max((partition.edition for partition in known), default=None)
    rebuilt = edition_facts(services, instance, edition) if edition else {}
    events = [_event(services, facts, decision) for facts, decision in rebuilt.values()]
    return Status(
        edition,
        tuple(events),
        tuple(services.problems.standing()),
        tuple(instance_findings(instance, services.settings.poll_interval_seconds)),
    )


def _event(services: Services, facts: EventFacts, decision: Decision) -> EventStatus:
    key, poll = facts.partition.key, facts.poll
    return EventStatus(
        key,
        {**_orders(services, key), **_people(services, facts.partition)},
        poll.polled_at if poll and not poll.problem else None,
        decision.next_attempt_at,
        max(facts.access.failures, facts.load.failures),
    )


def _orders(services: Services, key: str) -> dict[str, int | None]:
    try:
        snapshot = services.vault.read(key) or OrderSnapshot(services.partition(key))
    except VaultError:
        return dict.fromkeys(("attendees", "usable", "unpaid", "quarantined"))
    present = snapshot.present
    usable = sum(record.is_usable for record in present)
    return {
        "attendees": len(present),
        "usable": usable,
        "unpaid": len(present) - usable,
        "quarantined": len(snapshot.quarantine),
    }


def _people(services: Services, partition: EventPartition) -> dict[str, int | None]:
    """Of the addresses that hold a usable ticket of the event, by how far they came."""
    count = headcount(services.ledger, partition.key, partition.edition, services.clock())
    return {
        "let in": count.let_in,
        "invited": count.invited,
        "waiting": count.entitled - count.invited - count.unreachable,
        "unreachable": count.unreachable,
    }


# -- the printing ----------------------------------------------------------------------------------


def describe_status(status: Status) -> Iterator[str]:
    yield paint(f"edition {status.edition or 'none yet'}: {len(status.events)} events", "bold")
    if status.events:
        yield from _table(status.events)
    for trouble in status.problems:
        for line in trouble.text.splitlines():
            where = f"{trouble.partition_key} " if trouble.partition_key else ""
            times = f", {trouble.times} times" if trouble.times > 1 else ""
            since = f"since {trouble.since:%Y-%m-%d %H:%M} UTC{times}"
            yield paint(f"! {where}{trouble.subject}: {line} ({since})", "red" if trouble.is_failure else "yellow")
    if not status.problems:
        yield paint("no open problems", "green")
    yield from map(describe_finding, status.machinery)


def _table(events: tuple[EventStatus, ...]) -> Iterator[str]:
    width = max(len(event.partition_key) for event in events)
    yield paint(f"{'':<{width}}  {'  '.join(_COLUMNS)}  last good poll    next attempt", "dim")
    for event in events:
        cells = [_cell(event.counts[name], len(name)) for name in _COLUMNS]
        failed = f" (failed {event.failures} times)" if event.failures else ""
        after = _moment(event.next_attempt_at, "with the next poll")
        polled = f"{_moment(event.polled_at, 'never'):<16}"
        yield "  ".join([f"{event.partition_key:<{width}}", *cells, polled, after + failed])


def _cell(number: int | None, width: int) -> str:
    return f"{'?' if number is None else number:>{width}}"


def _moment(moment: datetime | None, otherwise: str) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else otherwise
