"""Newcomers -> one batch -> one campaign, sent once. An uncertain send is looked up, never repeated blindly.

Order of one batch: claim in the ledger, lease a list of the pool, fill it, find or create the campaign by its
batch key, assign the template, check, write "about to send", send, write the outcome, follow until it ended.
A restart at any step looks at the remote state first.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from pycontw_assets.api.client import Malformed, NotFound, Refused, ServiceError, Unavailable
from pycontw_assets.ledger.batches import (
    Batch,
    Invitation,
    accept_batch,
    cancelled_batches,
    claim_batch,
    close_batch,
    count_claimed,
    find_newcomers,
    intend_send,
    invitations_in,
    invitations_without_access,
    record_profiles,
    release_invitations,
    reopen_batch,
    unfinished_batches,
    update_batch,
    update_invitations,
)
from pycontw_assets.ledger.database.tables import LET_IN
from pycontw_assets.ledger.grants import current_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import release_pool_list, reserve_pool_list
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email import names
from pycontw_assets.send_email.find_or_create import ensure_list
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import Campaign
from pycontw_assets.send_email.list_membership import change_members
from pycontw_assets.send_email.profiles import ensure_profiles
from pycontw_assets.send_email.wait_policy import WaitPolicy

# Lists, each leased to one open batch and idle for an hour after it. Three events with newcomers in every one of
# twelve polls an hour keep 36 busy; they are made only when the rested ones do not suffice.
POOL_SIZE = 48
_LONGEST_WAY = timedelta(days=1)  # of a campaign from its sending to its end
_SCHEDULED_BATCHES = 3  # per event; later newcomers are mailed right after the scheduled time
SENT = ("Sent", "Variations Sent")
_PLANNED = ("Preparing to schedule", "Scheduled")
_DELETED = "Cancelled: deleted in Klaviyo"
_DELETED_IN_DOUBT = f"{_DELETED}, perhaps after it was sent"

SendState = Literal["taken", "draft", "deleted"]


class Mail(Protocol):
    """The rendered mail, as far as a campaign needs it."""

    @property
    def name(self) -> str: ...

    @property
    def subject(self) -> str: ...

    @property
    def preview_text(self) -> str: ...

    @property
    def version(self) -> str: ...


class NotYet(Exception):
    """The batch waits for Klaviyo; the next poll goes on with it."""


@dataclass(frozen=True, slots=True)
class Sender:
    from_email: str
    from_label: str
    reply_to: str


@dataclass(slots=True)
class CampaignOutcome:
    """Counts of one step; ``waiting`` are entitled addresses that are not invited yet."""

    batches: int = 0
    invited: int = 0
    waiting: int = 0
    unreachable: int = 0
    campaign_ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class CampaignStep:
    """Invites the newcomers of one event and brings its open batches to an end."""

    client: KlaviyoClient
    ledger: Ledger
    waits: WaitPolicy
    exclusive: Callable[[], AbstractContextManager[None]]
    sender: Sender
    mail: Mail
    template_id: Callable[[], str]
    poll_id: str
    send_at: datetime | None = None
    invite_limit: int = 2000
    overrides: frozenset[str] = frozenset()
    outcome: CampaignOutcome = field(default_factory=CampaignOutcome)

    def run(self, partition: EventPartition, holders: Mapping[str, Holder]) -> CampaignOutcome:
        """Open batches first, then a new one. Without either, Klaviyo is not called."""
        open_batches = unfinished_batches(self.ledger, partition.key)
        refusals: list[ServiceError] = []
        for batch in open_batches:
            try:
                self._advance_patiently(batch, holders)
            except (Refused, Malformed) as error:  # about this batch only: it must not hold up those after it
                refusals.append(error)
        claimed = self.claim_newcomers(partition, holders, open_batches)
        if claimed is not None:
            self._advance_patiently(claimed, holders)
        self._tell_cancelled(partition)
        if refusals:
            raise refusals[0]
        return self.outcome

    # -- claiming ---------------------------------------------------------------------------------

    def claim_newcomers(
        self, partition: EventPartition, holders: Mapping[str, Holder], open_batches: list[Batch]
    ) -> Batch | None:
        """The batch of whoever was let in and is in none yet; ``None``: nobody, or they have to wait."""
        newcomers = find_newcomers(self.ledger, partition.key, partition.edition)
        periods = {key: period for key, period in newcomers.items() if key in holders}
        if not periods:
            return None
        if (
            count_claimed(self.ledger, self.poll_id) + len(periods) > self.invite_limit
            and "invite" not in self.overrides
        ):
            self.outcome.waiting += len(periods)
            self.outcome.problems.append(
                f"{len(periods)} invitations are due, more than INVITE_LIMIT={self.invite_limit} lets one poll start; "
                "nobody was mailed. If they are right, run `pycontw-assets poll --allow invite`"
            )
            return None
        now = self.ledger.clock()
        scheduled = self.send_at if self.send_at and self.send_at > now else None
        if scheduled and sum(batch.send_at is not None for batch in open_batches) >= _SCHEDULED_BATCHES:
            self.outcome.waiting += len(periods)
            return None
        batch_key = uuid.uuid4().hex[:12]
        batch = Batch(
            batch_key=batch_key,
            edition=partition.edition,
            partition_key=partition.key,
            poll_id=self.poll_id,
            state="open",
            campaign_name=names.campaign(partition.edition, now, batch_key),
            created_at=now,
            send_at=scheduled,
        )
        claim_batch(self.ledger, batch, periods)
        return batch

    # -- one batch, step by step ------------------------------------------------------------------

    def _advance_patiently(self, batch: Batch, holders: Mapping[str, Holder]) -> None:
        try:
            self._advance(batch, holders)
        except NotYet as reason:
            self.outcome.waiting += len(self._claimed(batch))
            self.outcome.problems.append(f"batch {batch.batch_key} waits: {reason}")

    def _advance(self, batch: Batch, holders: Mapping[str, Holder]) -> None:
        self.outcome.batches += 1
        if batch.state == "open":
            in_doubt = batch.send_intended_at is not None
            batch = self._resolve_doubt(batch) if in_doubt else self._heed_others(batch)
        if batch.state == "accepted":
            batch = self._take_back_for_revoked(batch)
        if batch.state == "open":
            batch = self._prepare_and_send(batch, holders)
        if batch.state == "accepted":
            self._follow(batch)

    def _prepare_and_send(self, batch: Batch, holders: Mapping[str, Holder]) -> Batch:
        members = self._keep_entitled(batch, holders)
        profile_ids = self._profiles(batch, members)
        if not profile_ids:
            return self._close_empty(batch)
        batch = self._reserve_list(batch)
        self._fill(batch, profile_ids)
        batch = self._ensure_campaign(batch)
        self._check(batch, len(profile_ids))
        batch = self._send(batch)
        return self._send(batch) if batch.state == "open" else batch

    def _heed_others(self, batch: Batch) -> Batch:
        """A draft that waited, and that somebody sent in Klaviyo: nobody of it is to be taken out and mailed again."""
        if batch.campaign_id is None:
            return batch
        try:
            status = self.client.get_campaign(batch.campaign_id).status
        except NotFound:
            return batch  # it is made again
        taken_back = batch.send_at is not None and status in _PLANNED  # by us, perhaps: that may show late
        if status == "Draft" or taken_back:
            return batch
        self.outcome.problems.append(f"campaign {batch.campaign_name} was sent in Klaviyo, not by us ({status})")
        return self._accept(batch)

    def _claimed(self, batch: Batch) -> list[Invitation]:
        return [item for item in invitations_in(self.ledger, batch.batch_key) if item.state == "claimed"]

    def _keep_entitled(self, batch: Batch, holders: Mapping[str, Holder]) -> dict[str, Holder]:
        """Nothing was sent yet, so whoever lost the ticket or changed event is simply taken out."""
        grants = current_grants(self.ledger, batch.edition)
        keep: dict[str, Holder] = {}
        for item in self._claimed(batch):
            grant = grants.get(item.address_key)
            is_current = grant and grant.period == item.period and grant.state in LET_IN
            if item.address_key in holders and is_current:
                keep[item.address_key] = holders[item.address_key]
        release_invitations(
            self.ledger,
            batch.batch_key,
            [item.address_key for item in self._claimed(batch) if item.address_key not in keep],
        )
        return keep

    def _profiles(self, batch: Batch, members: Mapping[str, Holder]) -> set[str]:
        """Profile ids of those whom mail can reach; the others are noted with the reason and left out."""
        properties = {names.batch_key_property(batch.edition): batch.batch_key}
        profiles = ensure_profiles(self.client, self.waits, members, properties=properties)
        unreachable = dict(profiles.refused)
        for key, profile in profiles.found.items():
            if reason := profile.unreachable_because:
                unreachable[key] = reason
        for key, reason in sorted(unreachable.items()):
            update_invitations(self.ledger, batch.batch_key, [key], state="unreachable", reason=reason)
        self.outcome.unreachable += len(unreachable)
        reachable = {key: p.profile_id for key, p in profiles.found.items() if key not in unreachable}
        record_profiles(self.ledger, batch.batch_key, reachable)
        return set(reachable.values())

    def _close_empty(self, batch: Batch) -> Batch:
        if batch.campaign_id:
            self.client.delete_campaign(batch.campaign_id)
        return close_batch(self.ledger, batch.batch_key, "empty", remote_status=None)

    # -- the list ---------------------------------------------------------------------------------

    def _reserve_list(self, batch: Batch) -> Batch:
        if batch.list_id is not None:
            return batch
        pool = [names.pool_list(batch.edition, number) for number in range(1, POOL_SIZE + 1)]
        rested_since = self.ledger.clock() - self.waits.pool_rest
        name = reserve_pool_list(self.ledger, batch.batch_key, pool, rested_since=rested_since)
        if name is None:
            raise NotYet(f"all {POOL_SIZE} lists of the pool are in use or resting")
        with self.exclusive():
            list_id = ensure_list(self.client, self.ledger, self.waits, name=name)
        return update_batch(self.ledger, batch.batch_key, list_name=name, list_id=list_id)

    def _fill(self, batch: Batch, wanted: set[str]) -> None:
        """Make the list hold exactly the batch, and wait until it is seen to."""
        list_id = batch.list_id or ""
        try:
            present = self.client.list_member_ids(list_id)
        except NotFound:
            self._forget_list(batch)
            raise NotYet("its list was deleted; another one is taken") from None
        change_members(self.client, self.client.remove_from_list, list_id=list_id, profile_ids=present - wanted)
        if wanted - present:
            self.client.add_to_list(list_id, sorted(wanted - present))
        if present == wanted:
            return
        latest = [present]

        def shows() -> bool:
            latest[0] = self.client.list_member_ids(list_id)
            return latest[0] == wanted

        if not self.waits.until(self.waits.visible, shows):
            if strangers := len(latest[0] - wanted):
                self._forget_list(batch)
                raise NotYet(f"{strangers} strangers stay on its list; another one is taken")
            if not latest[0] or self.ledger.clock() - batch.created_at < self.waits.hidden:
                raise NotYet("its members do not show on the list yet")
            self._write_off(batch, wanted - latest[0])

    def _write_off(self, batch: Batch, profile_ids: set[str]) -> None:
        """Who never shows must not hold up the others. Perhaps mail reaches them all the same, so never again by us."""
        keys = [item.address_key for item in self._claimed(batch) if item.profile_id in profile_ids]
        reason = "does not show on the list of the batch"
        update_invitations(self.ledger, batch.batch_key, keys, state="unreachable", reason=reason)
        self.outcome.unreachable += len(keys)

    def _forget_list(self, batch: Batch) -> None:
        release_pool_list(self.ledger, batch.batch_key)
        record_remote_id(self.ledger, "list", batch.list_name or "", remote_id=None)
        update_batch(self.ledger, batch.batch_key, list_name=None, list_id=None)

    # -- the campaign -----------------------------------------------------------------------------

    def _ensure_campaign(self, batch: Batch) -> Batch:
        campaign = self._existing_campaign(batch)
        if campaign is not None and self._is_stale(campaign, batch):
            self.client.delete_campaign(campaign.campaign_id)
            campaign = None
        if campaign is None:
            batch = update_batch(
                self.ledger, batch.batch_key, campaign_intended_at=self.ledger.clock(), campaign_id=None
            )
            campaign = self._create_campaign(batch)
        message_id = campaign.message_id or self.client.get_campaign(campaign.campaign_id).message_id
        return update_batch(self.ledger, batch.batch_key, campaign_id=campaign.campaign_id, message_id=message_id)

    def _create_campaign(self, batch: Batch) -> Campaign:
        """A draft nobody can be mailed by yet. After a lost reply it is looked up before it is made again."""

        def create() -> Campaign:
            return self.client.create_campaign(
                name=batch.campaign_name,
                list_id=batch.list_id or "",
                subject=self.mail.subject,
                preview_text=self.mail.preview_text,
                from_email=self.sender.from_email,
                from_label=self.sender.from_label,
                reply_to=self.sender.reply_to,
                send_at=batch.send_at if self._is_ahead(batch) else None,
            )

        try:
            return create()
        except Unavailable as error:
            if not error.outcome_unknown:
                raise
            return self._existing_campaign(batch) or create()

    def _is_stale(self, campaign: Campaign, batch: Batch) -> bool:
        """A draft for another list, or for a time that has passed: it could never be sent as it is."""
        is_late = campaign.send_at is not None and campaign.send_at <= self.ledger.clock()
        return campaign.included_lists != (batch.list_id,) or (is_late and campaign.status == "Draft")

    def _existing_campaign(self, batch: Batch) -> Campaign | None:
        """By id, or by batch key when an earlier creation ended unknown (then twice: the index may be late)."""
        if batch.campaign_id is not None:
            try:
                return self.client.get_campaign(batch.campaign_id)
            except NotFound:
                return None
        if batch.campaign_intended_at is None:
            return None
        found = self._named(batch)
        if not found:
            self.waits.sleep(self.waits.second_look)
            found = self._named(batch)
        for surplus in found[1:]:
            if surplus.status == "Draft":
                self.client.delete_campaign(surplus.campaign_id)
        return found[0] if found else None

    def _named(self, batch: Batch) -> list[Campaign]:
        named = [c for c in self.client.find_campaigns(batch.batch_key) if c.name == batch.campaign_name]
        return sorted(named, key=lambda c: (c.created_at is None, c.created_at, c.campaign_id))

    def _check(self, batch: Batch, size: int) -> None:
        """Everything that must hold before the point of no return."""
        campaign_id, message_id = batch.campaign_id or "", batch.message_id or ""
        campaign = self.client.get_campaign(campaign_id)
        if campaign.status != "Draft":
            raise NotYet(f"its campaign is {campaign.status} although we never sent it; look at it in Klaviyo")
        if (
            campaign.included_lists != (batch.list_id,)
            or campaign.excluded_lists
            or campaign.uses_smart_sending is not False
        ):
            raise NotYet("its campaign does not have the audience or options we gave it; look at it in Klaviyo")
        try:
            self.client.assign_template(message_id, self.template_id())
        except NotFound:
            record_remote_id(self.ledger, "template", self.mail.name, remote_id=None)
            raise NotYet("its template was deleted; it is made again") from None
        template = self.client.message_template(message_id)
        if template is None or self.mail.version not in template.html + template.text:
            raise NotYet("its template does not show on the campaign yet")
        self._check_estimate(batch, size)

    def _check_estimate(self, batch: Batch, size: int) -> None:
        campaign_id = batch.campaign_id or ""
        self.client.request_estimate(campaign_id)
        self.waits.until(self.waits.estimate, lambda: self.client.estimate_job_done(campaign_id))
        estimate = self.client.estimate(campaign_id)
        if estimate is not None and estimate > size:
            raise NotYet(f"Klaviyo estimates {estimate} recipients for a batch of {size}; not sent. Look at its list")
        if estimate is not None and estimate < size:
            self.waits.sleep(self.waits.second_look)
            self.outcome.notes.append(f"Klaviyo estimated {estimate} recipients for {size}; sent all the same")

    # -- sending ----------------------------------------------------------------------------------

    def _send(self, batch: Batch) -> Batch:
        campaign_id = batch.campaign_id or ""
        if not intend_send(self.ledger, batch.batch_key):
            raise NotYet("another run has begun to send it")
        try:
            self.client.send(campaign_id)
        except Unavailable as error:
            if error.outcome_unknown:
                return self._resolve_doubt(batch)
            update_batch(self.ledger, batch.batch_key, send_intended_at=None)
            raise
        except Refused:
            if self._send_state(batch) == "draft":
                update_batch(self.ledger, batch.batch_key, send_intended_at=None)
                raise
            return self._resolve_doubt(batch)
        return self._accept(batch)

    def _accept(self, batch: Batch) -> Batch:
        self.outcome.invited += len(self._claimed(batch))
        self.outcome.campaign_ids.append(batch.campaign_id or "")
        return accept_batch(self.ledger, batch.batch_key)

    def _resolve_doubt(self, batch: Batch) -> Batch:
        """ "About to send" without an outcome: only two equal looks, a while apart, prove that nothing was sent."""
        send_state = self._send_state(batch)
        if send_state != "taken":
            self.waits.sleep(self.waits.draft_apart)
            before, send_state = send_state, self._send_state(batch)
            if send_state not in ("taken", before):
                raise NotYet("whether its campaign is there shows now this way, now that way")
        if send_state == "taken":
            return self._accept(batch)
        if send_state == "draft":
            return update_batch(self.ledger, batch.batch_key, send_intended_at=None)
        if self._is_ahead(batch):
            raise NotYet("its campaign is not in Klaviyo; it is looked for until its time has come")
        return close_batch(self.ledger, batch.batch_key, "cancelled", remote_status=_DELETED_IN_DOUBT)

    def _send_state(self, batch: Batch) -> SendState:
        campaign_id = batch.campaign_id or ""
        try:
            if self.client.get_campaign(campaign_id).status != "Draft":
                return "taken"
        except NotFound:
            return "deleted"
        # A cancelled job and a draft: taken back by us.
        return "draft" if self.client.send_job(campaign_id) in (None, "cancelled") else "taken"

    def _take_back_for_revoked(self, batch: Batch) -> Batch:
        """A scheduled campaign must not mail who lost the ticket before its time came: it is sent anew without them.

        Taking them off its list would do only where recipients are fixed when the mails leave; in other accounts that
        happens when the sending is taken over, and nobody can read which it is.
        """
        if not self._is_ahead(batch) or not invitations_without_access(self.ledger, batch):
            return batch
        # In doubt from before the call: who dies in it must not leave a draft that counts as handed over.
        batch = reopen_batch(self.ledger, batch.batch_key)
        try:
            self.client.revert_send(batch.campaign_id or "")
        except Refused:  # nothing to stop: a draft since an earlier try, leaving this very moment, or deleted there
            return self._resolve_doubt(batch)
        return update_batch(self.ledger, batch.batch_key, send_intended_at=None)

    def _is_ahead(self, batch: Batch) -> bool:
        return batch.send_at is not None and batch.send_at > self.ledger.clock()

    # -- following --------------------------------------------------------------------------------

    def _follow(self, batch: Batch) -> None:
        if self._is_ahead(batch):
            return
        statuses = ["Unknown"]

        def ended() -> bool:
            statuses[0] = self.client.get_campaign(batch.campaign_id or "").status
            return statuses[0] in SENT or statuses[0].startswith("Cancelled")

        try:
            over = self.waits.until(self.waits.follow, ended)
        except NotFound:
            over, statuses[0] = True, _DELETED
        except ServiceError as error:
            self.outcome.problems.append(f"batch {batch.batch_key} was sent; its end is not known yet ({error.reason})")
            return
        if not over:
            update_batch(self.ledger, batch.batch_key, remote_status=statuses[0])
            self._tell_if_stuck(batch, statuses[0])
        elif statuses[0] in SENT:
            close_batch(self.ledger, batch.batch_key, "sent", remote_status=statuses[0])
        else:
            close_batch(self.ledger, batch.batch_key, "cancelled", remote_status=statuses[0])

    def _tell_cancelled(self, partition: EventPartition) -> None:
        """Every time: whoever is told that it is over would leave these people without a mail."""
        self.outcome.problems += [
            f"campaign {batch.campaign_name} ended as {batch.remote_status}: {_who_was_mailed(batch)}, run "
            f"`pycontw-assets release {batch.batch_key}`"
            for batch in cancelled_batches(self.ledger, partition.key)
        ]

    def _tell_if_stuck(self, batch: Batch, status: str) -> None:
        if status == "Draft":
            self.outcome.problems.append(
                f"campaign {batch.campaign_name} is a draft although Klaviyo took its sending over: its people got "
                "no mail. Unless somebody took it back on purpose, send it in Klaviyo by hand"
            )
        elif self.ledger.clock() - (batch.send_at or batch.accepted_at or batch.created_at) > _LONGEST_WAY:
            self.outcome.problems.append(
                f"campaign {batch.campaign_name} is {status} long after Klaviyo took its sending over; look at it "
                "there. Its people are not mailed again by themselves"
            )


def _who_was_mailed(batch: Batch) -> str:
    """What a person has to do before it is released."""
    if batch.remote_status == _DELETED_IN_DOUBT:
        return "look at the mails your account sent. If its people got none"
    return "its people got no mail. When the cause is mended"
