"""The world of a dump -> a sandbox with the tickets, guests, profiles, lists and campaigns of the old ledger.

The ids must match, so the objects are planted directly, without the sandbox's actions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.gather import GuestFact
from pycontw_assets.sandbox.kktix.box_office import HostedEvent, Ticket, TicketFact
from pycontw_assets.sandbox.kktix.people import Person
from pycontw_assets.sandbox.klaviyo.account import (
    Campaign,
    Mail,
    MailAccount,
    MailList,
    Membership,
    Profile,
    Template,
)
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.migration.fixture import V1, V2, Dump

_STATUSES_BEFORE_SENDING = 3  # as the account counts them until the mails of an accepted campaign leave


def plant(world: World, dump: Dump = V1) -> None:
    """Plant the objects in an empty world whose clock shows ``taken_at``."""
    file = json.loads(dump.world.read_text(encoding="utf-8"))
    texts = file["texts"]
    with world.context.lock:
        # A different sequence from the one of the planted ids: no new id may equal one of them.
        world.context.random.seed("after the fixture")
        _plant_kktix(world, file, texts)
        _plant_gather(world, file["gather"], texts)
        _plant_klaviyo(world.klaviyo, file["klaviyo"], texts)
        if dump is V2:
            _plant_events(world.klaviyo)


def _plant_kktix(world: World, file: dict[str, Any], texts: list[str]) -> None:
    kktix, tables = world.kktix, file["kktix"]
    for event in _objects(tables["events"], texts):
        event["books"] = {int(number): name for number, name in event["books"].items()}
        kktix.events[event["event_id"]] = HostedEvent(**event)
    for ticket in _objects(tables["tickets"], texts):
        ticket |= {"person": Person(**ticket["person"]), "books": set(ticket["books"])}
        kktix.tickets[ticket["attendee_id"]] = Ticket(**ticket)
    kktix.history += [TicketFact(**fact) for fact in _objects(tables["history"], texts)]
    kktix._next_event, kktix._next_book, kktix._next_attendee, kktix._next_order = file["next"]


def _plant_gather(world: World, tables: dict[str, Any], texts: list[str]) -> None:
    world.gather._lists[keys.GATHER_SPACE_ID].update(_decoded(tables["guests"]["rows"], texts))
    world.gather.hand_made.update(_decoded(tables["hand_made"]["rows"], texts))
    world.gather.history += [GuestFact(**fact) for fact in _objects(tables["history"], texts)]


def _plant_klaviyo(account: MailAccount, tables: dict[str, Any], texts: list[str]) -> None:
    for profile in _objects(tables["profiles"], texts):
        made = Profile(**profile)
        account.profiles[made.id] = made
        if made.email:
            account._by_address[made.email.strip().lower()] = made.id
    for mail_list in _objects(tables["lists"], texts):
        mail_list["memberships"] = [Membership(*membership) for membership in mail_list["memberships"]]
        account.lists[mail_list["id"]] = MailList(**mail_list)
    account.templates |= {template["id"]: Template(**template) for template in _objects(tables["templates"], texts)}
    account._outbox += [Mail(**mail) for mail in _objects(tables["outbox"], texts)]
    account.metrics = dict(tables["metrics"]["rows"])
    account.switches.refused_addresses = set(tables["refused_addresses"]["rows"])
    for campaign in _objects(tables["campaigns"], texts):
        planted = Campaign(**campaign)
        account.campaigns[planted.id] = planted
        if planted.accepted_at is not None and planted.outcome is None:
            delay = account.switches.status_step * _STATUSES_BEFORE_SENDING
            account.later(delay, _sending(account, planted, planted.accepted_at), start=planted.send_at)


def _plant_events(account: MailAccount) -> None:
    """Record that the mails arrived. The first dump is judged without these events, which nobody read at its time."""
    for mail in account._outbox:
        account._record_reaction("Received Email", mail.profile_id, account.campaigns[mail.campaign_id], mail.at)


def _sending(account: MailAccount, campaign: Campaign, accepted_at: datetime) -> Callable[[datetime], None]:
    """Send a campaign that was scheduled in the account."""
    return lambda at: account._send(campaign, accepted_at=accepted_at, at=at)


def _objects(table: dict[str, Any], texts: list[str]) -> Iterator[dict[str, Any]]:
    for row in table["rows"]:
        yield dict(zip(table["columns"], _decoded(row, texts), strict=True))


def _decoded(value: Any, texts: list[str]) -> Any:
    """Decode a value: ``@…`` is a time, ``#…`` the number of a long text."""
    if isinstance(value, list):
        return [_decoded(item, texts) for item in value]
    if isinstance(value, dict):
        return {name: _decoded(item, texts) for name, item in value.items()}
    if isinstance(value, str) and value.startswith("@"):
        return datetime.fromisoformat(value[1:])
    if isinstance(value, str) and value.startswith("#"):
        return texts[int(value[1:])]
    return value
