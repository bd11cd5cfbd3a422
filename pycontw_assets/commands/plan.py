"""``plan``: show what the next poll would change outside, by running its own steps on a dry-run copy."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pycontw_assets.api.client import ServiceError
from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import compose_to_read
from pycontw_assets.commands.poll import add_overrides
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.extract.snapshot import UntrustedBook
from pycontw_assets.ledger.ledger import Clock, Ledger
from pycontw_assets.ledger.polls import Paused, paused_since
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.pipeline.dry_run import DryRun, EventPlan, PlannedBatch, PlannedInvites, dry_run, plan_access
from pycontw_assets.pipeline.observe import Tick, observe
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, RunHistory, new_poll_id
from pycontw_assets.pipeline.record import record_tick
from pycontw_assets.pipeline.steps import invitation, read_orders
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore, VaultError

_MOST_PEOPLE = 10


def add_to(commands: Commands) -> None:
    """Register the command."""
    plan = commands.add_parser(
        "plan",
        help="show what the next poll would change outside",
        description="Show what the next poll would change outside: people let in, people removed, invites to Discord, "
        "mails, with masked addresses. Change nothing.",
        epilog="Exit 0: nothing stands in the way. 1: something would wait for a person, or cannot be read. 2: the "
        "configuration is wrong.",
    )
    plan.add_argument("--json", action="store_true", help="print one JSON document with everybody in it")
    add_overrides(plan, "plan a poll with this override")
    plan.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose_to_read()
    plan = make_plan(
        parsed.allow,
        kktix=root.kktix,
        gather=root.gather,
        discord=root.discord,
        discord_roles=root.discord_roles,
        klaviyo=root.klaviyo,
        vault=root.vault_to_read,
        pseudonymizer=root.pseudonymizer,
        waits=root.waits,
        settings=root.settings,
        clock=root.clock,
    )
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
    paused_since: datetime | None = None
    waves: tuple[str, ...] = ()  # of a poll at work, or of one that ended before it had read everybody
    switched_off: tuple[str, ...] = ()


def make_plan(
    overrides: Collection[str] = (),
    *,
    kktix: KktixClient,
    gather: GatherClient | None,
    discord: DiscordClient | None,
    discord_roles: RoleRules | None,
    klaviyo: KlaviyoClient | None,
    vault: OrdersStore,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
    clock: Clock,
) -> Plan:
    """Read the world and play one poll on copies. The run history is ignored, so everything that is due is planned."""
    with dry_run(
        settings=settings,
        clock=clock,
        pseudonymizer=pseudonymizer,
        gather=gather,
        discord=discord,
        vault=vault,
        accepts_account="account" in overrides,
    ) as copies:
        tick = observe(
            kktix=kktix,
            klaviyo=klaviyo,
            vault=copies.vault,
            ledger=copies.ledger,
            settings=settings,
            history=RunHistory(),
        )
        record_tick(tick, ledger=copies.ledger, settings=settings)
        events = [
            _plan_event(
                tick,
                key,
                copies=copies,
                kktix=kktix,
                discord_roles=discord_roles,
                klaviyo=klaviyo,
                pseudonymizer=pseudonymizer,
                waits=waits,
                settings=settings,
                overrides=frozenset(overrides),
            )
            for key in sorted(tick.facts)
            if tick.decisions[key].access
        ]
        edition = tick.discovery.edition
        return Plan(
            edition,
            tuple(events),
            tuple(f"event {event.event_id} ({event.name}): {event.reason}" for event in tick.discovery.unmatched),
            (*tick.problems, *tick.warnings),
            _new_template(edition, copies.ledger, settings) if edition else None,
            paused_since(copies.ledger),
            tuple(f"{key}: wave: {fact.unread} more to be read" for key, fact in tick.facts.items() if fact.unread),
            tuple(settings.switched_off),
        )


def _plan_event(
    tick: Tick,
    key: str,
    *,
    copies: DryRun,
    kktix: KktixClient,
    discord_roles: RoleRules | None,
    klaviyo: KlaviyoClient | None,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
    overrides: frozenset[str],
) -> EventPlan:
    """Plan one event. As in a poll, one that fails keeps no other from being planned."""
    partition, new = tick.facts[key].partition, 0
    try:
        if ACCESS_CHAIN[0] in tick.decisions[key].access:
            orders = read_orders(
                partition,
                kktix=kktix,
                vault=copies.vault,
                ledger=copies.ledger,
                pseudonymizer=pseudonymizer,
                waits=waits,
                refresh=timedelta(seconds=settings.refresh_seconds),
                overrides=overrides,
                book=tick.books.get(partition.event_id),
            )
            new = orders.outcome.new
        return plan_access(
            partition,
            copies=copies,
            discord_roles=discord_roles,
            klaviyo=klaviyo,
            pseudonymizer=pseudonymizer,
            waits=waits,
            settings=settings,
            poll_id=new_poll_id(copies.ledger.clock()),
            overrides=overrides,
            new_attendees=new,
        )
    except (ServiceError, UntrustedBook, VaultError) as error:
        return EventPlan(partition.key, new, problems=(str(error),))


def _new_template(edition: str, ledger: Ledger, settings: Settings) -> str | None:
    """Return the name of the template that the next poll would look for or make."""
    if settings.mail_is_off:
        return None
    name = invitation(edition, settings).name
    return None if remembered_id(ledger, "template", name) else name


def as_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as ``--json`` prints it."""
    return {
        "edition": plan.edition,
        "events": {event.partition_key: _event_document(event) for event in plan.events},
        "left_alone": plan.left_alone,
        "problems": plan.problems,
        "new_template": plan.new_template,
        "switched_off": plan.switched_off,
        "paused_since": plan.paused_since.isoformat() if plan.paused_since else None,
        "waves": plan.waves,
    }


def _event_document(event: EventPlan) -> dict[str, Any]:
    return {
        "new_attendees": event.new_attendees,
        "granted": event.granted,
        "revoked": event.revoked,
        "invites": asdict(event.invites) if event.invites else None,
        "batches": [
            {
                "people": batch.people,
                "send_at": batch.send_at.isoformat() if batch.send_at else None,
                "is_new": batch.is_new,
                "way": batch.way,
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
    if plan.paused_since:
        yield paint(f"{Paused(plan.paused_since)}. The poll after that would do this:", "yellow")
    yield from (f"switched off: {text}" for text in plan.switched_off)
    if plan.new_template and busy:
        yield f"template {plan.new_template}: found by name, or made"
    for event in plan.events:
        yield from _describe_event(event)
    yield from (f"       {text}" for text in plan.waves)
    yield from (f"left   {text}" for text in plan.left_alone)
    yield from (paint(f"       ! {text}", "yellow") for text in plan.problems)


def _describe_event(event: EventPlan) -> Iterator[str]:
    new = f" ({event.new_attendees} new attendees)" if event.new_attendees else ""
    yield paint(event.partition_key, "bold") + new + (": nothing to change" if event.is_empty else "")
    if event.granted:
        yield f"       + {len(event.granted)} on the guest list: {_join(event.granted)}"
    if event.revoked:
        yield f"       - {len(event.revoked)} off the guest list: {_join(event.revoked)}"
    yield from _describe_invites(event.invites or PlannedInvites())
    if event.list_joining or event.list_leaving:
        yield f"       ticket-holder list: {event.list_joining} added, {event.list_leaving} removed"
    yield from (f"       {_describe_batch(batch)}" for batch in event.batches)
    if event.withdrawn:
        yield f"       - {event.withdrawn} off scheduled campaigns"
    yield from (paint(f"       ! {text}", "yellow") for text in event.problems)


def _describe_invites(invites: PlannedInvites) -> Iterator[str]:
    if invites.made:
        yield f"       + {invites.made} invites to Discord"
    if invites.deleted:
        yield f"       - {invites.deleted} unused invites to Discord deleted"
    if invites.roles_removed:
        yield f"       - {invites.roles_removed} members of the guild lose their role"
    if invites.waiting:
        yield f"       {invites.waiting} holders wait for their invite to Discord, and their mail: the guild is full"


def _describe_batch(batch: PlannedBatch) -> str:
    planned = "held back until" if batch.way == "event" else "scheduled for"
    when = f"{planned} {batch.send_at:%Y-%m-%d %H:%M} UTC" if batch.send_at else "sent at once"
    what = "batch of" if batch.is_new else "batch begun before, of"
    what += " events for" if batch.way == "event" else ""
    unreachable = [f"{count} not reachable ({reason})" for reason, count in batch.unreachable.items()]
    return "; ".join([f"{what} {len(batch.people)}, {when}: {_join(batch.people)}", *unreachable])


def _join(people: tuple[str, ...]) -> str:
    rest = len(people) - _MOST_PEOPLE
    return ", ".join(people[:_MOST_PEOPLE]) + (f" and {rest} more" if rest > 0 else "")
