"""Send an invitation once more by a campaign for one person: a batch like any other, which polls go on with."""

from __future__ import annotations

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.batches import Batch
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import invitations_of
from pycontw_assets.ledger.resending.repeats import Repeat, record_repeat_in_batch
from pycontw_assets.pipeline.resending.reachable import refuse_unreachable
from pycontw_assets.pipeline.resending.resend import Resent, Ticket
from pycontw_assets.pipeline.steps import campaign_step
from pycontw_assets.send_email import names
from pycontw_assets.send_email.invitation.personal import PersonalLinks, no_links
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings

_POLL_ID = "resend"  # no poll claims this batch, so it counts for no limit of a poll


def send_by_campaign(
    repeat: Repeat, ticket: Ticket, *, klaviyo: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, settings: Settings,
    personal_links: PersonalLinks = no_links,
) -> Resent:  # fmt: skip
    """Move the person into a batch of their own, and bring it as far as it comes now.

    Raise ``NotResent`` where Klaviyo says that mail cannot reach them: a campaign would end without anybody.
    """
    refuse_unreachable(ticket, klaviyo=klaviyo, ledger=ledger, settings=settings)
    partition = ticket.partition
    batch = Batch(
        batch_key=repeat.repeat_id,
        edition=partition.edition,
        partition_key=partition.key,
        poll_id=_POLL_ID,
        state="open",
        campaign_name=names.campaign(partition.edition, repeat.asked_at, repeat.repeat_id),
        created_at=repeat.asked_at,
    )
    record_repeat_in_batch(ledger, repeat, batch)
    step = campaign_step(
        partition,
        klaviyo=klaviyo,
        ledger=ledger,
        waits=waits,
        settings=settings,
        poll_id=_POLL_ID,
        personal_links=personal_links,
    )
    try:
        outcome = step.advance(batch, partition, {ticket.holder.key: ticket.holder})
    except ServiceError as error:
        return Resent(False, f"it is recorded, and the next poll goes on with batch {batch.batch_key} ({error})")
    if outcome.invited:
        return Resent(True, "; ".join(["Klaviyo took it over", *outcome.problems]))
    return Resent(False, "; ".join(outcome.problems) or _end(ledger, repeat))


def _end(ledger: Ledger, repeat: Repeat) -> str:
    """Return how the batch ended without a sending: the person cannot be reached, or lost access meanwhile."""
    reasons = [i.reason for i in invitations_of(ledger, repeat.address_key) if i.batch_key == repeat.repeat_id]
    return f"mail cannot reach them: {reasons[0]}" if reasons else "they lost access meanwhile"
