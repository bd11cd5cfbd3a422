"""``plan``: what the next poll would change outside, changing nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE
from pycontw_assets.commands.instance import unchecked_services
from pycontw_assets.commands.polling import add_overrides

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands
    from pycontw_assets.pipeline.access_plan import EventPlan, PlannedBatch
    from pycontw_assets.pipeline.plan import Plan

_MOST_NAMED = 10


def add_to(commands: Commands) -> None:
    plan = commands.add_parser("plan", help="what a poll would change outside; changes nothing")
    plan.add_argument("--json", action="store_true", help="print one JSON document, nobody left out")
    add_overrides(plan)
    plan.set_defaults(run=_plan)


def _plan(parsed: argparse.Namespace) -> int:
    services = unchecked_services()
    from pycontw_assets.pipeline.plan import as_document, make_plan

    plan = make_plan(services, parsed.allow)
    document = json.dumps(as_document(plan), ensure_ascii=False, indent=2)
    print(document if parsed.json else "\n".join(describe_plan(plan)))
    return FAILED if plan.problems or any(event.problems for event in plan.events) else FINE


def describe_plan(plan: Plan) -> Iterator[str]:
    """One block per event that something changes for; addresses are masked."""
    busy = [event for event in plan.events if not event.is_empty]
    yield f"edition {plan.edition or 'none'}: {len(plan.events)} events, {len(busy)} with changes outside"
    if plan.new_template and busy:
        yield f"template {plan.new_template}: looked for by name, made when there is none"
    for event in plan.events:
        yield from _describe_event(event)
    yield from (f"left   {text}" for text in plan.left_alone)
    yield from (paint(f"       ! {text}", "yellow") for text in plan.problems)


def _describe_event(event: EventPlan) -> Iterator[str]:
    new = f" ({event.new_attendees} new attendees)" if event.new_attendees else ""
    yield paint(event.partition_key, "bold") + new + (": nothing to change" if event.is_empty else "")
    if event.granted:
        yield f"       + {len(event.granted)} on the guest list: {_named(event.granted)}"
    if event.revoked:
        yield f"       - {len(event.revoked)} off the guest list: {_named(event.revoked)}"
    if event.list_joining or event.list_leaving:
        yield f"       ticket-holder list: {event.list_joining} join, {event.list_leaving} leave"
    yield from (f"       {_describe_batch(batch)}" for batch in event.batches)
    if event.withdrawn:
        yield f"       - {event.withdrawn} off scheduled campaigns"
    yield from (paint(f"       ! {text}", "yellow") for text in event.problems)


def _describe_batch(batch: PlannedBatch) -> str:
    when = f"scheduled for {batch.send_at:%Y-%m-%d %H:%M} UTC" if batch.send_at else "sent at once"
    what = "batch of" if batch.is_new else "batch begun before, of"
    unreachable = [f"{count} not reachable ({reason})" for reason, count in batch.unreachable.items()]
    return "; ".join([f"{what} {len(batch.people)}, {when}: {_named(batch.people)}", *unreachable])


def _named(people: tuple[str, ...]) -> str:
    rest = len(people) - _MOST_NAMED
    return ", ".join(people[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
