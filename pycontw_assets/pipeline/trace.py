"""Where one buyer stands at each step, for the help desk: from vault and ledger, and from the services when asked to.

What is shown names the buyer by a masked address only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pycontw_assets.authorize.guest_list import looks_ours
from pycontw_assets.ledger.people import AccessPeriod, Invited, invitations_of, periods_of
from pycontw_assets.ledger.polls import Poll, last_poll
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.masking import masked
from pycontw_assets.pipeline.steps import stored_snapshots
from pycontw_assets.pseudonyms import is_mailable, normalise_address
from pycontw_assets.records import AttendeeRecord, EventPartition, OrderSnapshot

Condition = Literal["usable", "unpaid", "cancelled", "missing", "unclear", "quarantined"]


@dataclass(frozen=True, slots=True)
class TicketTrace:
    """One ticket as last read; ``text`` says it for a person."""

    partition_key: str
    attendee_id: int
    condition: Condition
    text: str
    table: str


@dataclass(frozen=True, slots=True)
class Passage:
    """The way of one address through one edition."""

    edition: str
    tickets: tuple[TicketTrace, ...]
    guest_list: str
    invitation: str
    next: str


@dataclass(frozen=True, slots=True)
class Trace:
    """``who`` is masked. Without passages nothing is known of them, and ``hints`` say why that may be."""

    who: str
    passages: tuple[Passage, ...]
    live: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


def trace(services: Services, wanted: str, *, live: bool = False) -> Trace:
    """``wanted`` is an address, or the number of an attendee in KKTIX."""
    snapshots = dict(stored_snapshots(services))
    attendee_id = int(wanted) if wanted.strip().isdecimal() else None
    address = normalise_address(wanted) if attendee_id is None else _address_of(snapshots, attendee_id)
    tickets = list(_tickets(services, snapshots, address, attendee_id))
    periods, invited = _remembered(services, address)
    remembered = {period.edition for period in periods} | {item.edition for item in invited}
    editions = sorted({ticket.partition_key[:4] for ticket in tickets} | remembered)
    passages = [
        _passage(
            services,
            edition,
            [ticket for ticket in tickets if ticket.partition_key.startswith(f"{edition}-")],
            next((period for period in reversed(periods) if period.edition == edition), None),
            next((item for item in reversed(invited) if item.edition == edition), None),
            address is not None and is_mailable(address),
        )
        for edition in editions
    ]
    who = masked(address) if address else f"attendee {attendee_id}"
    seen = tuple(_live(services, address)) if live and address else ()
    return Trace(who, tuple(passages), seen, () if passages else tuple(_hints(snapshots)))


def _remembered(services: Services, address: str | None) -> tuple[list[AccessPeriod], list[Invited]]:
    if not address:
        return [], []
    key = services.pseudonymizer.digest(address)
    return periods_of(services.ledger, key), invitations_of(services.ledger, key)


def _address_of(snapshots: Mapping[EventPartition, OrderSnapshot], attendee_id: int) -> str | None:
    for snapshot in snapshots.values():
        if record := snapshot.records.get(attendee_id):
            return _normalised(record)
    return None


def _normalised(record: AttendeeRecord) -> str | None:
    spelled = record.attendee.contact_address
    return normalise_address(spelled) if spelled else None


# -- tickets ----------------------------------------------------------------------------------------


def _tickets(
    services: Services,
    snapshots: Mapping[EventPartition, OrderSnapshot],
    address: str | None,
    attendee_id: int | None,
) -> Iterator[TicketTrace]:
    for partition, snapshot in sorted(snapshots.items(), key=lambda item: item[0].key):
        poll = last_poll(services.ledger, partition.key)
        for number, record in sorted(snapshot.records.items()):
            if number == attendee_id or (address and _normalised(record) == address):
                yield _ticket(partition, snapshot, record, poll)
        if attendee_id is None or attendee_id in snapshot.records:
            continue
        if item := snapshot.quarantine.get(attendee_id):
            text = f"could not be read since {at(item.since)} (tried {item.attempts} times): {item.reason}"
            yield TicketTrace(partition.key, attendee_id, "quarantined", text, "no row")


def _ticket(
    partition: EventPartition, snapshot: OrderSnapshot, record: AttendeeRecord, poll: Poll | None
) -> TicketTrace:
    number = record.attendee.attendee_id
    condition, text = _condition(record)
    text = f"{text}; seen since {at(record.first_seen_at)}, last read {at(record.read_at)}"
    if number in snapshot.quarantine:
        item = snapshot.quarantine[number]
        text += f"; cannot be read any more since {at(item.since)} ({item.reason}), what was known is kept"
        condition = "quarantined" if condition == "unclear" else condition
    is_loaded = poll is not None and poll.content_digest == poll.loaded_digest
    return TicketTrace(partition.key, number, condition, text, "row up to date" if is_loaded else "row is behind")


def _condition(record: AttendeeRecord) -> tuple[Condition, str]:
    attendee = record.attendee
    if record.gone_at is not None:
        return "cancelled", f"cancelled or refunded, found {at(record.gone_at)}"
    if record.missing_polls:
        return "missing", "missing from the attendance book; gone when the next poll misses it too"
    if record.is_defective:
        return "unclear", "KKTIX does not say whether it is paid and valid"
    if record.is_usable:
        return "usable", f"paid and valid since {at(record.changed_at or record.first_seen_at)}"
    if attendee.is_paid is not True:
        return "unpaid", f"not paid (state {attendee.state})"
    return "cancelled", f"paid, but its state is {attendee.state}"


# -- guest list, invitation, what comes next ----------------------------------------------------------


def _passage(
    services: Services,
    edition: str,
    tickets: list[TicketTrace],
    period: AccessPeriod | None,
    invited: Invited | None,
    is_mailable_address: bool,
) -> Passage:
    current = invited if invited and (period is None or invited.period >= period.period) else None
    now = services.clock()
    return Passage(
        edition,
        tuple(tickets),
        _guest_list(period),
        _invitation(current, invited, now),
        _next(tickets, period, current, is_mailable_address, now),
    )


def _guest_list(period: AccessPeriod | None) -> str:
    if period is None:
        return "never let in"
    by = "by us" if period.added_by_us else "by hand, before us"
    if period.state == "granted":
        return f"on it, {by}, seen there {at(period.granted_at)}"
    if period.state == "assumed":
        return f"switched off; counts as let in since {at(period.intended_at)}"
    if period.state == "revoking":
        return "being taken off"
    if period.state == "revoked":
        return f"taken off {at(period.revoked_at)}"
    tried = f"; tried {period.attempts} times, again at {at(period.retry_at)}" if period.attempts else ""
    return f"being let in since {at(period.intended_at)}{tried}"


def _invitation(current: Invited | None, latest: Invited | None, now: datetime) -> str:
    if current is None:
        return "none for the present ticket; an earlier one was answered for" if latest else "none yet"
    if current.state == "unreachable":
        return f"not reachable: {current.reason}"
    if current.state == "marked":
        return "invited by other means (adopted)"
    if current.state == "claimed":
        return f"in batch {current.batch_key}, which is being prepared"
    if current.send_at and current.send_at > now:
        return f"handed to Klaviyo {at(current.accepted_at)}, scheduled for {at(current.send_at)}"
    ended = f", {current.remote_status} {at(current.ended_at)}" if current.ended_at else ""
    return f"handed to Klaviyo {at(current.accepted_at)}{ended} (batch {current.batch_key})"


def _next(
    tickets: list[TicketTrace],
    period: AccessPeriod | None,
    invited: Invited | None,
    is_mailable_address: bool,
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
    if invited is None:
        return "the next poll invites them, unless INVITE_LIMIT or a waiting batch says otherwise (see `status`)"
    if invited.state == "unreachable":
        return "no mail by itself: tell them in person that they may enter with the address they bought with"
    if invited.state == "claimed":
        return "the next poll goes on with the batch"
    if invited.send_at and invited.send_at > now:
        return f"the mail leaves {at(invited.send_at)}"
    return "nothing: they may enter, and were invited"


def _next_without_ticket(conditions: set[Condition], period: AccessPeriod | None) -> str:
    if conditions & {"quarantined", "unclear"}:
        return "every poll tries to read it again; access follows by itself"
    if "unpaid" in conditions:
        return "every poll looks; once KKTIX says paid, access and invitation follow within one poll"
    if period and period.state != "revoked" and period.added_by_us:
        return "the next poll takes them off the guest list"
    return "nothing: there is no usable ticket"


# -- live -------------------------------------------------------------------------------------------


def _live(services: Services, address: str) -> Iterator[str]:
    if services.gather is None:
        yield "Gather: switched off"
    else:
        entries = services.gather.read().entries
        found = [entry for listed, entry in entries.items() if normalise_address(listed) == address]
        whose = "as we write it" if found and looks_ours(found[0]) else "edited or added by somebody"
        yield f"Gather: on the guest list, {whose}" if found else "Gather: not on the guest list"
    profiles = services.klaviyo.find_profiles([address])
    if not profiles:
        yield "Klaviyo: no profile"
    for profile in profiles:
        reason = profile.unreachable_because
        yield f"Klaviyo: mail is not delivered ({reason})" if reason else "Klaviyo: mail can be delivered"


def _hints(snapshots: Mapping[EventPartition, OrderSnapshot]) -> Iterator[str]:
    yield "no order known here names it. Another spelling, or bought minutes ago? Ask for the order's number"
    for partition, snapshot in snapshots.items():
        if snapshot.quarantine:
            yield f"{len(snapshot.quarantine)} attendees of {partition.key} could not be read; it may be one of them"


def at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
