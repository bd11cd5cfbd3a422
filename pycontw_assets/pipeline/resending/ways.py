"""The one place that chooses how an invitation is sent once more."""

from __future__ import annotations

from functools import partial

from pycontw_assets.ledger.database.tables import RepeatWay
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.resending.by_campaign import send_by_campaign
from pycontw_assets.pipeline.resending.by_event import send_by_event
from pycontw_assets.pipeline.resending.resend import SendAgain
from pycontw_assets.send_email.invitation.personal import PersonalLinks, no_links
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings


def chosen_way(
    *,
    klaviyo: KlaviyoClient,
    ledger: Ledger,
    waits: WaitPolicy,
    settings: Settings,
    personal_links: PersonalLinks = no_links,
) -> tuple[RepeatWay, SendAgain]:
    """Return the way that invitations take, by name, and the function that sends one once more."""
    if settings.invite_via == "event":
        by_event = partial(send_by_event, klaviyo=klaviyo, ledger=ledger, settings=settings)
        return "event", partial(by_event, personal_links=personal_links)
    by_campaign = partial(send_by_campaign, klaviyo=klaviyo, ledger=ledger, waits=waits, settings=settings)
    return "campaign", partial(by_campaign, personal_links=personal_links)
