"""``plan``: show what the next poll would change outside, by running its own steps on a dry-run copy."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pycontw_assets.api.client import ServiceError
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import unchecked_services
from pycontw_assets.commands.poll import add_overrides
from pycontw_assets.extract.snapshot import UntrustedBook
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.pipeline.access_plan import EventPlan, PlannedBatch, plan_access
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.dry_run import dry_run_copy
from pycontw_assets.pipeline.observe import observe
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN
from pycontw_assets.pipeline.steps import read_orders
from pycontw_assets.records import EventPartition
from pycontw_assets.vault.vault import VaultError

_MOST_PEOPLE = 10


def add_to(commands: Commands) -> None:
    """Register the command."""
    plan = commands.add_parser(
        "plan",
        help="show what the next poll would change outside",
        description="Show what the next poll would change outside: people let in, people removed, mails, with masked "
        "addresses. Change nothing.",
        epilog="Exit 0: nothing stands in the way. 1: something would wait for a person, or cannot be read. 2: the "
        "configuration is wrong.",
    )
    plan.add_argument("--json", action="store_true", help="print one JSON document with everybody in it")
    add_overrides(plan, "plan a poll with this override")
    plan.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    plan = make_plan(unchecked_services(), parsed.allow)
    document = json.dumps(as_document(plan), ensure_ascii=False, indent=2)
    print(document if parsed.json else "\n".join(describe_plan(plan)))
    return FAILED if plan.problems or any(event.problems for event in plan.events) else FINE


# -- the question ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of the next poll, by event."""

    edition: str | None
    events: tuple[EventPlan, ...]
    left_alone: tuple[str, ...]
    problems: tuple[str, ...]
    new_template: str | None  # the name of a template that would be looked for or made


def make_plan(services: Services, overrides: Iterable[str] = ()) -> Plan:
    """Read the world and play one poll. Pauses after failures are ignored, so everything that is due is planned."""
    from dagster import DagsterInstance

    from pycontw_assets.orchestration.sensors import new_poll_id

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
    """Plan one event. As in a poll, one that fails keeps no other from being planned."""
    new = 0
    try:
        if ACCESS_CHAIN[0] in access:
            new = read_orders(copy, partition, overrides).outcome.new
        return plan_access(copy, partition, poll_id, overrides, new)
    except (ServiceError, UntrustedBook, VaultError) as error:
        return EventPlan(partition.key, new, problems=(str(error),))


def as_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as ``--json`` prints it."""
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


# -- the printing ----------------------------------------------------------------------------------


def describe_plan(plan: Plan) -> Iterator[str]:
    """Yield a block of lines per event, with masked addresses."""
    busy = [event for event in plan.events if not event.is_empty]
    yield f"edition {plan.edition or 'none'}: {len(plan.events)} events, {len(busy)} with changes outside"
    if plan.new_template and busy:
        yield f"template {plan.new_template}: found by name, or made"
    for event in plan.events:
        yield from _describe_event(event)
    yield from (f"left   {text}" for text in plan.left_alone)
    yield from (paint(f"       ! {text}", "yellow") for text in plan.problems)


def _describe_event(event: EventPlan) -> Iterator[str]:
    new = f" ({event.new_attendees} new attendees)" if event.new_attendees else ""
    yield paint(event.partition_key, "bold") + new + (": nothing to change" if event.is_empty else "")
    if event.granted:
        yield f"       + {len(event.granted)} on the guest list: {_join(event.granted)}"
    if event.revoked:
        yield f"       - {len(event.revoked)} off the guest list: {_join(event.revoked)}"
    if event.list_joining or event.list_leaving:
        yield f"       ticket-holder list: {event.list_joining} added, {event.list_leaving} removed"
    yield from (f"       {_describe_batch(batch)}" for batch in event.batches)
    if event.withdrawn:
        yield f"       - {event.withdrawn} off scheduled campaigns"
    yield from (paint(f"       ! {text}", "yellow") for text in event.problems)


def _describe_batch(batch: PlannedBatch) -> str:
    when = f"scheduled for {batch.send_at:%Y-%m-%d %H:%M} UTC" if batch.send_at else "sent at once"
    what = "batch of" if batch.is_new else "batch begun before, of"
    unreachable = [f"{count} not reachable ({reason})" for reason, count in batch.unreachable.items()]
    return "; ".join([f"{what} {len(batch.people)}, {when}: {_join(batch.people)}", *unreachable])


def _join(people: tuple[str, ...]) -> str:
    rest = len(people) - _MOST_PEOPLE
    return ", ".join(people[:_MOST_PEOPLE]) + (f" and {rest} more" if rest > 0 else "")
