"""Everything at a glance: what vault, ledger and Dagster say. Asks no service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dagster import DagsterInstance

from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.progress import headcount
from pycontw_assets.ledger.reporting.problems import Problem, open_problems
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.doctor import Finding, instance_findings
from pycontw_assets.pipeline.observe import edition_facts
from pycontw_assets.pipeline.reconcile import Decision, EventFacts
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.vault.vault import VaultError


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
    known = known_events(services.ledger).values()
    edition = services.settings.edition or max((partition.edition for partition in known), default=None)
    rebuilt = edition_facts(services, instance, edition) if edition else {}
    events = [_event(services, facts, decision) for facts, decision in rebuilt.values()]
    return Status(
        edition,
        tuple(events),
        tuple(open_problems(services.ledger)),
        tuple(instance_findings(services, instance)),
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
