"""What a poll would change outside, found out by running its own steps on a shadow. Changes nothing anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dagster import DagsterInstance

from pycontw_assets.api_client import ServiceError
from pycontw_assets.extract.snapshot import UntrustedBook
from pycontw_assets.ledger import Batch
from pycontw_assets.orchestration.masking import masked
from pycontw_assets.orchestration.observe import observe
from pycontw_assets.orchestration.reconcile import ACCESS_CHAIN
from pycontw_assets.orchestration.resources import Services
from pycontw_assets.orchestration.sensors import new_poll_id
from pycontw_assets.orchestration.shadow import shadow
from pycontw_assets.orchestration.work import campaign_step, guest_list_step, read_orders
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email.ticket_holders import list_changes


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """``people`` are masked; ``unreachable`` counts, by reason, those of them whom mail cannot reach."""

    people: tuple[str, ...]
    send_at: datetime | None
    is_new: bool
    unreachable: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EventPlan:
    """What would change outside for one event; addresses are masked."""

    partition_key: str
    new_attendees: int = 0
    granted: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    batches: tuple[PlannedBatch, ...] = ()
    list_joining: int = 0
    list_leaving: int = 0
    withdrawn: int = 0  # from scheduled campaigns, having lost the ticket
    problems: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        changes = (self.granted, self.revoked, self.batches, self.list_joining, self.list_leaving, self.withdrawn)
        return not any(changes)


@dataclass(frozen=True, slots=True)
class Plan:
    edition: str | None
    events: tuple[EventPlan, ...]
    left_alone: tuple[str, ...]
    problems: tuple[str, ...]
    new_template: str | None  # its name, when it would be looked for or made


def make_plan(services: Services, consents: Iterable[str] = ()) -> Plan:
    """Read the world and play one poll. Pauses after failures are not respected: this is all that is due."""
    with shadow(services) as copy, DagsterInstance.ephemeral() as instance:
        tick = observe(copy, instance)
        copy.fresh_books = {fact.partition.event_id: fact.book for fact in tick.facts.values() if fact.book}
        poll_id = new_poll_id(copy.clock())
        events = [
            _plan_orders_and_access(copy, fact.partition, tick.decisions[key].access, poll_id, frozenset(consents))
            for key, fact in sorted(tick.facts.items())
            if tick.decisions[key].access
        ]
        name = copy.mail(tick.discovery.edition).name if tick.discovery.edition else None
        is_known = name is not None and copy.ledger.remote_id("template", name) is not None
        return Plan(
            tick.discovery.edition,
            tuple(events),
            tuple(f"event {event.event_id} ({event.name}): {event.reason}" for event in tick.discovery.unmatched),
            (*tick.problems, *tick.warnings),
            None if is_known else name,
        )


def _plan_orders_and_access(
    copy: Services, partition: EventPartition, access: tuple[str, ...], poll_id: str, consents: frozenset[str]
) -> EventPlan:
    """One event failing keeps no other from being planned, as in a poll."""
    new = 0
    try:
        if ACCESS_CHAIN[0] in access:
            new = read_orders(copy, partition, consents).outcome.new
        return plan_access(copy, partition, poll_id, consents, new)
    except (ServiceError, UntrustedBook) as error:
        return EventPlan(partition.key, new, problems=(str(error),))


def plan_access(
    copy: Services, partition: EventPartition, poll_id: str, consents: frozenset[str], new_attendees: int = 0
) -> EventPlan:
    """From the stored orders on: the guest list, the ticket-holder list, the batches. ``copy`` is a shadow."""
    snapshot = copy.vault.read(partition.key)
    if snapshot is None:
        return EventPlan(partition.key)
    holders = snapshot.holders(copy.pseudonymizer)
    before = _guests(copy)
    outcome = guest_list_step(copy, poll_id, consents).run(partition, holders)
    after = _guests(copy)
    joining, leaving = list_changes(holders, copy.ledger.members_of(partition.key))
    batches, problems = _plan_batches(copy, partition, holders, poll_id, consents)
    return EventPlan(
        partition.key,
        new_attendees,
        tuple(masked(after[key]) for key in sorted(after.keys() - before.keys())),
        tuple(masked(before[key]) for key in sorted(before.keys() - after.keys())),
        batches,
        len(joining),
        len(leaving),
        _withdrawn(copy, partition),
        (*outcome.problems, *problems),
    )


def _withdrawn(copy: Services, partition: EventPartition) -> int:
    scheduled = [b for b in copy.ledger.open_batches(partition.key) if b.send_at and b.send_at > copy.clock()]
    return sum(len(copy.ledger.lapsed_invitations(batch)) for batch in scheduled)


def _guests(copy: Services) -> dict[str, str]:
    """Pseudonym -> address on the (rehearsed) guest list."""
    if copy.gather is None:
        return {}
    return {copy.pseudonymizer.address(address): address for address in copy.gather.read().entries}


def _plan_batches(
    copy: Services, partition: EventPartition, holders: Mapping[str, Holder], poll_id: str, consents: frozenset[str]
) -> tuple[tuple[PlannedBatch, ...], list[str]]:
    step = campaign_step(copy, partition, poll_id, consents, lambda: "")
    unsent = copy.ledger.open_batches(partition.key)
    claimed = step.claim_newcomers(partition, holders, unsent)
    begun = [_planned(copy, batch, holders, is_new=False) for batch in unsent if batch.state == "open"]
    new = [_planned(copy, claimed, holders, is_new=True)] if claimed else []
    return (*begun, *new), step.outcome.problems


def _planned(copy: Services, batch: Batch, holders: Mapping[str, Holder], *, is_new: bool) -> PlannedBatch:
    invited = copy.ledger.invitations_of(batch.batch_key)
    people = [holders[item.address_key] for item in invited if item.state == "claimed" and item.address_key in holders]
    profiles = copy.klaviyo.find_profiles([holder.spelled for holder in people])
    reasons = Counter(reason for profile in profiles if (reason := profile.unreachable_because))
    return PlannedBatch(tuple(masked(holder.address) for holder in people), batch.send_at, is_new, dict(reasons))


def as_document(plan: Plan) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "edition": plan.edition,
        "events": {event.partition_key: _event_document(event) for event in plan.events},
        "left_alone": plan.left_alone,
        "problems": plan.problems,
        "new_template": plan.new_template,
    }


def _event_document(event: EventPlan) -> dict[str, Any]:
    return {
        "new_attendees": event.new_attendees,
        "granted": event.granted,
        "revoked": event.revoked,
        "batches": [
            {
                "people": batch.people,
                "send_at": batch.send_at.isoformat() if batch.send_at else None,
                "is_new": batch.is_new,
                "unreachable": dict(batch.unreachable),
            }
            for batch in event.batches
        ],
        "list_joining": event.list_joining,
        "list_leaving": event.list_leaving,
        "withdrawn": event.withdrawn,
        "problems": event.problems,
    }
