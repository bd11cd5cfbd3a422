"""Serve the buyers of a wave: let them in and invite them, while the rest of the event is still being read.

A wave takes the steps of a whole poll (guest list, invites to Discord, ticket-holder list, campaign) for its buyers
only. So it is as safe against a crash as they are. It only adds: nobody is removed because of orders that were read in
part.
A wave makes things earlier and is never the only way. Where it fails, the steps at the end of the poll do its work, and
they report the failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pycontw_assets.api.log import log_step
from pycontw_assets.authorize.discord.invite_step import Discord
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.deidentify.holders import holders_of
from pycontw_assets.extract.waves import Wave
from pycontw_assets.ledger.batches import count_claimed
from pycontw_assets.ledger.database.tables import LET_IN
from pycontw_assets.ledger.grants import holders_to_let_in
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockLost, LockName, check_locks
from pycontw_assets.ledger.people import recognise
from pycontw_assets.ledger.polls import paused_since, record_wave, refuse_while_paused
from pycontw_assets.ledger.progress import invited_by, let_in
from pycontw_assets.pipeline.consistency.accounts import refuse_other_klaviyo_account
from pycontw_assets.pipeline.discord.invites import sync_invites
from pycontw_assets.pipeline.rebuild import refuse_lost_ledger
from pycontw_assets.pipeline.steps import campaign_step, change_holder_list, exclusive, guest_list_step
from pycontw_assets.pipeline.waiting_times import seconds_from_payment
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email.invitation.personal import PersonalLinks, no_links
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings

_MOST_FAILURES = 3  # of waves of one poll, then the rest is left to its end
_LONGEST_LOCK_SECONDS = 10.0  # for another run at the guest list: the reading goes on meanwhile, but not for ever


@dataclass(slots=True)
class Served:
    """Counts of all waves of one poll, and the seconds that their people waited."""

    waves: int = 0
    let_in: int = 0
    invited: int = 0
    failures: int = 0
    seconds_to_access: list[float] = field(default_factory=list)
    seconds_to_invitation: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class WaveService:
    """Serves the waves of one poll of one event. A service is ``None`` where it is switched off."""

    partition: EventPartition
    gather: GatherClient | None
    discord: Discord | None
    discord_roles: RoleRules | None
    klaviyo: KlaviyoClient | None
    personal_links: PersonalLinks = no_links
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    waits: WaitPolicy
    settings: Settings
    poll_id: str
    overrides: frozenset[str] = frozenset()
    served: Served = field(default_factory=Served)
    _is_vouched: bool = False
    _claimed_before: int | None = None

    def serve(self, wave: Wave) -> None:
        """Record the wave's holders, then let them in and invite them. A failure is left to the end of the poll."""
        if self.gather is None and self.klaviyo is None:
            return
        check_locks()
        holders = self._record(wave)
        if paused_since(self.ledger) or self.served.failures >= _MOST_FAILURES:
            return
        self.served.waves += 1
        try:
            self._let_in(wave, holders)
            self._invite_to_guild(wave, holders)
            if self.klaviyo is not None and self._may_invite(wave):
                self._invite(wave, holders, self.klaviyo)
        except LockLost:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the reading goes on, and the end of the poll reports it
            self.served.failures += 1
            log_step("wave_failed", step="poll", partition=self.partition.key, waiting=wave.unread, outcome="failed")
        else:
            log_step("wave_served", step="poll", partition=self.partition.key, people=len(holders), waiting=wave.unread)

    def _record(self, wave: Wave) -> dict[str, Holder]:
        holders = holders_of(wave.orders, self.pseudonymizer)
        recognise(self.ledger, self.pseudonymizer, [form for holder in holders.values() for form in holder.former])
        record_wave(self.ledger, self.partition.edition, self.partition.key, holders.keys(), unread=wave.unread)
        return holders

    def _let_in(self, wave: Wave, holders: Mapping[str, Holder]) -> None:
        partition = self.partition
        step = guest_list_step(
            gather=self.gather,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
            waits=self._short_waits,
            revoke_limit=0,
            poll_id=self.poll_id,
            overrides=self.overrides - {"revoke"},
        )
        outside = holders_to_let_in(self.ledger, partition.key, partition.edition, done=LET_IN).keys() & holders.keys()
        step.run(partition, holders)
        entered = let_in(self.ledger, partition.edition, outside)
        self.served.let_in += len(entered)
        self.served.seconds_to_access += seconds_from_payment(entered, wave.orders, self.pseudonymizer)

    def _invite_to_guild(self, wave: Wave, holders: Mapping[str, Holder]) -> None:
        """Make the invites that the mails of the wave link to. A holder without an invite is not mailed yet."""
        if self.discord is None or self.discord_roles is None:
            return
        sync_invites(
            self.partition,
            wave.orders,
            holders,
            discord=self.discord,
            discord_roles=self.discord_roles,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
            waits=self._short_waits,
            settings=self.settings,
            only_add=True,
        )

    def _may_invite(self, wave: Wave) -> bool:
        """Say whether the mails of a wave may go out. They may not where the poll as a whole is to be judged.

        Scheduled campaigns are in no hurry. More newcomers than ``INVITE_LIMIT`` need a person, so nobody is mailed.
        """
        settings, now = self.settings, self.ledger.clock()
        if settings.invitation_send_at is not None and settings.invitation_send_at > now:
            return False
        if self._claimed_before is None:
            self._claimed_before = count_claimed(self.ledger, self.poll_id)
        return self._claimed_before + wave.newcomers <= settings.invite_limit or "invite" in self.overrides

    def _invite(self, wave: Wave, holders: Mapping[str, Holder], klaviyo: KlaviyoClient) -> None:
        partition, ledger, waits = self.partition, self.ledger, self._short_waits
        if not self._is_vouched:
            refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=self.settings)
            refuse_lost_ledger(partition.edition, klaviyo=klaviyo, ledger=ledger)
            self._is_vouched = True
        change_holder_list(
            partition,
            holders,
            klaviyo=klaviyo,
            ledger=ledger,
            waits=waits,
            settings=self.settings,
            is_wave=True,
            personal_links=self.personal_links,
        )
        step = campaign_step(
            partition,
            klaviyo=klaviyo,
            ledger=ledger,
            waits=waits,
            settings=self.settings,
            poll_id=self.poll_id,
            overrides=self.overrides,
            personal_links=self.personal_links,
        )
        with exclusive(ledger, waits, LockName.INVITATIONS, partition.key):
            refuse_while_paused(ledger)
            outcome = step.invite(partition, holders)
        self.served.invited += outcome.invited
        invited = invited_by(ledger, outcome.batch_keys) if outcome.batch_keys else []
        self.served.seconds_to_invitation += seconds_from_payment(invited, wave.orders, self.pseudonymizer)

    @property
    def _short_waits(self) -> WaitPolicy:
        return replace(self.waits, lock=min(self.waits.lock, _LONGEST_LOCK_SECONDS))
