"""The account: profiles, lists, templates and campaigns, and their changes over time.

This module knows nothing of HTTP. Everything that takes time goes on an agenda. ``settle`` carries it out in order of
due time before every read: a stopped clock stops the account, and moving the clock moves it on.
"""

from __future__ import annotations

import heapq
import itertools
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pycontw_assets.sandbox.context import SimulationContext, locked
from pycontw_assets.sandbox.klaviyo.flows.flows import Flow, Flows
from pycontw_assets.sandbox.klaviyo.reactions.reactions import Habits, Reactions, SentMail
from pycontw_assets.sandbox.klaviyo.rendering import BrokenTemplateError, fill_in, render

SMART_SENDING_WINDOW = timedelta(hours=16)
MOST_TEMPLATES = 1000
_ULID_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BEFORE_SENDING = ("Preparing to send", "Adding Recipients", "Queued without Recipients")
_LONGEST_ADDRESS = 254
_SHORT_ID, _LONG_ID = 6, 26

_MAIL_METRICS = ("Received Email", "Opened Email", "Clicked Email", "Bounced Email")

JobStatus = Literal["queued", "processing", "complete", "cancelled"]


@dataclass(kw_only=True)
class Profile:
    id: str
    created: datetime
    updated: datetime
    attributes: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    consent: str = "NEVER_SUBSCRIBED"
    consent_at: datetime | None = None
    suppressions: list[tuple[str, datetime]] = field(default_factory=list)

    @property
    def email(self) -> str | None:
        value = self.attributes.get("email")
        return str(value) if value else None

    @property
    def can_receive_mail(self) -> bool:
        return self.consent != "UNSUBSCRIBED" and not self.suppressions


@dataclass
class Membership:
    profile_id: str
    joined_at: datetime
    left_at: datetime | None = None


@dataclass(kw_only=True)
class MailList:
    id: str
    name: str
    created: datetime
    updated: datetime
    opt_in_process: str = "double_opt_in"
    memberships: list[Membership] = field(default_factory=list)

    def current(self) -> dict[str, Membership]:
        return {m.profile_id: m for m in self.memberships if m.left_at is None}


@dataclass(kw_only=True)
class Template:
    """A mail template. ``is_copy``: an assignment made it, and it belongs to one message."""

    id: str
    name: str
    editor_type: str
    html: str | None
    text: str | None
    amp: str | None
    created: datetime
    updated: datetime
    is_copy: bool = False


@dataclass(kw_only=True)
class Campaign:
    """A campaign. ``outcome`` is set when the mails have left or the sending was stopped; the status follows it."""

    id: str
    message_id: str
    name: str
    included: list[str]
    excluded: list[str]
    smart_sending: bool
    tracking: dict[str, Any]
    strategy: dict[str, Any]
    label: str
    content: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    starts_no_earlier: datetime | None = None
    template_id: str | None = None
    accepted_at: datetime | None = None
    fixed_recipients: list[str] | None = None
    outcome: str | None = None
    send_time: datetime | None = None

    @property
    def send_at(self) -> datetime | None:
        """Return when an accepted campaign starts: at once, or at its scheduled time if that is in the future."""
        if self.accepted_at is None:
            return None
        return max(self.accepted_at, self.starts_no_earlier or self.accepted_at)


@dataclass(kw_only=True)
class ImportJob:
    id: str
    created_at: datetime
    total: int
    list_ids: list[str]
    started_at: datetime | None = None
    completed_at: datetime | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class Event:
    id: str
    at: datetime
    metric_id: str
    profile_id: str
    properties: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail that was sent, by a campaign or by a flow. ``by_hand``: a newsletter that a person sent."""

    at: datetime
    address: str = field(repr=False)
    profile_id: str
    campaign_id: str
    campaign_name: str
    subject: str
    html: str = field(repr=False)
    text: str = field(repr=False)
    from_email: str
    by_hand: bool = False


@dataclass
class KlaviyoSwitches:
    """Unknown behaviour of the real service, settings of the account, and delays in seconds.

    A switch takes effect when the next read carries out due work. To finish due work under the old setting, read the
    outbox before changing the switch.
    """

    rate_limits: bool = True
    status_step: float = 0.05  # between two statuses of a campaign that is being sent
    import_delay: float = 0.1
    estimation_delay: float = 0.05
    member_delay: float = 0.0  # until an addition to a list shows, and counts for a sending
    removal_delay: float = 0.0  # until a removal from a list shows, and counts for a sending
    list_delay: float = 0.0  # until a new list is found by name
    template_delay: float = 0.0  # until a new template is found by name
    campaign_delay: float = 0.0  # until a new campaign is found by name
    profile_delay: float = 0.0  # until a new profile is found by address
    deletion_delay: float = 0.1  # until a profile is deleted that somebody asked to delete
    event_delay: float = 0.0  # until an event shows
    event_processing: float = 0.0  # until an accepted event is recorded and starts its flows
    flow_delay: float = 0.05  # from the start of a flow to its mail
    report_delay: float = 0.0  # until a mail counts in reports
    recipients_fixed: Literal["acceptance", "sending"] = "sending"
    second_send: Literal["refused", "accepted"] = "refused"
    estimate_error: int = 0  # added to every estimate
    renamed_statuses: dict[str, str] = field(default_factory=dict)  # true status of a campaign -> status in answers
    refused_addresses: set[str] = field(default_factory=set)  # refused although they look valid
    mail_quota: int | None = None  # a campaign that uses the quota up ends as "Cancelled: Billing Limit"
    stop_after: int | None = None  # mails of each campaign until it ends as ``stops_as``
    stops_as: str = "Cancelled"
    shape: Literal["old", "new"] = "old"  # of answers about campaigns; new: as in revisions from 2026-10-15 on
    stated_revision: str | None = None  # the revision that every answer says it was made in
    subscriptions_shown: Literal["when asked", "in searches", "never"] = "when asked"
    bouncing_addresses: set[str] = field(default_factory=set)  # their mails do not arrive
    default_from_email: str = "hello@example.org"
    habits: Habits | None = None  # what people do with their mails; without any, mails arrive at once and rest


class MailAccount:
    """State of the simulated Klaviyo, and the rules of its changes."""

    def __init__(self, context: SimulationContext) -> None:
        self.context = context
        self.reset()

    def reset(self) -> None:
        self.switches = KlaviyoSwitches()
        self.profiles: dict[str, Profile] = {}
        self.lists: dict[str, MailList] = {}
        self.templates: dict[str, Template] = {}
        self.campaigns: dict[str, Campaign] = {}
        self.imports: dict[str, ImportJob] = {}
        self.estimations: dict[str, datetime] = {}
        self.events: list[Event] = []
        self.flows = Flows(self)
        self.reactions = Reactions(self)
        self.hand_made_lists: dict[str, frozenset[str]] = {}
        self._by_address: dict[str, str] = {}
        self._outbox: list[Mail] = []
        self._agenda: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._order = itertools.count()
        self.metrics = {self.new_id(_SHORT_ID): name for name in _MAIL_METRICS}

    # -- the outbox, and changes by hand --------------------------------------------------------------

    @property
    @locked
    def outbox(self) -> list[Mail]:
        """Return every mail sent until now, oldest first."""
        self.settle()
        return list(self._outbox)

    @locked
    def suppress(self, address: str, reason: str = "HARD_BOUNCE") -> None:
        profile = self._profile_by_hand(address)
        profile.suppressions.append((reason, self.context.now()))

    @locked
    def unsubscribe(self, address: str) -> None:
        profile = self._profile_by_hand(address)
        profile.consent, profile.consent_at = "UNSUBSCRIBED", self.context.now()
        profile.suppressions.append(("UNSUBSCRIBE", self.context.now()))

    @locked
    def add_list_by_hand(self, name: str, addresses: Iterable[str] = ()) -> str:
        """Add a list that belongs to a person; the oracle compares its members later."""
        mail_list = self.create_list(name, "single_opt_in")
        members = [self._profile_by_hand(address).id for address in addresses]
        self.add_members(mail_list, members)
        self.hand_made_lists[mail_list.id] = frozenset(members)
        return mail_list.id

    @locked
    def send_by_hand(self, list_id: str, subject: str = "Newsletter") -> None:
        """Send a newsletter to all members of a list at once; it counts for smart sending."""
        self.settle()
        now = self.context.now()
        for profile in self.recipients([list_id], [], now):
            if profile.email and profile.can_receive_mail:
                newsletter = Mail(
                    at=now,
                    address=profile.email,
                    profile_id=profile.id,
                    campaign_id="by-hand",
                    campaign_name=subject,
                    subject=subject,
                    html="",
                    text="",
                    from_email="",
                    by_hand=True,
                )
                self._outbox.append(newsletter)

    @locked
    def record_reaction(self, address: str, campaign_id: str, metric: Literal["Opened Email", "Clicked Email"]) -> None:
        """Record that a recipient opened the mail or followed its link; reports count it."""
        profile = self.find_profile(address)
        if profile is None:
            raise ValueError("no profile has this address")
        self._record_reaction(metric, profile.id, self.campaigns[campaign_id], self.context.now())

    def _profile_by_hand(self, address: str) -> Profile:
        self.settle()
        profile = self.find_profile(address)
        return profile or self.upsert_profile({"email": address}, {})[0]

    # -- time -----------------------------------------------------------------------------------------

    @locked
    def settle(self) -> None:
        """Carry out everything that is due, in order of due time."""
        now = self.context.now()
        while self._agenda and self._agenda[0][0] <= now:
            due, _, act = heapq.heappop(self._agenda)
            act(due)

    def later(self, seconds: float, act: Callable[[datetime], None], start: datetime | None = None) -> None:
        due = (start or self.context.now()) + timedelta(seconds=seconds)
        heapq.heappush(self._agenda, (due, next(self._order), act))

    def shows(self, since: datetime, delay: float) -> bool:
        """Return whether a change made at ``since`` shows by now, with this delay of the index."""
        return since + timedelta(seconds=delay) <= self.context.now()

    def new_id(self, length: int) -> str:
        alphabet = string.ascii_letters + string.digits if length <= _SHORT_ID else _ULID_ALPHABET
        return "".join(self.context.random.choices(alphabet, k=length))

    # -- profiles -------------------------------------------------------------------------------------

    def accepts(self, address: str) -> bool:
        """Return whether Klaviyo accepts an address, judging only by its shape."""
        local, at, domain = address.partition("@")
        well_formed = bool(local and at) and "." in domain.strip(".") and not set(address) & set(' \t\n<>,;()"\\')
        refused = {refused.lower() for refused in self.switches.refused_addresses}
        return well_formed and "@" not in domain and len(address) <= _LONGEST_ADDRESS and address.lower() not in refused

    def find_profile(self, address: str) -> Profile | None:
        """Find a profile by its address, in any letter case."""
        identity = self._by_address.get(address.strip().lower())
        return self.profiles[identity] if identity else None

    def upsert_profile(
        self, attributes: Mapping[str, Any], properties: Mapping[str, Any], identity: str | None = None
    ) -> tuple[Profile, bool]:
        """Return the profile and whether it is new. Absent members keep their values, ``None`` clears them."""
        now = self.context.now()
        address = attributes.get("email")
        profile = self.profiles.get(identity or "") or (self.find_profile(address) if address else None)
        is_new = profile is None
        if profile is None:
            profile = Profile(id=self.new_id(_LONG_ID), created=now, updated=now)
            self.profiles[profile.id] = profile
        profile.attributes.update(attributes)
        profile.properties.update(properties)
        profile.updated = now
        if address:
            self._by_address[address.strip().lower()] = profile.id
        return profile, is_new

    def forget(self, profile: Profile) -> None:
        """Delete a profile with everything recorded of it. It leaves all lists, also those made by hand."""
        self.profiles.pop(profile.id, None)
        self._by_address = {address: owner for address, owner in self._by_address.items() if owner != profile.id}
        self.events = [event for event in self.events if event.profile_id != profile.id]
        for mail_list in self.lists.values():
            mail_list.memberships = [m for m in mail_list.memberships if m.profile_id != profile.id]
        for campaign in self.campaigns.values():
            if campaign.fixed_recipients is not None:
                campaign.fixed_recipients = [other for other in campaign.fixed_recipients if other != profile.id]
        self.hand_made_lists = {name: members - {profile.id} for name, members in self.hand_made_lists.items()}

    # -- lists ----------------------------------------------------------------------------------------

    def create_list(self, name: str, opt_in_process: str) -> MailList:
        now = self.context.now()
        mail_list = MailList(
            id=self.new_id(_SHORT_ID), name=name, created=now, updated=now, opt_in_process=opt_in_process
        )
        self.lists[mail_list.id] = mail_list
        return mail_list

    def add_members(self, mail_list: MailList, profile_ids: Iterable[str]) -> None:
        now, present = self.context.now(), mail_list.current()
        for profile_id in dict.fromkeys(profile_ids):
            if profile_id not in present:
                mail_list.memberships.append(Membership(profile_id, now))
        mail_list.updated = now

    def remove_members(self, mail_list: MailList, profile_ids: Iterable[str]) -> None:
        now, present = self.context.now(), mail_list.current()
        for profile_id in set(profile_ids) & present.keys():
            present[profile_id].left_at = now
        mail_list.updated = now

    def visible_members(self, mail_list: MailList, at: datetime) -> dict[str, Membership]:
        """Return the members as the index shows them at ``at``: additions and removals may lag."""
        joined_by = at - timedelta(seconds=self.switches.member_delay)
        left_after = at - timedelta(seconds=self.switches.removal_delay)
        return {
            m.profile_id: m
            for m in mail_list.memberships
            if m.joined_at <= joined_by and (m.left_at is None or m.left_at > left_after)
        }

    def recipients(self, included: Iterable[str], excluded: Iterable[str], at: datetime) -> list[Profile]:
        """Return the members of the lists, whether they may be mailed or not. Deleted lists are empty."""
        profile_ids: dict[str, None] = {}
        for list_id in included:
            if list_id in self.lists:
                profile_ids.update(dict.fromkeys(self.visible_members(self.lists[list_id], at)))
        for list_id in excluded:
            if list_id in self.lists:
                for profile_id in self.visible_members(self.lists[list_id], at):
                    profile_ids.pop(profile_id, None)
        return [self.profiles[profile_id] for profile_id in profile_ids]

    def start_import(self, rows: list[tuple[dict[str, Any], dict[str, Any]]], list_ids: list[str]) -> ImportJob:
        """Queue an import; it begins after half of the delay and completes after all of it."""
        job = ImportJob(id=self.new_id(_LONG_ID), created_at=self.context.now(), total=len(rows), list_ids=list_ids)
        self.imports[job.id] = job

        def begin(at: datetime) -> None:
            job.started_at = at

        def finish(at: datetime) -> None:
            job.completed_at = at
            self._import(job, rows)

        self.later(self.switches.import_delay / 2, begin)
        self.later(self.switches.import_delay, finish)
        return job

    def _import(self, job: ImportJob, rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        profile_ids = []
        for attributes, properties in rows:
            address = attributes.get("email")
            if address is not None and not self.accepts(address):
                job.errors.append({"email": address})
                continue
            profile_ids.append(self.upsert_profile(attributes, properties)[0].id)
        for list_id in job.list_ids:
            if list_id in self.lists:
                self.add_members(self.lists[list_id], profile_ids)

    # -- templates ------------------------------------------------------------------------------------

    def add_template(
        self, name: str, *, editor_type: str, html: str | None, text: str | None, amp: str | None = None
    ) -> Template:
        now = self.context.now()
        template = Template(
            id=self.new_id(_SHORT_ID),
            name=name,
            editor_type=editor_type,
            html=html,
            text=text,
            amp=amp,
            created=now,
            updated=now,
        )
        self.templates[template.id] = template
        return template

    def assign_template(self, campaign: Campaign, template: Template) -> Template:
        """Give the campaign a copy of the template; later edits of the original do not change it."""
        template_copy = self.add_template(
            template.name,
            editor_type=template.editor_type,
            html=template.html,
            text=template.text,
            amp=template.amp,
        )
        template_copy.is_copy = True
        campaign.template_id = template_copy.id
        campaign.updated_at = self.context.now()
        return template_copy

    # -- campaigns ------------------------------------------------------------------------------------

    def status_of(self, campaign: Campaign) -> str:
        start = campaign.send_at
        if start is None or campaign.accepted_at is None:
            return campaign.outcome or "Draft"
        now, step = self.context.now(), timedelta(seconds=self.switches.status_step)
        if campaign.outcome is not None and (campaign.outcome != "Sent" or now >= start + 4 * step):
            return campaign.outcome
        if now < start:
            return "Preparing to schedule" if now < campaign.accepted_at + step else "Scheduled"
        passed = int((now - start) / step) if step else len(_BEFORE_SENDING)
        return _BEFORE_SENDING[passed] if passed < len(_BEFORE_SENDING) else "Sending"

    def job_status_of(self, campaign: Campaign) -> JobStatus | None:
        """Return the status of the send job; ``None`` when there is none or it was reverted."""
        if campaign.accepted_at is None:
            return None
        if campaign.outcome == "Cancelled":
            return "cancelled"
        if campaign.outcome is not None:
            return "complete"
        early = ("Preparing to schedule", "Scheduled", "Preparing to send")
        return "queued" if self.status_of(campaign) in early else "processing"

    def accept_sending(self, campaign: Campaign) -> None:
        """Accept a send job: from here on, the mails leave without further calls."""
        now = self.context.now()
        campaign.accepted_at, campaign.outcome, campaign.updated_at = now, None, now
        if self.switches.recipients_fixed == "acceptance":
            recipients = self.recipients(campaign.included, campaign.excluded, now)
            campaign.fixed_recipients = [profile.id for profile in recipients]
        self.later(
            self.switches.status_step * len(_BEFORE_SENDING),
            lambda at: self._send(campaign, accepted_at=now, at=at),
            start=campaign.send_at,
        )

    def stop_sending(self, campaign: Campaign, *, revert: bool) -> None:
        if revert:
            campaign.accepted_at = campaign.fixed_recipients = None
        else:
            campaign.outcome = "Cancelled"

    def _send(self, campaign: Campaign, *, accepted_at: datetime, at: datetime) -> None:
        is_stopped = campaign.accepted_at != accepted_at or campaign.outcome is not None
        if is_stopped or campaign.id not in self.campaigns:
            return
        campaign.outcome = self._deliver(campaign, at)
        campaign.send_time = at
        campaign.updated_at = at

    def _deliver(self, campaign: Campaign, at: datetime) -> str:
        """Mail every member that may be mailed, and return the outcome. No answer ever shows the skipped members."""
        template = self.templates.get(campaign.template_id or "")
        if template is None or not campaign.content.get("subject"):
            return "Cancelled: Misconfigured"
        if campaign.fixed_recipients is not None:
            members = [self.profiles[profile_id] for profile_id in campaign.fixed_recipients]
        else:
            members = self.recipients(campaign.included, campaign.excluded, at)
        eligible = [profile for profile in members if profile.email and profile.can_receive_mail]
        if not eligible:
            return "Cancelled: No Recipients"
        recipients = [p for p in eligible if not (campaign.smart_sending and self.was_mailed_lately(p.id, at))]
        if not recipients:
            return "Cancelled: Smart Sending"
        most, outcome = self._mails_left(len(recipients))
        try:
            mails = [self._compose(campaign, template, profile=profile, at=at) for profile in recipients[:most]]
        except BrokenTemplateError:
            return "Cancelled: Misconfigured"
        bouncing = {address.lower() for address in self.switches.bouncing_addresses}
        for mail in mails:
            arrives = mail.address.lower() not in bouncing
            self._let_leave(campaign.id, mail.profile_id, _properties_of(campaign), arrives=arrives, at=at)
            self._outbox += [mail] if arrives else []
        return outcome

    def _mails_left(self, wanted: int) -> tuple[int, str]:
        """Return how many mails of a campaign leave, and how it then ends."""
        switches = self.switches
        left = wanted if switches.mail_quota is None else max(0, switches.mail_quota - len(self._outbox))
        if switches.stop_after is not None and switches.stop_after < min(left, wanted):
            return switches.stop_after, switches.stops_as
        if left < wanted:
            return left, "Cancelled: Billing Limit"
        return wanted, "Sent"

    def was_mailed_lately(self, profile_id: str, at: datetime) -> bool:
        return any(mail.profile_id == profile_id and mail.at > at - SMART_SENDING_WINDOW for mail in self._outbox)

    def _compose(self, campaign: Campaign, template: Template, *, profile: Profile, at: datetime) -> Mail:
        person = {**profile.attributes, **profile.properties}
        return Mail(
            at=at,
            address=profile.email or "",
            profile_id=profile.id,
            campaign_id=campaign.id,
            campaign_name=campaign.name,
            subject=fill_in(campaign.content["subject"], person, as_html=False)[0],
            html=render(template.html or "", person, as_html=True),
            text=render(template.text or "", person, as_html=False),
            from_email=campaign.content.get("from_email") or self.switches.default_from_email,
        )

    def deliver_from_flow(self, flow: Flow, profile_id: str, *, subject: str, html: str, at: datetime) -> None:
        """Let the mail of a flow leave. Where its mailbox does not take it, it bounces."""
        properties = {"$flow": flow.id, "$message": flow.message_id, "Campaign Name": flow.name, "Subject": subject}
        address = self.profiles[profile_id].email or ""
        arrives = address.lower() not in {bouncing.lower() for bouncing in self.switches.bouncing_addresses}
        self._let_leave(flow.id, profile_id, properties, arrives=arrives, at=at)
        if arrives:
            mail = Mail(
                at=at,
                address=address,
                profile_id=profile_id,
                campaign_id=flow.id,
                campaign_name=flow.name,
                subject=subject,
                html=html,
                text="",
                from_email=self.switches.default_from_email,
            )
            self._outbox.append(mail)

    def _let_leave(
        self, source: str, profile_id: str, properties: dict[str, Any], *, arrives: bool, at: datetime
    ) -> None:
        mail = SentMail(source=source, profile_id=profile_id, properties=properties, arrives=arrives, at=at)
        self.reactions.mail_left(mail)

    @property
    def habits(self) -> Habits | None:
        return self.switches.habits

    def opt_out(self, profile_id: str, at: datetime) -> None:
        """Let a person leave the newsletter by the link in a mail."""
        if profile := self.profiles.get(profile_id):
            profile.consent, profile.consent_at = "UNSUBSCRIBED", at
            profile.suppressions.append(("UNSUBSCRIBE", at))

    # -- events ---------------------------------------------------------------------------------------

    def metric_id(self, name: str) -> str:
        for identity, metric in self.metrics.items():
            if metric == name:
                return identity
        identity = self.new_id(_SHORT_ID)
        self.metrics[identity] = name
        return identity

    def _record_reaction(self, metric: str, profile_id: str, campaign: Campaign, at: datetime) -> None:
        """Record what became of a mail."""
        self.record(metric, profile_id=profile_id, properties=_properties_of(campaign), at=at)

    def record(self, metric: str, *, profile_id: str, properties: dict[str, Any], at: datetime) -> None:
        if profile_id not in self.profiles:
            return  # deleted since, with everything recorded of it
        event = Event(
            id=self.new_id(_LONG_ID),
            at=at,
            metric_id=self.metric_id(metric),
            profile_id=profile_id,
            properties=properties,
        )
        self.events.append(event)


def _properties_of(campaign: Campaign) -> dict[str, Any]:
    """Return the members that live events about a campaign's mails were seen to have."""
    return {
        "$message": campaign.message_id,
        "Campaign Name": campaign.name,
        "Subject": campaign.content.get("subject", ""),
    }
