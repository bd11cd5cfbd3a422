"""``trace``: show how far one buyer came at each step, for the help desk.

Vault and ledger are read; the services only on request. The buyer is named by a masked address only.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.authorize.guest_list import looks_ours
from pycontw_assets.authorize.spaces import Space
from pycontw_assets.commands.console import paint, read_argument
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_to_read, mention_pause
from pycontw_assets.commands.lookup import HELP, METAVAR, Person, describe_choice, find_people
from pycontw_assets.deidentify.holders import contact_address, spellings_of
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.ledger.batches import get_batch
from pycontw_assets.ledger.database.tables import InviteState
from pycontw_assets.ledger.discord.invites import Invite, guild_state, latest_invite
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import AccessPeriod, Invited, invitations_of, periods_of
from pycontw_assets.ledger.polls import Poll, last_poll
from pycontw_assets.ledger.resending.repeats import repeats_of
from pycontw_assets.pipeline.consistency.orders import read_for_people
from pycontw_assets.pseudonyms import Pseudonymizer, former_addresses, is_mailable, normalise_address
from pycontw_assets.records import AttendeeRecord, EventPartition, OrderSnapshot, TicketState
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.recipients import describe_end
from pycontw_assets.send_email.reporting.mail_events import describe_mails
from pycontw_assets.vault.vault import OrdersStore, VaultError

Condition = Literal[TicketState, "quarantined"]


def add_to(commands: Commands) -> None:
    """Register the command."""
    trace = commands.add_parser(
        "trace",
        help="show how far one buyer came, and what comes next",
        description="Show how far one buyer came at each step, why, and what comes next. The address is masked.",
        epilog="Exit 0: the buyer was found. 1: nobody here is known by that, or several people are. 2: the "
        "configuration is wrong.",
    )
    trace.add_argument("buyer", metavar=METAVAR, help=HELP)
    trace.add_argument("--live", action="store_true", help="also ask Gather and Klaviyo")
    trace.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose_to_read(used_in=ANYWHERE)
    buyer = read_argument(parsed.buyer)
    result = trace(
        buyer,
        vault=root.vault_to_read,
        ledger=root.ledger_to_read,
        pseudonymizer=root.pseudonymizer,
        gather=root.gather,
        klaviyo=root.klaviyo,
        is_live=parsed.live,
    )
    print("\n".join(describe_trace(result)))
    mention_pause(root.ledger_to_read)
    return FINE if result.passages or result.imports else FAILED


# -- the question ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TicketTrace:
    """One ticket as last read; ``text`` explains its condition."""

    partition_key: str
    attendee_id: int
    condition: Condition
    text: str
    table: str


@dataclass(frozen=True, slots=True)
class Passage:
    """The way of one address through one edition. ``discord``: ``None`` where it is no venue."""

    edition: str
    tickets: tuple[TicketTrace, ...]
    guest_list: str
    invitation: str
    next: str
    discord: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything known of a buyer. ``who`` is masked. Without passages, ``hints`` say why nothing may be known.

    ``choice`` asks which of several people is meant; then nothing is said of any of them. ``warnings``: orders that
    could not be read, or not all of them, so that the answer may lack something. ``imports``: lines about seats in
    imports of former editions, from which nothing follows.
    """

    who: str
    passages: tuple[Passage, ...]
    live: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    choice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()


def trace(
    buyer: str,
    *,
    vault: OrdersStore,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    gather: GatherClient | None = None,
    klaviyo: KlaviyoClient | None = None,
    is_live: bool = False,
) -> Trace:
    """Follow a buyer, named by an address or by a number in KKTIX.

    Only where it ``is_live`` the services are asked. ``gather`` or ``klaviyo`` is ``None`` where it is switched off.
    """
    orders = read_for_people(vault, ledger)
    snapshots = {partition: read.snapshot for partition, read in orders.items() if read.snapshot}
    unread = {partition: read.unread for partition, read in orders.items() if read.unread}
    warnings = (*unread.values(), *(read.note for read in orders.values() if read.note))
    people = find_people(buyer, snapshots)
    if not people:
        return Trace(f"number {buyer.strip()}", (), hints=tuple(_hints(snapshots)), warnings=warnings)
    if len(people) > 1:
        return Trace(f"{len(people)} people", (), choice=tuple(describe_choice(buyer, people)), warnings=warnings)
    [person] = people
    address = person.address
    tickets = list(_tickets(ledger, snapshots, person))
    spellings = _spellings(buyer, person, snapshots)
    keys = [pseudonymizer.digest(spelling) for spelling in spellings]
    periods, invited = _recorded(keys, ledger)
    has_discord = guild_state(ledger).is_on
    repeats = [item for key in keys for item in repeats_of(ledger, key)]
    recorded = {period.edition for period in periods} | {item.edition for item in invited}
    editions = sorted({ticket.partition_key[:4] for ticket in tickets} | recorded)
    passages = [
        _passage(
            edition,
            [ticket for ticket in tickets if ticket.partition_key.startswith(f"{edition}-")],
            next((period for period in reversed(periods) if period.edition == edition), None),
            next((item for item in reversed(invited) if item.edition == edition), None),
            unread=[partition.key for partition in unread if partition.edition == edition],
            repeats=[item.asked_at for item in repeats if item.edition == edition],
            is_mailable_address=address is not None and is_mailable(address),
            spaces=gather.spaces if gather else (),
            has_discord=has_discord,
            invite=latest_invite(ledger, edition, keys) if has_discord else None,
            now=ledger.clock(),
        )
        for edition in editions
    ]
    live = tuple(_ask_services(address, spellings, gather, klaviyo)) if is_live and address else ()
    if is_live and klaviyo and invited:
        batches = [(item.profile_id, get_batch(ledger, item.batch_key)) for item in invited]
        live += tuple(describe_mails(klaviyo, batches))
    imported = tuple(_in_imports(address, ledger, vault)) if address else ()
    hints = () if passages or imported else tuple(_hints(snapshots))
    return Trace(person.who, tuple(passages), live, hints, warnings=warnings, imports=imported)


def _in_imports(address: str, ledger: Ledger, vault: OrdersStore) -> Iterator[str]:
    """Yield a line per import that has seats of the address. They give no access today."""
    for key in known_imports(ledger):
        try:
            stored = vault.read(key)
        except VaultError as error:
            yield str(error)
            continue
        addresses = [contact_address(record.attendee) for record in stored.records.values()] if stored else []
        if seats := sum(each is not None and normalise_address(each) == address for each in addresses):
            yield f"{key}: {seats} attendees of a former edition, which let nobody in and mail nobody"


def _spellings(buyer: str, person: Person, snapshots: Mapping[EventPartition, OrderSnapshot]) -> list[str]:
    """Return the forms of a mailbox in which ledger and services may know it, today's last; none without an address."""
    if not person.address:
        return []
    records = (snapshots[seat.partition].records.get(seat.attendee_id) for seat in person.seats)
    typed = {*spellings_of(record for record in records if record), person.address}
    if normalise_address(buyer) == person.address:
        typed.add(buyer)
    return [*sorted({form for spelling in typed for form in former_addresses(spelling)}), person.address]


def _recorded(keys: Iterable[str], ledger: Ledger) -> tuple[list[AccessPeriod], list[Invited]]:
    """Return the records of a mailbox. A ledger that is not renewed yet has them under older pseudonyms."""
    periods = [period for key in keys for period in periods_of(ledger, key)]
    return periods, [invited for key in keys for invited in invitations_of(ledger, key)]


# -- tickets ----------------------------------------------------------------------------------------


def _tickets(
    ledger: Ledger, snapshots: Mapping[EventPartition, OrderSnapshot], person: Person
) -> Iterator[TicketTrace]:
    polls = {partition: last_poll(ledger, partition.key) for partition in {seat.partition for seat in person.seats}}
    for seat in person.seats:
        partition, snapshot = seat.partition, snapshots[seat.partition]
        if record := snapshot.records.get(seat.attendee_id):
            yield _ticket(partition, snapshot, record, polls[partition])
        elif item := snapshot.quarantine.get(seat.attendee_id):
            text = f"could not be read since {at(item.since)} (tried {item.attempts} times): {item.reason}"
            yield TicketTrace(partition.key, seat.attendee_id, "quarantined", text, "no row")


def _ticket(
    partition: EventPartition, snapshot: OrderSnapshot, record: AttendeeRecord, poll: Poll | None
) -> TicketTrace:
    number, condition = record.attendee.attendee_id, record.ticket_state
    text = f"{_explain(record)}; seen since {at(record.first_seen_at)}, last read {at(record.read_at)}"
    if number in snapshot.quarantine:
        item = snapshot.quarantine[number]
        text += f"; cannot be read any more since {at(item.since)} ({item.reason}), the last description is kept"
    is_loaded = poll is not None and poll.content_digest == poll.loaded_digest
    return TicketTrace(partition.key, number, condition, text, "row up to date" if is_loaded else "row is behind")


def _explain(record: AttendeeRecord) -> str:
    """Return the state of a ticket in the words of every view, and the reason for it."""
    if record.gone_at is not None:
        return f"cancelled: it left the attendance book, found {at(record.gone_at)}"
    # Only words of the policy: any other text may name a person.
    listed = load_policy().vocabularies["state"]
    state_at_kktix = found if (found := record.attendee.state) in listed else "one that this program does not know"
    reasons: dict[TicketState, str] = {
        "usable": f"paid and valid since {at(record.changed_at or record.first_seen_at)}",
        "unpaid": f"its state is {state_at_kktix}",
        "not activated": f"paid, but its state is {state_at_kktix}",
        "missing": "the attendance book lacks it; cancelled when the next poll misses it, too, and KKTIX does not call "
        "it paid",
        "unclear": "KKTIX does not say whether it is paid and valid",
        "cancelled": f"its state is {state_at_kktix}",
    }
    state = record.ticket_state
    return f"{state}: {reasons[state]}"


# -- guest list, invitation, what comes next ----------------------------------------------------------


def _passage(
    edition: str,
    tickets: list[TicketTrace],
    period: AccessPeriod | None,
    invited: Invited | None,
    *,
    unread: Collection[str],
    repeats: Collection[datetime],
    is_mailable_address: bool,
    spaces: Sequence[Space],
    has_discord: bool,
    invite: Invite | None,
    now: datetime,
) -> Passage:
    current = _current(invited, period)
    following = _next(
        tickets,
        period,
        current,
        is_mailable_address=is_mailable_address,
        waits_for_link=has_discord and (invite is None or invite.state in _WITHOUT_LINK),
        now=now,
    )
    if unread and not {ticket.condition for ticket in tickets} & {"usable", "missing"}:
        following = f"not known: the orders of {', '.join(unread)} could not be read, and a ticket may be among them"
    return Passage(
        edition,
        tuple(tickets),
        _guest_list(period, spaces),
        _invitation(current, invited, now) + _repeated(repeats),
        following,
        _describe_invite(invite) if has_discord else None,
    )


# No mail leaves before the invite is there that it links to.
_WITHOUT_LINK: Mapping[InviteState, str] = {
    "intended": "waits for an invite",
    "creating": "an invite is being made",
    "ended": "no invite; the last one has ended",
}


def _describe_invite(invite: Invite | None) -> str:
    """Say how far the invite to Discord came."""
    if invite is None:
        return "no invite yet"
    if invite.state == "open":
        return "has an invite, not used yet"
    if invite.state == "deleting":
        return "the invite is being deleted"
    if invite.state == "used":
        by = "a member who has the role" if invite.trace == "member" else "somebody; it is not known which member"
        return f"the invite was used by {by}, seen {at(invite.gone_at)}"
    return _WITHOUT_LINK[invite.state]


def _current(invited: Invited | None, period: AccessPeriod | None) -> Invited | None:
    """Return the latest invitation if it is for the present access period."""
    return invited if invited and (period is None or invited.period >= period.period) else None


def _guest_list(period: AccessPeriod | None, spaces: Sequence[Space]) -> str:
    if period is None:
        return "never let in"
    by = "by us" if period.added_by_us else "by hand, before us"
    where = _place(period, spaces)
    if period.state == "granted":
        return f"on it, {by}{where}, seen there {at(period.granted_at)}"
    if period.state == "assumed":
        return f"switched off; counts as let in since {at(period.intended_at)}"
    if period.state == "revoking":
        return "being removed"
    if period.state == "revoked":
        return f"removed {at(period.revoked_at)}"
    tried = f"; tried {period.attempts} times, again at {at(period.retry_at)}" if period.attempts else ""
    return f"being let in since {at(period.intended_at)}{where}{tried}"


def _place(period: AccessPeriod, spaces: Sequence[Space]) -> str:
    """Return the space of a period, for a sentence. With one space there is nothing to say."""
    names = [f", {_name(spaces, space)}" for space in spaces if space.digest == period.space_digest]
    return "".join(names) if len(spaces) > 1 else ""


def _name(spaces: Sequence[Space], space: Space) -> str:
    """Return a space by its place in the setting, with the name that its visitors see."""
    return f"space {spaces.index(space) + 1} ({space.space_id.partition(_BACKSLASH)[2]})"


_BACKSLASH = "\\"


def _repeated(repeats: Collection[datetime]) -> str:
    return f"; asked for once more with `resend`: {', '.join(map(at, sorted(repeats)))}" if repeats else ""


def _invitation(current: Invited | None, latest: Invited | None, now: datetime) -> str:
    if current is None:
        return "none for the present ticket; one for an earlier ticket" if latest else "none yet"
    if _awaits_release(current):
        return f"its campaign ended as {current.remote_status}: {describe_end(current.remote_status)}"
    if current.state == "unreachable":
        return f"not reachable: {current.reason}"
    if current.state == "marked":
        return "invited by other means (marked as invited)"
    if current.way == "event" and current.state in ("claimed", "accepted"):
        return _by_event(current, now)
    if current.state == "claimed":
        return f"in batch {current.batch_key}, which is being prepared"
    if current.send_at and current.send_at > now:
        return f"handed to Klaviyo {at(current.accepted_at)}, scheduled for {at(current.send_at)}"
    if current.batch_state == "cancelled":
        return f"got the mail before its campaign ended as {current.remote_status} {at(current.ended_at)}"
    ended = f", {current.remote_status} {at(current.ended_at)}" if current.ended_at else ""
    return f"handed to Klaviyo {at(current.accepted_at)}{ended} (batch {current.batch_key})"


def _by_event(current: Invited, now: datetime) -> str:
    if current.seen_at:
        return f"handed to Klaviyo as an event {at(current.handed_at)}, its mail seen {at(current.seen_at)}"
    if current.handed_at:
        return f"handed to Klaviyo as an event {at(current.handed_at)}; its mail was not seen yet"
    if current.event_id:
        return (
            f"its event may have been handed to Klaviyo (batch {current.batch_key}); the same one is handed over again"
        )
    if current.send_at and current.send_at > now:
        return f"in batch {current.batch_key}, whose events are held back until {at(current.send_at)}"
    return f"in batch {current.batch_key}, whose events are handed over next"


def _next(
    tickets: list[TicketTrace],
    period: AccessPeriod | None,
    invited: Invited | None,
    *,
    is_mailable_address: bool,
    waits_for_link: bool,
    now: datetime,
) -> str:
    conditions = {ticket.condition for ticket in tickets}
    if not conditions & {"usable", "missing"}:
        return _next_without_ticket(conditions, period)
    if not is_mailable_address:
        return "nothing: the ticket's contact address cannot be one; have it corrected in KKTIX"
    if period is None or period.state in ("revoked", "revoking"):
        return "the next poll lets them in, then invites them"
    if period.state == "intended":
        when = f"at {at(period.retry_at)}" if period.retry_at and period.retry_at > now else "by the next poll"
        return f"letting in is tried again {when}; the invitation follows"
    if invited is None and waits_for_link:
        return "the next poll makes their invite to Discord, unless the guild is full (see `status`); then it mails it"
    if invited is None:
        return "the next poll invites them, unless INVITE_LIMIT or a waiting batch says otherwise (see `status`)"
    if _awaits_release(invited):
        return f"no other mail before `pycontw-assets release {invited.batch_key}`, which asks Klaviyo who got this one"
    if invited.state == "unreachable":
        return "no mail: tell them in person that they may enter with the address they bought with"
    return _next_of_batch(invited, now)


def _next_of_batch(invited: Invited, now: datetime) -> str:
    is_ahead = invited.send_at is not None and invited.send_at > now
    if invited.state == "claimed" and not (is_ahead and invited.way == "event"):
        return "the next poll goes on with the batch"
    if is_ahead and not invited.handed_at:
        return f"the {'event' if invited.way == 'event' else 'mail'} leaves {at(invited.send_at)}"
    if invited.handed_at and not invited.seen_at:
        return "they may enter; whether the mail left is asked every hour"
    return "nothing: they may enter, and were invited"


def _awaits_release(invited: Invited) -> bool:
    """Whether it is not known yet if the mail left before its campaign was cancelled."""
    is_open = invited.state == "unreachable" and invited.reason == invited.remote_status
    return is_open and invited.batch_state == "cancelled"


def _next_without_ticket(conditions: set[Condition], period: AccessPeriod | None) -> str:
    if conditions & {"quarantined", "unclear"}:
        return "every poll tries to read it again; access follows then"
    if "unpaid" in conditions:
        return "every poll looks; once KKTIX says paid, access and invitation follow within one poll"
    if "not activated" in conditions:
        return "every poll looks; once KKTIX says activated, access and invitation follow within one poll"
    if period and period.state != "revoked" and period.added_by_us:
        return "the next poll removes them from the guest list"
    return "nothing: there is no usable ticket"


# -- live -------------------------------------------------------------------------------------------


def _ask_services(
    address: str, spellings: Collection[str], gather: GatherClient | None, klaviyo: KlaviyoClient | None
) -> Iterator[str]:
    """Yield what Gather and Klaviyo say of an address now."""
    if gather is None:
        yield "Gather: switched off"
    else:
        yield from _ask_gather(address, gather)
    if klaviyo is None:
        yield "Klaviyo: switched off"
        return
    profiles = klaviyo.find_profiles(spellings)
    if not profiles:
        yield "Klaviyo: no profile"
    # One mailbox: it opted out if it did in any spelling.
    reasons = dict.fromkeys(reason for profile in profiles if (reason := profile.unreachable_because))
    yield from (f"Klaviyo: mail is not delivered ({reason})" for reason in reasons)
    if profiles and not reasons:
        is_silent = any(profile.can_receive_email is None for profile in profiles)
        yield f"Klaviyo: {'does not say whether mail can' if is_silent else 'mail can'} be delivered"


def _ask_gather(address: str, gather: GatherClient) -> Iterator[str]:
    """Yield a line for each space that lists the address, or that none does."""
    is_listed = False
    for space, client in gather.each().items():
        listed = client.read().entries.items()
        entries = [entry for name, entry in listed if normalise_address(name) == address]
        if not entries:
            continue
        is_listed = True
        where = f" of {_name(gather.spaces, space)}" if len(gather.spaces) > 1 else ""
        author = "as this program writes it" if looks_ours(entries[0]) else "edited or added by somebody"
        yield f"Gather: on the guest list{where}, {author}"
    if not is_listed:
        yield "Gather: not on the guest list"


def _hints(snapshots: Mapping[EventPartition, OrderSnapshot]) -> Iterator[str]:
    yield (
        "no order stored here has this address or number. Another spelling, or bought minutes ago? Ask for the number "
        "of the order"
    )
    for partition, snapshot in snapshots.items():
        if snapshot.quarantine:
            yield f"{len(snapshot.quarantine)} attendees of {partition.key} could not be read; it may be one of them"


def at(moment: datetime | None) -> str:
    """Return a moment as it is printed."""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"


# -- the printing ----------------------------------------------------------------------------------


def describe_trace(result: Trace) -> Iterator[str]:
    """Yield the lines of a trace."""
    yield from (paint(f"! {line}", "red") for line in result.warnings)
    if result.choice:
        yield from result.choice
        return
    if not (result.passages or result.imports):
        yield f"{result.who}: unknown"
    for passage in result.passages:
        yield from _describe_passage(result.who, passage)
    if result.imports:
        yield paint(f"{result.who}, imports", "bold")
    yield from (f"  import  {line}" for line in result.imports)
    yield from (f"  now     {line}" for line in result.live)
    yield from (f"  hint    {line}" for line in result.hints)


def _describe_passage(who: str, passage: Passage) -> Iterator[str]:
    yield paint(f"{who}, edition {passage.edition}", "bold")
    for ticket in passage.tickets:
        yield f"  ticket  {ticket.partition_key} attendee {ticket.attendee_id}: {ticket.text}"
        yield f"  table   {ticket.table}"
    if not passage.tickets:
        yield "  ticket  none in the vault"
    yield f"  guest list  {passage.guest_list}"
    if passage.discord:
        yield f"  discord  {passage.discord}"
    yield f"  invitation  {passage.invitation}"
    yield f"  next    {passage.next}"
