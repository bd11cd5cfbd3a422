"""Whether a mail of today's way can reach somebody. It is asked before anything is recorded."""

from __future__ import annotations

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.consistency.accounts import refuse_other_klaviyo_account
from pycontw_assets.pipeline.resending.resend import NotResent, Ticket
from pycontw_assets.pipeline.steps import reach_of
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.settings import Settings


def refuse_unreachable(ticket: Ticket, *, klaviyo: KlaviyoClient, ledger: Ledger, settings: Settings) -> None:
    """Raise ``NotResent`` where Klaviyo says that the mail would not reach the person, or does not answer."""
    try:
        refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=settings)
        profiles = klaviyo.find_profiles([ticket.holder.spelled, *ticket.holder.former])
    except ServiceError as error:
        raise NotResent(f"{error}. Nothing was changed; try again later") from None
    reach = reach_of(settings)
    for profile in profiles:
        if reason := reach.unreachable_because(profile):
            raise NotResent(
                f"Klaviyo does not let {reach.described} reach them: {reason}. docs/runbook.md says how to write to "
                'them by hand ("Somebody got no mail")'
            )
