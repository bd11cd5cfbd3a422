"""One batch on its way to Klaviyo: its people, its list, its campaign, the checks, and one sending.

An uncertain send is looked up, never repeated blindly: a missing mail can be sent, a second one cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from pycontw_assets.api.client import NotFound, Refused, Unavailable
from pycontw_assets.api.log import Outcome, log_step
from pycontw_assets.ledger.batches import (
    Batch,
    Invitation,
    accept_batch,
    close_batch,
    intend_send,
    invitations_in,
    invitations_without_access,
    record_profiles,
    release_invitations,
    reopen_batch,
    update_batch,
    update_invitations,
)
from pycontw_assets.ledger.database.tables import LET_IN
from pycontw_assets.ledger.grants import grants_of
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import (
    Answer,
    answers_about,
    former_members,
    release_pool_list,
    reserve_pool_list,
)
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.records import Holder
from pycontw_assets.send_email import names
from pycontw_assets.send_email.find_or_create import ensure_list
from pycontw_assets.send_email.invitation.personal import PersonalLinks, link_properties, no_links
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import Campaign, Profile
from pycontw_assets.send_email.list_membership import change_members
from pycontw_assets.send_email.profiles import ensure_profiles
from pycontw_assets.send_email.wait_policy import WaitPolicy

# Lists. One open batch reserves one, and the list rests for an hour after it. Three events with newcomers in every one
# of twelve polls an hour keep 36 busy, and the waves of a rush up to 60 more (``extract.waves``). A list is made only
# when no rested one is free.
POOL_SIZE = 96
DELETED = "Cancelled: deleted in Klaviyo"
DELETED_IN_DOUBT = "Cancelled: deleted in Klaviyo, perhaps after it was sent"
STILL_TRUE = timedelta(minutes=10)  # of what Klaviyo said whether mail reaches somebody
_PLANNED = ("Preparing to schedule", "Scheduled")

SendState = Literal["taken", "draft", "deleted"]
"""``taken``: Klaviyo has taken the sending over, or somebody else has sent the campaign."""


class Mail(Protocol):
    """The part of a rendered mail that a campaign uses."""

    @property
    def name(self) -> str: ...

    @property
    def subject(self) -> str: ...

    @property
    def preview_text(self) -> str: ...

    @property
    def version(self) -> str: ...


class NotYet(Exception):
    """The batch waits for Klaviyo. The next poll goes on with it."""


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of every mail."""

    from_email: str
    from_label: str
    reply_to: str


@dataclass(slots=True)
class CampaignOutcome:
    """Counts of one step. ``waiting``: addresses with access that are not invited yet."""

    batches: int = 0
    invited: int = 0
    waiting: int = 0
    unreachable: int = 0
    campaign_ids: list[str] = field(default_factory=list)
    batch_keys: list[str] = field(default_factory=list)  # of batches that Klaviyo took over
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def claimed_invitations(ledger: Ledger, batch: Batch) -> list[Invitation]:
    """Return the invitations of a batch that are neither sent nor given up."""
    return [item for item in invitations_in(ledger, batch.batch_key) if item.state == "claimed"]


def is_ahead(batch: Batch, now: datetime) -> bool:
    """Whether the batch is scheduled for a time that has not come yet."""
    return batch.send_at is not None and batch.send_at > now


@dataclass(slots=True, kw_only=True)
class BatchList:
    """The list of one batch: one of the pool, reserved for it and filled with exactly its people."""

    client: KlaviyoClient
    ledger: Ledger
    waits: WaitPolicy
    exclusive: Callable[[], AbstractContextManager[None]]

    def reserve(self, batch: Batch) -> Batch:
        """Return the batch with a list. Raise ``NotYet`` while all lists of the pool are in use or resting."""
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

    def fill(self, batch: Batch, profile_ids: set[str]) -> set[str]:
        """Make the list hold exactly these profiles, and wait until it shows them.

        Return the profiles that did not show for so long that the batch has to go on without them.
        """
        list_id = batch.list_id or ""
        former = former_members(self.ledger, list_id, batch.batch_key) - profile_ids
        refusal: NotFound | None = None
        try:
            change_members(self.client, self.client.remove_from_list, list_id=list_id, profile_ids=former)
            self.client.add_to_list(list_id, sorted(profile_ids))
        except NotFound as error:  # the list, or one of the profiles
            refusal = error
        try:
            present = self.client.list_member_ids(list_id)
        except NotFound:
            self._forget(batch)
            raise NotYet("its list was deleted; another one is taken") from None
        if refusal:
            raise refusal
        if present == profile_ids:
            return set()
        strangers = present - profile_ids
        change_members(self.client, self.client.remove_from_list, list_id=list_id, profile_ids=strangers)
        latest = [present]

        def shows_all() -> bool:
            latest[0] = self.client.list_member_ids(list_id)
            return latest[0] == profile_ids

        if self.waits.until(self.waits.visible, shows_all):
            return set()
        if strangers := latest[0] - profile_ids:
            self._forget(batch)
            raise NotYet(f"{len(strangers)} strangers stay on its list; another one is taken")
        if not latest[0] or self.ledger.clock() - batch.created_at < self.waits.hidden:
            raise NotYet("its members do not show on the list yet")
        return profile_ids - latest[0]

    def _forget(self, batch: Batch) -> None:
        release_pool_list(self.ledger, batch.batch_key)
        record_remote_id(self.ledger, "list", batch.list_name or "", remote_id=None)
        update_batch(self.ledger, batch.batch_key, list_name=None, list_id=None)


@dataclass(slots=True, kw_only=True)
class BatchSending:
    """Brings one batch to the point where Klaviyo has taken its sending over. Counts go into ``outcome``."""

    client: KlaviyoClient
    ledger: Ledger
    waits: WaitPolicy
    exclusive: Callable[[], AbstractContextManager[None]]
    sender: Sender
    mail: Mail
    template_id: Callable[[], str]
    outcome: CampaignOutcome
    vouch: Callable[[], None] = lambda: None  # raises where this ledger may have forgotten invitations
    personal_links: PersonalLinks = no_links

    def bring_to_klaviyo(self, batch: Batch, holders: Mapping[str, Holder]) -> Batch:
        """Return the batch as accepted or closed. Raise ``NotYet`` when it has to wait."""
        if batch.state == "open":
            in_doubt = batch.send_intended_at is not None
            batch = self._resolve_doubt(batch) if in_doubt else self._accept_if_sent_elsewhere(batch)
        if batch.state == "accepted":
            batch = self._take_back_for_revoked(batch)
        if batch.state == "open":
            batch = self._prepare_and_send(batch, holders)
        return batch

    def give_up(self, batch: Batch) -> Batch:
        """Free the people of an open batch whose campaign was certainly not sent, for the other way to invite them.

        Return the batch as closed. Where its campaign was sent, or is in doubt, the batch goes on in its own way.
        """
        in_doubt = batch.send_intended_at is not None
        batch = self._resolve_doubt(batch) if in_doubt else self._accept_if_sent_elsewhere(batch)
        if batch.state != "open":
            return batch
        while campaign := self._existing_campaign(batch):
            if campaign.status != "Draft":
                raise NotYet(f"its campaign is {campaign.status} although we never sent it; look at it in Klaviyo")
            self.client.delete_campaign(campaign.campaign_id)
            batch = update_batch(self.ledger, batch.batch_key, campaign_id=None, campaign_intended_at=None)
        people = claimed_invitations(self.ledger, batch)
        release_invitations(self.ledger, batch.batch_key, [item.address_key for item in people])
        log_step("batch_closed", step="send_email", batch=batch.batch_key, people=len(people), outcome="empty")
        return close_batch(self.ledger, batch.batch_key, "empty", remote_status=None)

    def _prepare_and_send(self, batch: Batch, holders: Mapping[str, Holder]) -> Batch:
        if batch.campaign_intended_at is None:
            self.vouch()  # before anything of the people is changed in Klaviyo
        members = self._keep_entitled(batch, holders)
        profile_ids = self._ensure_profiles(batch, members)
        if not profile_ids:
            return self._close_empty(batch)
        batch = self._batch_list.reserve(batch)
        self._fill_list(batch, profile_ids)
        batch = self._ensure_campaign(batch)
        self._check(batch, len(profile_ids))
        batch = self._send(batch)
        return self._send(batch) if batch.state == "open" else batch

    def _accept_if_sent_elsewhere(self, batch: Batch) -> Batch:
        """Count a waiting draft that somebody sent in Klaviyo as sent, so that nobody of it is mailed again."""
        if batch.campaign_id is None:
            return batch
        try:
            status = self.client.get_campaign(batch.campaign_id).status
        except NotFound:
            return batch  # it is made again
        # This program may have taken it back, and that may show late.
        is_taken_back = batch.send_at is not None and status in _PLANNED
        if status == "Draft" or is_taken_back:
            return batch
        self.outcome.problems.append(f"campaign {batch.campaign_name} was sent in Klaviyo, not by us ({status})")
        return self._accept(batch)

    # -- people -----------------------------------------------------------------------------------

    def _keep_entitled(self, batch: Batch, holders: Mapping[str, Holder]) -> dict[str, Holder]:
        """Return the holders who are still let in, and take the others out. Nothing was sent yet."""
        claimed = claimed_invitations(self.ledger, batch)
        grants = grants_of(self.ledger, batch.edition, {item.address_key for item in claimed})
        entitled: dict[str, Holder] = {}
        for item in claimed:
            grant = grants.get(item.address_key)
            is_current = grant and grant.period == item.period and grant.state in LET_IN
            if item.address_key in holders and is_current:
                entitled[item.address_key] = holders[item.address_key]
        others = [item.address_key for item in claimed if item.address_key not in entitled]
        release_invitations(self.ledger, batch.batch_key, others)
        return entitled

    def _ensure_profiles(self, batch: Batch, members: Mapping[str, Holder]) -> set[str]:
        """Return the profile ids of the reachable members. Record the reason for each of the others."""
        properties = {names.batch_key_property(batch.edition): batch.batch_key}
        answered = self._just_answered(batch, members)
        others = {key: holder for key, holder in members.items() if key not in answered}
        personal = link_properties(self.personal_links, batch.edition, others)
        profiles = ensure_profiles(self.client, self.waits, others, properties=properties, also=personal)
        accepted = self._ask_again(profiles.accepted, others) | {
            key: Profile(answer.profile_id, None, can_receive_email=True) for key, answer in answered.items()
        }
        unreachable = {**profiles.barred, **profiles.refused}
        unreachable |= {key: answer.reason for key, answer in answered.items() if answer.reason}
        for key, profile in accepted.items():
            if reason := profile.unreachable_because:
                unreachable[key] = reason
        for key, reason in sorted(unreachable.items()):
            update_invitations(self.ledger, batch.batch_key, [key], state="unreachable", reason=reason)
        self.outcome.unreachable += len(unreachable)
        unknown = {key for key, profile in accepted.items() if profile.can_receive_email is None}
        reachable = {key: p.profile_id for key, p in accepted.items() if key not in unreachable.keys() | unknown}
        record_profiles(self.ledger, batch.batch_key, reachable)
        self._leave_out(batch, unknown, alone=not reachable)
        return set(reachable.values())

    def _just_answered(self, batch: Batch, members: Mapping[str, Holder]) -> dict[str, Answer]:
        """Return Klaviyo's answers of this poll about members whose profiles carry the batch's key already."""
        answers = answers_about(self.ledger, batch.partition_key, self.ledger.clock() - STILL_TRUE)
        marked = {key: answer for key, answer in answers.items() if answer.batch_key == batch.batch_key}
        return {key: answer for key, answer in marked.items() if key in members}

    def _ask_again(self, profiles: Mapping[str, Profile], members: Mapping[str, Holder]) -> dict[str, Profile]:
        """Return the profiles, with a second answer about those of which the first does not say who may be mailed."""
        silent = {p.profile_id: key for key, p in profiles.items() if p.can_receive_email is None}
        if not silent:
            return dict(profiles)
        answers = self.client.find_profiles([members[key].spelled for key in silent.values()])
        return {**profiles, **{silent[p.profile_id]: p for p in answers if p.profile_id in silent}}

    def _leave_out(self, batch: Batch, unknown: set[str], *, alone: bool) -> None:
        """Take people out of the batch of whom Klaviyo does not say whether they may be mailed. Silence is no yes.

        The next poll puts them into a batch of their own, which waits.
        """
        if not unknown:
            return
        reason = f"Klaviyo does not say whether mail may reach {len(unknown)} people"
        if alone:
            raise NotYet(f"{reason}; look at one of the newest profiles there")
        release_invitations(self.ledger, batch.batch_key, unknown)
        self.outcome.waiting += len(unknown)
        self.outcome.problems.append(f"{reason}; they wait")

    def _close_empty(self, batch: Batch) -> Batch:
        if batch.campaign_id:
            self.client.delete_campaign(batch.campaign_id)
        log_step("batch_closed", step="send_email", batch=batch.batch_key, outcome="empty")
        return close_batch(self.ledger, batch.batch_key, "empty", remote_status=None)

    def _fill_list(self, batch: Batch, profile_ids: set[str]) -> None:
        """Fill the list. Mark members that never show on it as unreachable, because they hold up the others.

        Perhaps the mail reaches them all the same, so the program never mails them again.
        """
        hidden = self._batch_list.fill(batch, profile_ids)
        claimed = claimed_invitations(self.ledger, batch)
        keys = [item.address_key for item in claimed if item.profile_id in hidden]
        if keys:
            reason = "does not show on the list of the batch"
            update_invitations(self.ledger, batch.batch_key, keys, state="unreachable", reason=reason)
            self.outcome.unreachable += len(keys)

    @property
    def _batch_list(self) -> BatchList:
        return BatchList(client=self.client, ledger=self.ledger, waits=self.waits, exclusive=self.exclusive)

    # -- the campaign -----------------------------------------------------------------------------

    def _ensure_campaign(self, batch: Batch) -> Batch:
        campaign = self._existing_campaign(batch)
        if campaign is not None and self._is_stale(campaign, batch):
            self.client.delete_campaign(campaign.campaign_id)
            campaign = None
        if campaign is None:
            now = self.ledger.clock()
            batch = update_batch(self.ledger, batch.batch_key, campaign_intended_at=now, campaign_id=None)
            campaign = self._create_campaign(batch)
        message_id = campaign.message_id or self.client.get_campaign(campaign.campaign_id).message_id
        return update_batch(self.ledger, batch.batch_key, campaign_id=campaign.campaign_id, message_id=message_id)

    def _create_campaign(self, batch: Batch) -> Campaign:
        """Create a draft, which mails nobody. After a lost answer, look it up before creating it again."""

        def create() -> Campaign:
            return self.client.create_campaign(
                name=batch.campaign_name,
                included_lists=(batch.list_id or "",),
                subject=self.mail.subject,
                preview_text=self.mail.preview_text,
                from_email=self.sender.from_email,
                from_label=self.sender.from_label,
                reply_to=self.sender.reply_to,
                send_at=batch.send_at if self._is_ahead(batch) else None,
            )

        return create_once(create, lambda: self._existing_campaign(batch))

    def _is_stale(self, campaign: Campaign, batch: Batch) -> bool:
        """Whether a draft can never be sent as it is: it is for another list, or for a time that has passed."""
        is_late = campaign.send_at is not None and campaign.send_at <= self.ledger.clock()
        return campaign.included_lists != (batch.list_id,) or (is_late and campaign.status == "Draft")

    def _existing_campaign(self, batch: Batch) -> Campaign | None:
        """Find the campaign by its id, or by its name when an earlier creation may have succeeded.

        The name is looked up twice, because Klaviyo's index may be late (assumed).
        """
        if batch.campaign_id is not None:
            try:
                return self.client.get_campaign(batch.campaign_id)
            except NotFound:
                return None
        if batch.campaign_intended_at is None:
            return None
        return find_twice(self.client, self.waits, lambda: self._campaigns_of(batch))

    def _campaigns_of(self, batch: Batch) -> list[Campaign]:
        """Return the campaigns with the batch's name, oldest first."""
        campaigns = [c for c in self.client.find_campaigns(batch.batch_key) if c.name == batch.campaign_name]
        return sorted(campaigns, key=lambda c: (c.created_at is None, c.created_at, c.campaign_id))

    def _check(self, batch: Batch, size: int) -> None:
        """Raise ``NotYet`` unless all holds that must hold before the point of no return."""
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
        """Refuse more recipients than the batch has. Fewer only cost a wait and a note: the list may show late."""
        campaign_id = batch.campaign_id or ""
        self.client.request_estimate(campaign_id)
        self.waits.sleep(self.waits.step)
        estimate = self.client.estimate(campaign_id)
        if estimate is None or estimate < size:  # perhaps it is not counted yet
            self.waits.until(self.waits.estimate, lambda: self.client.estimate_job_done(campaign_id))
            estimate = self.client.estimate(campaign_id)
        if estimate is not None and estimate > size:
            raise NotYet(f"Klaviyo estimates {estimate} recipients for a batch of {size}; not sent. Look at its list")
        if estimate is not None and estimate < size:
            self.waits.sleep(self.waits.second_look)
            self.outcome.notes.append(f"Klaviyo estimated {estimate} recipients for {size}; sent all the same")

    # -- sending ----------------------------------------------------------------------------------

    def _send(self, batch: Batch) -> Batch:
        """Send the campaign once. The intent is recorded before the call, the outcome after it."""
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
            if send_state(self.client, batch.campaign_id or "") == "draft":
                update_batch(self.ledger, batch.batch_key, send_intended_at=None)
                raise
            return self._resolve_doubt(batch)
        return self._accept(batch)

    def _accept(self, batch: Batch) -> Batch:
        people = len(claimed_invitations(self.ledger, batch))
        self.outcome.invited += people
        self.outcome.campaign_ids.append(batch.campaign_id or "")
        self.outcome.batch_keys.append(batch.batch_key)
        log_step(
            "batch_sent",
            step="send_email",
            batch=batch.batch_key,
            campaign=batch.campaign_id or "none",
            people=people,
            outcome="sent",
        )
        return accept_batch(self.ledger, batch.batch_key)

    def _resolve_doubt(self, batch: Batch) -> Batch:
        """Find out whether a send with an unknown outcome happened.

        Only two equal answers, a while apart, prove that nothing was sent.
        """
        state = send_state(self.client, batch.campaign_id or "")
        if state != "taken":
            self.waits.sleep(self.waits.draft_apart)
            earlier, state = state, send_state(self.client, batch.campaign_id or "")
            if state not in ("taken", earlier):
                raise NotYet("whether its campaign is there shows now this way, now that way")
        outcome: Outcome = "sent" if state == "taken" else state
        log_step("send_looked_up", step="send_email", batch=batch.batch_key, outcome=outcome)
        if state == "taken":
            return self._accept(batch)
        if state == "draft":
            return update_batch(self.ledger, batch.batch_key, send_intended_at=None)
        if self._is_ahead(batch):
            raise NotYet("its campaign is not in Klaviyo; it is looked for until its time has come")
        return close_batch(self.ledger, batch.batch_key, "cancelled", remote_status=DELETED_IN_DOUBT)

    def _take_back_for_revoked(self, batch: Batch) -> Batch:
        """Take a scheduled campaign back when somebody of it has lost access. It is then sent without them.

        Taking them off its list would help only in accounts that fix the recipients when the mails leave. Other
        accounts fix them when Klaviyo takes the sending over, and the interface does not say which an account is.
        """
        if not self._is_ahead(batch) or not invitations_without_access(self.ledger, batch):
            return batch
        log_step("batch_taken_back", step="send_email", batch=batch.batch_key)
        # In doubt from before the call: after a crash in it, a draft must not count as handed over.
        batch = reopen_batch(self.ledger, batch.batch_key)
        try:
            self.client.revert_send(batch.campaign_id or "")
        except Refused:  # nothing to stop: a draft since an earlier try, leaving at this moment, or deleted
            return self._resolve_doubt(batch)
        return update_batch(self.ledger, batch.batch_key, send_intended_at=None)

    def _is_ahead(self, batch: Batch) -> bool:
        return is_ahead(batch, self.ledger.clock())


def create_once(create: Callable[[], Campaign], find: Callable[[], Campaign | None]) -> Campaign:
    """Create a draft. After a lost answer, look it up (``find``) before creating it again."""
    try:
        return create()
    except Unavailable as error:
        if not error.outcome_unknown:
            raise
        return find() or create()


def find_twice(client: KlaviyoClient, waits: WaitPolicy, find: Callable[[], Sequence[Campaign]]) -> Campaign | None:
    """Return the first campaign that is found, and delete the other drafts. Klaviyo's index may be late (assumed)."""
    campaigns = find()
    if not campaigns:
        waits.sleep(waits.second_look)
        campaigns = find()
    for surplus in campaigns[1:]:
        if surplus.status == "Draft":
            client.delete_campaign(surplus.campaign_id)
    return campaigns[0] if campaigns else None


def send_state(client: KlaviyoClient, campaign_id: str) -> SendState:
    """Return whether Klaviyo took the sending of a campaign over."""
    try:
        if client.get_campaign(campaign_id).status != "Draft":
            return "taken"
    except NotFound:
        return "deleted"
    # A cancelled job of a draft means that this program took the sending back.
    return "draft" if client.send_job(campaign_id) in (None, "cancelled") else "taken"
