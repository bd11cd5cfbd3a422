"""Send one person's invitation once more: whether it may be, and the frame around every way of sending it.

A way is a function (``SendAgain``). It records the repeat before its first call, so that a crash anywhere costs at most
one more mail, which the ledger knows of. ``by_campaign`` is one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pycontw_assets.api.log import log_step
from pycontw_assets.deidentify.holders import holders_of
from pycontw_assets.ledger.database.tables import LET_IN, RepeatWay
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.people import AccessPeriod, Invited, entitlements_of, invitations_of, periods_of
from pycontw_assets.ledger.polls import Paused, paused_since
from pycontw_assets.ledger.resending.repeats import Repeat, repeats_of
from pycontw_assets.pipeline.steps import exclusive, recorded_edition, stored_orders
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore

APART = timedelta(hours=1)
_BY_HAND = 'docs/runbook.md says how to write to them by hand ("Somebody got no mail")'


class NotResent(Exception):
    """The invitation is not sent once more. The text says why, and what to do. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A holder of a usable ticket, and its event. ``period``: the number of the present access period; 0: none."""

    partition: EventPartition
    holder: Holder
    period: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The facts that decide whether somebody's invitation may be sent once more.

    ``ticket``: ``None`` without a usable one. ``invited``: the invitation of the present access period. ``begun``: a
    repeat by event of which nobody knows whether it was handed over. The same event goes on with it: it counts once.
    """

    ticket: Ticket | None = None
    period: AccessPeriod | None = None
    invited: Invited | None = None
    repeats: Sequence[Repeat] = ()
    begun: Repeat | None = None


@dataclass(frozen=True, slots=True)
class Resent:
    """The outcome of one repeat. ``is_handed_over``: the mail service took it; otherwise ``text`` says what comes."""

    is_handed_over: bool
    text: str


SendAgain = Callable[[Repeat, Ticket], Resent]
"""A way of sending. It records the repeat, then calls. ``NotResent`` before it has recorded anything."""


def look_up(
    address: str,
    *,
    way: RepeatWay,
    vault: OrdersStore,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    settings: Settings,
) -> Asked:
    """Read what is known of an address in the live edition. No service is asked. ``VaultError``: unreadable orders."""
    key, edition = pseudonymizer.address(address), recorded_edition(ledger, settings)
    held = entitlements_of(ledger, key)
    period = next((p for p in reversed(periods_of(ledger, key)) if p.edition == edition), None)
    tickets = [
        Ticket(partition=partition, holder=holders[key], period=period.period if period else 0)
        for partition in sorted(known_events(ledger).values(), key=lambda partition: partition.key)
        if partition.edition == edition and partition.key in held
        if key in (holders := holders_of(stored_orders(vault, ledger, partition), pseudonymizer))
    ]
    invited = [i for i in invitations_of(ledger, key) if period and (i.edition, i.period) == (edition, period.period)]
    repeats = repeats_of(ledger, key)
    is_begun = way == "event" and repeats and repeats[-1].way == way and repeats[-1].handed_over_at is None
    return Asked(
        ticket=tickets[0] if tickets else None,
        period=period,
        invited=invited[0] if invited else None,
        repeats=repeats,
        begun=repeats[-1] if is_begun else None,
    )


def refusal(asked: Asked, now: datetime) -> str | None:
    """Return why the invitation must not be sent once more, and what to do; ``None``: it may be. Pure."""
    if asked.ticket is None:
        return "they hold no usable ticket of the live edition; `pycontw-assets trace` says what KKTIX has of them"
    if asked.period is None or asked.period.state not in LET_IN:
        return "they are not on the guest list yet; the next poll lets them in, and then invites them"
    if asked.invited is None:
        return "they were never invited for their present ticket; the next poll does it"
    if reason := _unfinished(asked.invited):
        return reason
    latest = max((repeat.asked_at for repeat in asked.repeats), default=None)
    if latest is not None and now - latest < APART and asked.begun is None:
        again = latest + APART
        return f"it was sent once more at {latest:%H:%M} UTC, and once an hour is the most; try again at {again:%H:%M}"
    return None


def _unfinished(invited: Invited) -> str | None:
    if invited.state == "claimed":
        return f"their invitation is in batch {invited.batch_key}, which is not sent yet; the next poll goes on with it"
    if invited.state == "unreachable":
        if invited.batch_state == "cancelled" and invited.reason == invited.remote_status:
            release = f"pycontw-assets release {invited.batch_key}"
            return (
                f"their campaign ended as {invited.remote_status}; `{release}` finds out who got it, and frees the rest"
            )
        return f"mail cannot reach them: {invited.reason}; {_BY_HAND}"
    if invited.state == "accepted" and invited.batch_state in ("open", "accepted"):
        return f"their mail (batch {invited.batch_key}) is on its way; wait until a poll has seen its end"
    return None


@dataclass(frozen=True, kw_only=True)
class Resending:
    """Send the invitation of one person once more, in this way."""

    way: RepeatWay
    send: SendAgain
    vault: OrdersStore
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    waits: WaitPolicy
    settings: Settings

    def refusal(self, address: str) -> str | None:
        """Return why it is refused now, as ``refusal`` does, or because nothing at all is sent at present."""
        return self._reason(self._look_up(address))

    def _reason(self, asked: Asked) -> str | None:
        if since := paused_since(self.ledger):
            return str(Paused(since))
        if self.settings.pycontw_dry_run:
            return "PYCONTW_DRY_RUN is set, so nothing is sent"
        return refusal(asked, self.ledger.clock())

    def run(self, address: str) -> Resent:
        """Send it. Raise ``NotResent`` where that is refused."""
        partition = self._checked(address)[0].partition
        with exclusive(self.ledger, self.waits, LockName.INVITATIONS, partition.key):
            ticket, begun = self._checked(address)  # a poll or another person may have been faster
            if ticket.partition != partition:
                raise NotResent("their tickets changed just now; look again")
            repeat = begun or Repeat(
                repeat_id=uuid.uuid4().hex[:12],
                partition_key=partition.key,
                edition=partition.edition,
                address_key=ticket.holder.key,
                way=self.way,
                asked_at=self.ledger.clock(),
            )
            result = self.send(repeat, ticket)
        log_step(
            "invitation_repeated",
            step="send_email",
            partition=partition.key,
            outcome="sent" if result.is_handed_over else "waiting",
        )
        return result

    def _checked(self, address: str) -> tuple[Ticket, Repeat | None]:
        asked = self._look_up(address)
        if reason := self._reason(asked):
            raise NotResent(reason)
        if asked.ticket is None:
            raise NotResent("their tickets changed just now; look again")
        return asked.ticket, asked.begun

    def _look_up(self, address: str) -> Asked:
        return look_up(
            address,
            way=self.way,
            vault=self.vault,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
            settings=self.settings,
        )
