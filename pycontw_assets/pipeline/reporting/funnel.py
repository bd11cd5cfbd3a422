"""The funnel of an edition: from the order to the click, in counts. No person is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.campaign_figures import Figures, SentCampaign, sent_campaigns
from pycontw_assets.ledger.reporting.funnel import People, count_people
from pycontw_assets.pipeline.consistency.orders import ReadOrders, read_for_people
from pycontw_assets.records import FAMILIES, AttendeeRecord, EventPartition, Family, OrderSnapshot
from pycontw_assets.vault.vault import OrdersStore


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelRow:
    """The funnel of one edition and family, over the whole sale: who left later still counts where they had come.

    ``None`` means not known, never nothing. Every count but the first two is of access periods: one per person, and one
    more for a person who bought again after a refund. A person with tickets of two families counts in one of them.

    ``tickets_ordered``: seats that KKTIX ever listed. ``tickets_paid``: those of them that were ever seen as paid.
    ``let_in``: people who were ever on the guest list for it, or whose access was taken as given.
    ``invited``: people whose invitation the mail service took over. Copies that were sent once more do not count.
    ``delivered``: invitations that reached the mailbox, as the mail service counts.
    ``clicked``: people who followed a link in it, as the mail service counts.
    ``opened``: the same for opens. Mail programs open mails by themselves, so it is inflated.
    ``unreachable``: people who were let in and whom the mail service does not mail: refused, suppressed, unsubscribed.
    ``bounced``: invitations that came back. ``unsubscribed``: people who left the newsletter by way of the invitation.
    ``as_of``: when the oldest of the mail service's figures was read, in UTC; ``None``: there is none yet.
    """

    edition: str
    family: Family
    tickets_ordered: int | None
    tickets_paid: int | None
    let_in: int
    invited: int
    delivered: int | None
    clicked: int | None
    opened: int | None
    unreachable: int
    bounced: int | None
    unsubscribed: int | None
    as_of: datetime | None


def read_funnel(edition: str, *, ledger: Ledger, vault: OrdersStore) -> list[FunnelRow]:
    """Return the funnel of one live edition, a row per family that has an event. No service is asked."""
    return funnel_of(edition, read_for_people(vault, ledger), ledger)


def funnel_of(edition: str, orders: Mapping[EventPartition, ReadOrders], ledger: Ledger) -> list[FunnelRow]:
    """Return the same from orders that were read already."""
    sent, seats, people = sent_campaigns(ledger, edition), _seats(edition, orders), count_people(ledger, edition)
    return [
        funnel_row(edition, family, seats.get(family), people[family], [c for c in sent if c.family == family])
        for family in FAMILIES
        if family in people
    ]


def funnel_row(
    edition: str, family: Family, seats: Seats | None, people: People, sent: Sequence[SentCampaign]
) -> FunnelRow:
    """Put the counts of one family together. Pure. ``seats``: ``None`` where the orders could not be read."""
    measured = [campaign for campaign in sent if campaign.figures is not None]
    figures = sum((campaign.figures for campaign in measured if campaign.figures), Figures())
    has_events, has_campaigns = people.by_event > 0, bool(measured)
    # The report counts no mail of a flow, so with such mails its clicks are not those of the family.
    is_whole = has_campaigns and not has_events
    read_at = [campaign.read_at for campaign in measured if campaign.read_at]
    looked_at = [people.looked_at] if people.looked_at else []
    return FunnelRow(
        edition=edition,
        family=family,
        tickets_ordered=seats.ordered if seats else None,
        tickets_paid=seats.paid if seats else None,
        let_in=people.let_in,
        invited=people.invited,
        delivered=figures.delivered + people.seen if has_campaigns or has_events else None,
        clicked=figures.clicked if is_whole else None,
        opened=figures.opened if is_whole else None,
        unreachable=people.unreachable,
        bounced=figures.bounced + people.bounced if has_campaigns or has_events else None,
        unsubscribed=figures.unsubscribed if is_whole else None,
        as_of=min([*read_at, *looked_at], default=None),
    )


@dataclass(frozen=True, slots=True)
class Seats:
    """Seats at KKTIX: all that were ever listed, and those of them that were ever seen as paid."""

    ordered: int = 0
    paid: int = 0


def count_seats(snapshot: OrderSnapshot) -> Seats:
    """Count the seats of an event. Pure. One that could never be read was ordered."""
    records = snapshot.records
    paid = sum(_was_paid(record) for record in records.values())
    return Seats(len(records.keys() | snapshot.quarantine.keys()), paid)


def _was_paid(record: AttendeeRecord) -> bool:
    return record.attendee.is_paid is True or record.paid_seen_at is not None


def _seats(edition: str, orders: Mapping[EventPartition, ReadOrders]) -> dict[Family, Seats | None]:
    """Count the seats by family. ``None``: the orders of one of its events could not be read, or not all of them."""
    counted: dict[Family, Seats | None] = {}
    for partition, read in orders.items():
        if partition.edition != edition:
            continue
        before = counted.get(partition.family, Seats())
        if before is None or read.snapshot is None or read.snapshot.rebuilding:
            counted[partition.family] = None
            continue
        seats = count_seats(read.snapshot)
        counted[partition.family] = Seats(before.ordered + seats.ordered, before.paid + seats.paid)
    return counted


# -- the line of it -----------------------------------------------------------------------------------


def describe_funnel(row: FunnelRow) -> str:
    """Return the funnel of a family in one line. A question mark is a count that is not known."""
    steps = (
        (row.tickets_ordered, "ordered"),
        (row.tickets_paid, "paid"),
        (row.let_in, "let in"),
        (row.invited, "invited"),
        (row.delivered, "delivered"),
        (row.clicked, "clicked"),
    )
    way = " → ".join(f"{_number(count)} {name}" for count, name in steps)
    lost = f"{row.unreachable} unreachable, {_number(row.bounced)} bounced, {_number(row.unsubscribed)} unsubscribed"
    age = f"as of {row.as_of:%Y-%m-%d %H:%M} UTC" if row.as_of else "Klaviyo reported nothing yet"
    return f"{row.family}: {way} ({_number(row.opened)} opens, inflated; {lost}; {age})"


def _number(count: int | None) -> str:
    return "?" if count is None else str(count)
