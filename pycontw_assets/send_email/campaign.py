"""The invitation step: claim newcomers as one batch, bring every open batch to its end, report what a person must know.

A batch is invited by one campaign, or by one event a person (``by_event``). When the settings change the way, a batch
of which nothing was begun is given up, and its people are claimed again. Everything that was begun ends in its own way.

Order of one batch with a campaign: claim it in the ledger, reserve a list of the pool, fill the list, find or create
the campaign by its batch key, assign the template, check, record the intent to send, send, record the outcome, follow
until it ended. A restart at any step looks at the remote state first. ``campaign_sending`` does all between claiming
and following.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pycontw_assets.api.client import Malformed, NotFound, Refused, ServiceError
from pycontw_assets.api.log import log_step
from pycontw_assets.ledger.batches import (
    Batch,
    cancelled_batches,
    claim_batch,
    close_batch,
    count_claimed,
    find_newcomers,
    invitations_in,
    release_invitations,
    reserve_batch_key,
    unfinished_batches,
    update_batch,
)
from pycontw_assets.ledger.by_event.handing_over import move_invitations
from pycontw_assets.ledger.database.tables import Way
from pycontw_assets.ledger.grants import Grant, grants_of
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.restoration import end_unmailed
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email import names
from pycontw_assets.send_email.by_event.event_sending import Events, EventSending
from pycontw_assets.send_email.by_event.invitation_event import Links
from pycontw_assets.send_email.by_event.reach import Reach, resumable
from pycontw_assets.send_email.campaign_sending import (
    DELETED,
    BatchSending,
    CampaignOutcome,
    Mail,
    NotYet,
    Sender,
    claimed_invitations,
    is_ahead,
)
from pycontw_assets.send_email.invitation.personal import PersonalLinks, no_links
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import SENT_STATUSES, ChangedShape
from pycontw_assets.send_email.recipients import describe_end
from pycontw_assets.send_email.wait_policy import WaitPolicy

_LONGEST_WAY = timedelta(days=1)  # of a campaign from its sending to its end, before a person has to look
_SENDING_TAKES = timedelta(seconds=1)  # at least. A look before that would be in vain
_SCHEDULED_BATCHES = 3  # per event. Later newcomers are mailed right after the scheduled time


@dataclass(frozen=True, slots=True)
class MailOfSpace:
    """The invitation to one space of the venue: the mail of a campaign, and the links in the mail of a flow."""

    mail: Mail
    template_id: Callable[[], str]
    links: Links


@dataclass(slots=True, kw_only=True)
class CampaignStep:
    """Invites the newcomers of one event and brings its open batches to an end.

    - ``exclusive``: the lock on names in Klaviyo.
    - ``template_id``: finds or creates the template when it is first needed.
    - ``of_spaces``: what is sent instead where the venue has several spaces, by the ledger's name of the space. A batch
      with a campaign is then one of a single space. Empty: there is one.
    - ``reach``: the way in which newcomers are invited, and whom it reaches. Open batches of the other way end in
      theirs, or are given up.
    - ``personal_links``: finds the links that are one person's own.
    - ``send_at``: the time to schedule campaigns for, and to hold events back until; ``None`` or past: send at once.
    - ``unmailed_since``: when mail was switched off, while nobody has said whom of its time to invite.
    - ``vouch``: raises before the first campaign or event of a batch where this ledger may have forgotten invitations.
    - ``invite_limit``: most invitations of one poll without the override ``invite``.
    """

    client: KlaviyoClient
    ledger: Ledger
    waits: WaitPolicy
    exclusive: Callable[[], AbstractContextManager[None]]
    sender: Sender
    mail: Mail
    template_id: Callable[[], str]
    poll_id: str
    events: Events | None = None  # needed where any batch is one of events
    links: Links = field(default_factory=lambda: Links("", ""))
    of_spaces: Mapping[str, MailOfSpace] = field(default_factory=dict)
    personal_links: PersonalLinks = no_links
    reach: Reach = field(default_factory=Reach)
    send_at: datetime | None = None
    invite_limit: int = 2000
    overrides: frozenset[str] = frozenset()
    unmailed_since: datetime | None = None
    vouch: Callable[[], None] = lambda: None
    outcome: CampaignOutcome = field(default_factory=CampaignOutcome)

    def run(self, partition: EventPartition, holders: Mapping[str, Holder]) -> CampaignOutcome:
        """Go on with the open batches, then with a new one. Without either, Klaviyo is not called.

        Raise the first refusal that concerns one batch only, after all other batches had their turn. A changed shape
        of Klaviyo's answers concerns all of them, so it ends the step.
        """
        sending = self._event_sending
        self.give_up_unbegun(partition)
        open_batches = unfinished_batches(self.ledger, partition.key)
        # A rush leaves many batches behind, and their ends are awaited in turn: all together no longer than one.
        follow = self.waits.follow / (len(open_batches) or 1)
        refusals: list[ServiceError] = []
        for batch in open_batches:
            try:
                self._advance_or_wait(batch, partition, holders, sending, follow=follow)
            except ChangedShape:
                raise
            except (Refused, Malformed) as error:  # about this batch only, so the others go on
                refusals.append(error)
        for claimed in self.claim_all(partition, holders, open_batches):
            self._advance_or_wait(claimed, partition, holders, sending, follow=self.waits.follow)
        self._report_cancelled(partition)
        if refusals:
            raise refusals[0]
        return self.outcome

    def invite(self, partition: EventPartition, holders: Mapping[str, Holder]) -> CampaignOutcome:
        """Invite those of ``holders`` who were let in, and nothing else: open batches wait for ``run``.

        The campaign is sent and not followed.
        """
        for claimed in self.claim_all(partition, holders, unfinished_batches(self.ledger, partition.key)):
            self._advance_or_wait(claimed, partition, holders, self._event_sending, follow=None)
        return self.outcome

    # -- claiming ---------------------------------------------------------------------------------

    def give_up_unbegun(self, partition: EventPartition) -> None:
        """Free the people of open batches of the other way for whom nothing was begun. No service is asked.

        Of a batch of events, each person counts: those whose event may have been handed over stay in it.
        """
        for batch in unfinished_batches(self.ledger, partition.key):
            if batch.way == self.reach.way or batch.state != "open" or batch.campaign_intended_at is not None:
                continue
            claimed = [item for item in invitations_in(self.ledger, batch.batch_key) if item.state == "claimed"]
            free = [item.address_key for item in claimed if item.event_id is None]
            release_invitations(self.ledger, batch.batch_key, free)
            if batch.way == "campaign":
                close_batch(self.ledger, batch.batch_key, "empty", remote_status=None)
            log_step("batch_given_up", step="send_email", batch=batch.batch_key, people=len(free), outcome="empty")

    def claim_all(
        self, partition: EventPartition, holders: Mapping[str, Holder], open_batches: list[Batch]
    ) -> list[Batch]:
        """Claim all newcomers: as one batch, or as one for each space with some."""
        batches: list[Batch] = []
        for _ in range(max(1, len(self.of_spaces))):
            claimed = self.claim_newcomers(partition, holders, [*open_batches, *batches])
            if claimed is None:
                break
            batches.append(claimed)
        return batches

    def claim_newcomers(
        self, partition: EventPartition, holders: Mapping[str, Holder], open_batches: list[Batch]
    ) -> Batch | None:
        """Claim all holders who were let in and are in no batch yet. ``None``: there is nobody, or they wait.

        For a campaign, only those of the first space with some are claimed: its mail has one link.

        A batch of events also goes on with invitations that no campaign can go on with (``find_resumable``).
        """
        newcomers = find_newcomers(self.ledger, partition.key, partition.edition)
        periods = {key: period for key, period in newcomers.items() if key in holders}
        resumed = {
            key: period for key, period in resumable(self.ledger, partition, self.reach).items() if key in holders
        }
        if not periods and not resumed:
            return None
        people = len(periods) + len(resumed)
        if self.unmailed_since and "invite" not in self.overrides:
            self.outcome.waiting += len(periods)
            self.outcome.problems.append(
                f"mail was switched off from {self.unmailed_since:%Y-%m-%d %H:%M} UTC on, and {people} people would be "
                "invited now; nobody was. Invite them all with `pycontw-assets poll --allow invite`, or invite those "
                "who buy from now on: `pycontw-assets mark-invited --all-holders`"
            )
            return None
        if self._is_beyond_limit(people):
            self.outcome.waiting += len(periods)
            self.outcome.problems.append(
                f"{people} invitations are due, more than INVITE_LIMIT={self.invite_limit} lets one poll start; "
                "nobody was mailed. If they are right, run `pycontw-assets poll --allow invite`"
            )
            return None
        now = self.ledger.clock()
        way: Way = self.reach.way if periods else "event"
        if way == "campaign":
            periods = self._of_one_space(partition.edition, periods)
        scheduled = self.send_at if self.send_at and self.send_at > now else None
        scheduled_campaigns = sum(batch.send_at is not None and batch.way == "campaign" for batch in open_batches)
        if way == "campaign" and scheduled and scheduled_campaigns >= _SCHEDULED_BATCHES:
            self.outcome.waiting += len(periods)
            return None
        if self.unmailed_since:
            end_unmailed(self.ledger, partition.edition)  # the override said whom to invite: everybody
        batch = self._new_batch(partition, way, scheduled)
        claim_batch(self.ledger, batch, periods)
        if way == "event":
            move_invitations(self.ledger, batch, resumed)
        log_step(
            "batch_claimed",
            step="send_email",
            partition=partition.key,
            poll=self.poll_id,
            batch=batch.batch_key,
            people=len(periods) + len(resumed),
        )
        return batch

    def _of_one_space(self, edition: str, periods: dict[str, int]) -> dict[str, int]:
        """Return the people of one space. Somebody without a space is sent the mail of the first one."""
        if not self.of_spaces:
            return periods
        spaces = {key: self._space_of(grant) for key, grant in grants_of(self.ledger, edition, periods).items()}
        chosen = next(space for space in self.of_spaces if space in {spaces[key] for key in periods})
        return {key: period for key, period in periods.items() if spaces[key] == chosen}

    def _space_of(self, grant: Grant) -> str:
        is_set = grant.space_digest in self.of_spaces
        return grant.space_digest if is_set and grant.space_digest else next(iter(self.of_spaces))

    def _new_batch(self, partition: EventPartition, way: Way, scheduled: datetime | None) -> Batch:
        now, batch_key = self.ledger.clock(), uuid.uuid4().hex[:12]
        if way == "campaign":
            batch_key = reserve_batch_key(self.ledger, partition.key, batch_key)
        return Batch(
            batch_key=batch_key,
            edition=partition.edition,
            partition_key=partition.key,
            poll_id=self.poll_id,
            state="open",
            campaign_name=names.campaign(partition.edition, now, batch_key) if way == "campaign" else "",
            created_at=now,
            send_at=scheduled,
            way=way,
        )

    def _is_beyond_limit(self, people: int) -> bool:
        claimed = count_claimed(self.ledger, self.poll_id)
        return claimed + people > self.invite_limit and "invite" not in self.overrides

    # -- one batch ----------------------------------------------------------------------------------

    def advance(self, batch: Batch, partition: EventPartition, holders: Mapping[str, Holder]) -> CampaignOutcome:
        """Bring one batch as far as it comes now. The next poll goes on with what is left of it."""
        self._advance_or_wait(batch, partition, holders, self._event_sending, follow=self.waits.follow)
        return self.outcome

    def _advance_or_wait(
        self,
        batch: Batch,
        partition: EventPartition,
        holders: Mapping[str, Holder],
        sending: EventSending | None,
        *,
        follow: float | None,
    ) -> None:
        """Advance a batch. ``follow``: seconds to wait for the end of its campaign; ``None``: nobody looks for it."""
        try:
            self._advance(batch, partition, holders, sending, follow=follow)
        except NotYet as reason:
            waiting = len(claimed_invitations(self.ledger, batch))
            self.outcome.waiting += waiting
            self.outcome.problems.append(f"batch {batch.batch_key} waits: {reason}")
            log_step("batch_waits", step="send_email", batch=batch.batch_key, waiting=waiting, outcome="waiting")

    def _advance(
        self,
        batch: Batch,
        partition: EventPartition,
        holders: Mapping[str, Holder],
        sending: EventSending | None,
        *,
        follow: float | None,
    ) -> None:
        self.outcome.batches += 1
        if batch.way == "event":
            if sending is not None:
                sending.advance(batch, partition, holders)
            return
        if self.reach.way == "event" and batch.state == "open":
            batch = self._sending_of(batch).give_up(batch)
        else:
            batch = self._sending_of(batch).bring_to_klaviyo(batch, holders)
        if follow is not None and batch.state == "accepted" and not is_ahead(batch, self.ledger.clock()):
            self._follow(batch, follow)

    @property
    def _event_sending(self) -> EventSending | None:
        if self.events is None:
            return None
        return EventSending(
            events=self.events,
            profiles=self.client,
            ledger=self.ledger,
            links=self.links,
            links_of_spaces={space: sent.links for space, sent in self.of_spaces.items()},
            personal_links=self.personal_links,
            reach=self.reach,
            outcome=self.outcome,
            send_at=self.send_at,
            vouch=self.vouch,
        )

    def _sending_of(self, batch: Batch) -> BatchSending:
        mail, template_id = self._mail_of(batch)
        return BatchSending(
            client=self.client,
            ledger=self.ledger,
            waits=self.waits,
            exclusive=self.exclusive,
            sender=self.sender,
            mail=mail,
            template_id=template_id,
            outcome=self.outcome,
            vouch=self.vouch,
            personal_links=self.personal_links,
        )

    def _mail_of(self, batch: Batch) -> tuple[Mail, Callable[[], str]]:
        """Return the mail of a batch, by the space of its people. They were claimed together, so it is the same."""
        if not self.of_spaces:
            return self.mail, self.template_id
        claimed = claimed_invitations(self.ledger, batch)
        grants = grants_of(self.ledger, batch.edition, {item.address_key for item in claimed})
        periods = [(grants[item.address_key], item.period) for item in claimed if item.address_key in grants]
        spaces = {self._space_of(grant) for grant, period in periods if grant.period == period}
        sent = next((self.of_spaces[space] for space in self.of_spaces if space in spaces), None)
        return (sent.mail, sent.template_id) if sent else (self.mail, self.template_id)

    def _follow(self, batch: Batch, seconds: float) -> None:
        """Watch a campaign that Klaviyo took over until it has ended, or until the next poll."""
        statuses = ["Unknown"]

        def has_ended() -> bool:
            statuses[0] = self.client.get_campaign(batch.campaign_id or "").status
            return statuses[0] in SENT_STATUSES or statuses[0].startswith("Cancelled")

        is_fresh = self.ledger.clock() - (batch.accepted_at or batch.created_at) < _SENDING_TAKES
        try:
            is_over = self.waits.until(seconds, has_ended, at_once=not is_fresh)
        except NotFound:
            is_over, statuses[0] = True, DELETED
        except ChangedShape:
            raise
        except ServiceError as error:
            self.outcome.problems.append(f"batch {batch.batch_key} was sent; its end is not known yet ({error.reason})")
            if batch.remote_status:  # an answer that failed ends no alarm
                self._report_if_stuck(batch, batch.remote_status)
            return
        if not is_over:
            update_batch(self.ledger, batch.batch_key, remote_status=statuses[0])
            self._report_if_stuck(batch, statuses[0])
        elif statuses[0] in SENT_STATUSES:
            close_batch(self.ledger, batch.batch_key, "sent", remote_status=statuses[0])
        else:
            close_batch(self.ledger, batch.batch_key, "cancelled", remote_status=statuses[0])
        self._log_followed(batch, is_over=is_over, status=statuses[0])

    def _log_followed(self, batch: Batch, *, is_over: bool, status: str) -> None:
        log_step(
            "batch_followed",
            step="send_email",
            batch=batch.batch_key,
            campaign=batch.campaign_id or "none",
            outcome=("sent" if status in SENT_STATUSES else "cancelled") if is_over else "waiting",
        )

    # -- reporting ----------------------------------------------------------------------------------

    def _report_cancelled(self, partition: EventPartition) -> None:
        """Report every cancelled batch with every poll. An alarm that ended would leave its people without a mail."""
        self.outcome.problems += [
            f"{_describe_cancelled(batch)}. When the cause is mended, run `pycontw-assets release {batch.batch_key}`: "
            "it lets the next poll mail those who got none"
            for batch in cancelled_batches(self.ledger, partition.key)
        ]

    def _report_if_stuck(self, batch: Batch, status: str) -> None:
        if status == "Draft":
            self.outcome.problems.append(
                f"campaign {batch.campaign_name} is a draft although Klaviyo took its sending over: its people wait "
                "for their mail, if none had left. Look at its report in Klaviyo: without recipients send it there by "
                "hand, otherwise delete it there"
            )
        elif self.ledger.clock() - (batch.send_at or batch.accepted_at or batch.created_at) > _LONGEST_WAY:
            self.outcome.problems.append(
                f"campaign {batch.campaign_name} is {status} long after Klaviyo took its sending over; look at it "
                "there. Its people are not mailed again by themselves"
            )


def _describe_cancelled(batch: Batch) -> str:
    end = describe_end(batch.remote_status)
    if batch.campaign_id is None:  # a rebuilt ledger found its key on profiles only
        return f"batch {batch.batch_key} has no campaign that Klaviyo knows: {end}"
    return f"campaign {batch.campaign_name} ended as {batch.remote_status}: {end}"
