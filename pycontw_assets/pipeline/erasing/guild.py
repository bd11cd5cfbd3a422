"""Forget one person's invites to Discord: the step of a poll, with nobody to invite."""

from __future__ import annotations

from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.invite_step import InviteStep
from pycontw_assets.ledger.discord.invites import open_editions
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.pipeline.erasing.mail_service import NotYet
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.send_email.wait_policy import WaitPolicy


def withdraw_invites(
    key: str, *, discord: DiscordClient | None, ledger: Ledger, pseudonymizer: Pseudonymizer, waits: WaitPolicy
) -> list[str]:
    """Return lines about what was removed; ``NotYet`` while something is left, which polls go on with.

    ``discord``: ``None`` where the step is left to the polls, or Discord is no venue any more.
    """
    known = {partition.edition: partition for partition in known_events(ledger).values()}
    done: list[str] = []
    for edition in sorted(open_editions(ledger, key)):
        problems: list[str] = []
        if discord is not None and edition in known:
            step = InviteStep(
                discord,
                ledger,
                pseudonymizer,
                lambda: lock(ledger, LockName.DISCORD_INVITES, "", wait_seconds=waits.lock, sleep=waits.sleep),
            )
            problems = step.run(known[edition], {}).problems
        if edition in open_editions(ledger, key):
            raise NotYet("; ".join(problems) or f"edition {edition}: the invite or the role is there still")
        done.append(f"edition {edition}: the invite to Discord is gone, and the role of a known member")
    return done
