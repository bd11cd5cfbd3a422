"""What a poll would change outside, found out by running its own steps on a dry_run_copy. Changes nothing anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dagster import DagsterInstance

from pycontw_assets.api.client import ServiceError
from pycontw_assets.extract.snapshot import UntrustedBook
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.orchestration.sensors import new_poll_id
from pycontw_assets.pipeline.access_plan import EventPlan, plan_access
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.dry_run import dry_run_copy
from pycontw_assets.pipeline.observe import observe
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN
from pycontw_assets.pipeline.steps import read_orders
from pycontw_assets.records import EventPartition
from pycontw_assets.vault.vault import VaultError


@dataclass(frozen=True, slots=True)
class Plan:
    edition: str | None
    events: tuple[EventPlan, ...]
    left_alone: tuple[str, ...]
    problems: tuple[str, ...]
    new_template: str | None  # its name, when it would be looked for or made


def make_plan(services: Services, overrides: Iterable[str] = ()) -> Plan:
    """Read the world and play one poll. Pauses after failures are not respected: this is all that is due."""
    with dry_run_copy(services) as copy, DagsterInstance.ephemeral() as instance:
        tick = observe(copy, instance)
        copy.fresh_books = {fact.partition.event_id: fact.book for fact in tick.facts.values() if fact.book}
        poll_id = new_poll_id(copy.clock())
        events = [
            _plan_orders_and_access(copy, fact.partition, tick.decisions[key].access, poll_id, frozenset(overrides))
            for key, fact in sorted(tick.facts.items())
            if tick.decisions[key].access
        ]
        name = copy.mail(tick.discovery.edition).name if tick.discovery.edition else None
        is_known = name is not None and remembered_id(copy.ledger, "template", name) is not None
        return Plan(
            tick.discovery.edition,
            tuple(events),
            tuple(f"event {event.event_id} ({event.name}): {event.reason}" for event in tick.discovery.unmatched),
            (*tick.problems, *tick.warnings),
            None if is_known else name,
        )


def _plan_orders_and_access(
    copy: Services, partition: EventPartition, access: tuple[str, ...], poll_id: str, overrides: frozenset[str]
) -> EventPlan:
    """One event failing keeps no other from being planned, as in a poll."""
    new = 0
    try:
        if ACCESS_CHAIN[0] in access:
            new = read_orders(copy, partition, overrides).outcome.new
        return plan_access(copy, partition, poll_id, overrides, new)
    except (ServiceError, UntrustedBook, VaultError) as error:
        return EventPlan(partition.key, new, problems=(str(error),))


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
