"""How quickly mails may follow hints. Every campaign keeps a list of the pool busy for over an hour.

With a campaign for each hint, a busy sale would use the whole pool up, and everybody would wait longer than with polls
alone. So hints use half of the pool freely, then one list at a time, and leave to polls what polls need.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pycontw_assets.ledger.hints.pool import PoolUse, pool_use
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.send_email.campaign_sending import POOL_SIZE
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings

POSTPONED_SECONDS = 30.0


def leaves_enough(use: PoolUse, *, kept: int, rest: timedelta, now: datetime) -> bool:
    """Whether a campaign may begin now. ``kept``: lists that polls need within ``rest``, the pause after a use."""
    free = POOL_SIZE - use.busy
    if free <= kept:
        return False
    if use.busy <= POOL_SIZE // 2 or use.last_batch_at is None:
        return True
    return now - use.last_batch_at >= rest / max(1, POOL_SIZE - kept)


def may_mail(*, ledger: Ledger, settings: Settings, waits: WaitPolicy, events: int) -> bool:
    """Whether mails may leave because of a hint. Invitations by event need no list."""
    if settings.invite_via == "event":
        return True
    now, rest = ledger.clock(), waits.pool_rest
    polls = round(rest.total_seconds() / settings.poll_interval_seconds)
    kept = min(POOL_SIZE * 3 // 4, events * polls)
    return leaves_enough(pool_use(ledger, now - rest), kept=kept, rest=rest, now=now)
