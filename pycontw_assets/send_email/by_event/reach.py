"""Decide whom a mail can reach, by the way it takes and by why Klaviyo leaves a person out of campaigns.

Klaviyo's help article on transactional mails says: they reach suppressed profiles, too, but for those whose mailbox
bounced and those who reported spam. Any other mail of a flow reaches those whom a campaign reaches.
"""

from __future__ import annotations

from dataclasses import dataclass

from pycontw_assets.ledger.by_event.handing_over import find_resumable
from pycontw_assets.ledger.database.tables import Way
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email.klaviyo_records import Profile

# The person left the newsletter, or somebody suppressed the person by hand.
_MARKETING_ONLY = frozenset({"UNSUBSCRIBE", "UNSUBSCRIBED", "USER_SUPPRESSED"})


def is_reached_by_transactional_mail(reason: str) -> bool:
    """Whether a transactional mail reaches a person whom campaigns leave out for this reason.

    The reason is one text, as the ledger keeps it. An unknown reason counts as one for which no mail arrives.
    """
    return set(reason.split("; ")) <= _MARKETING_ONLY


@dataclass(frozen=True, slots=True)
class Reach:
    """The way in which people are invited. ``is_transactional``: the mail of its flow is a transactional one."""

    way: Way = "campaign"
    is_transactional: bool = False

    @property
    def described(self) -> str:
        """The carrier of the mail, in words."""
        return "a campaign" if self.way == "campaign" else "the mail of a flow"

    def is_reached(self, reason: str) -> bool:
        """Whether a mail arrives at a person whom campaigns leave out for this reason."""
        return self.way == "event" and self.is_transactional and is_reached_by_transactional_mail(reason)

    def unreachable_because(self, profile: Profile) -> str | None:
        """Return why no mail arrives at the person; ``None``: it does, or Klaviyo does not say."""
        reason = profile.unreachable_because
        return None if reason is None or self.is_reached(reason) else reason


def resumable(ledger: Ledger, partition: EventPartition, reach: Reach) -> dict[str, int]:
    """Return address key -> period of the invitations that a batch of events may go on with."""
    return find_resumable(ledger, partition.key, partition.edition, is_reachable=reach.is_reached)
