"""The funnel of an edition: from the order to the click, in counts. No person is in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pycontw_assets.records import Family


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
    ``as_of``: when the mail service was last read for these figures, in UTC; ``None``: never yet.
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
