"""Everything at a glance: what vault, ledger and Dagster say. Asks no service."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from dagster import DagsterInstance

from pycontw_assets.ledger import LET_IN, Ledger, grants, holdings, invitations, same_span
from pycontw_assets.orchestration.doctor import Finding, instance_findings
from pycontw_assets.orchestration.observe import recall
from pycontw_assets.orchestration.reconcile import Decision, EventFacts
from pycontw_assets.orchestration.resources import Services
from pycontw_assets.records import OrderSnapshot
from pycontw_assets.troubles import Trouble
from pycontw_assets.vault import VaultError


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
    troubles: tuple[Trouble, ...]
    machinery: tuple[Finding, ...]


def look_up(services: Services, instance: DagsterInstance) -> Status:
    known = services.ledger.known_events().values()
    edition = services.settings.edition or max((partition.edition for partition in known), default=None)
    recalled = recall(services, instance, edition) if edition else {}
    events = [_event(services, facts, decision) for facts, decision in recalled.values()]
    return Status(
        edition,
        tuple(events),
        tuple(services.troubles.standing()),
        tuple(instance_findings(services, instance)),
    )


def _event(services: Services, facts: EventFacts, decision: Decision) -> EventStatus:
    key, poll = facts.partition.key, facts.poll
    return EventStatus(
        key,
        {**_orders(services, key), **_people(services.ledger, facts)},
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


def _people(ledger: Ledger, facts: EventFacts) -> dict[str, int | None]:
    """Of the addresses that hold a usable ticket of the event, by how far they came."""
    edition, key = facts.partition.edition, facts.partition.key
    stages = _stages(ledger, edition, key)
    waiting = stages["claimed"] + stages["none"] + stages["not let in"]
    return {
        "let in": sum(stages.values()) - stages["not let in"],
        "invited": stages["accepted"] + stages["adopted"],
        "waiting": waiting,
        "unreachable": stages["unreachable"],
    }


def _stages(ledger: Ledger, edition: str, partition_key: str) -> Counter[str]:
    open_grant = sa.and_(
        grants.c.edition == edition,
        grants.c.address_key == holdings.c.address_key,
        grants.c.state.in_(LET_IN),
    )
    query = (
        sa.select(grants.c.state, invitations.c.state)
        .select_from(holdings.outerjoin(grants, open_grant).outerjoin(invitations, same_span))
        .where(holdings.c.partition_key == partition_key)
    )
    with ledger.engine.begin() as db:
        rows = db.execute(query).all()
    return Counter("not let in" if granted is None else invited or "none" for granted, invited in rows)
