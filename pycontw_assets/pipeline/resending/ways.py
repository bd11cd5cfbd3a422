"""The one place that chooses how an invitation is sent once more."""

from __future__ import annotations

from functools import partial

from pycontw_assets.ledger.database.tables import RepeatWay
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.resending.by_campaign import send_by_campaign
from pycontw_assets.pipeline.resending.resend import SendAgain
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings


def chosen_way(
    *, klaviyo: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, settings: Settings
) -> tuple[RepeatWay, SendAgain]:
    """Return the way that invitations take, by name, and the function that sends one once more."""
    return "campaign", partial(send_by_campaign, klaviyo=klaviyo, ledger=ledger, waits=waits, settings=settings)
