"""Klaviyo's lists, profiles, templates and campaigns in memory, with the client's methods.

It is the worst Klaviyo that the contract allows: names are not unique, a second send mails again, and indexes lag. A
campaign goes to the members that its list has when the mails leave. ``mailed`` counts the received mails by address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any

from pycontw_assets.api.client import NotFound, Refused
from pycontw_assets.send_email.klaviyo_records import (
    Campaign,
    ImportJob,
    ImportProblem,
    MailingList,
    Profile,
    ProfileEvent,
    Template,
)
from pycontw_assets_tests.fakes.faults import CallFaults


@dataclass
class _List:
    name: str
    members: dict[str, int] = field(default_factory=dict)  # profile id -> reads until it shows


@dataclass
class _Campaign:
    record: Campaign
    message_id: str
    hidden: int
    template: Template | None = None
    reads_until_sent: int = 0
    reads_until_draft: int = 0
    job: str | None = None
    fixed: list[str] | None = None  # addresses, if the recipients are fixed when Klaviyo accepts the sending
    mailed: list[str] = field(default_factory=list)  # addresses


class FakeKlaviyo:
    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.api: Any = None  # of the calls about events, which have a fake of their own
        self.clock = clock
        self.faults = CallFaults("Klaviyo")
        self.mailed: Counter[str] = Counter()
        self.invalid: set[str] = set()  # addresses that it refuses
        self.suppressed: set[str] = set()  # addresses that it never mails
        self.why_suppressed: dict[str, str] = {}  # address -> reason, where it is another than a bounce
        self.silent: dict[str, int] = {}  # address -> answers without a word on whether mail may reach it
        self.deleted_profiles: set[str] = set()
        self.deletions: dict[str, int] = {}  # profile id -> looks until it does not show any more
        self.deletion_lag = 0
        self.member_lag = 0  # reads of a list until an addition shows
        self.campaign_lag = 0  # searches until a new campaign is found
        self.fixes_late = True  # recipients are the members of the list when the mails leave
        self.status_lag = 0  # reads of a campaign until it is sent
        self.draft_lag = 0  # reads of a reverted campaign until it shows as a draft
        self.ends_as: str | None = None  # the last status of campaigns instead of "Sent"
        self.stop_after = 0  # mails of campaigns with another last status than "Sent"
        self.left_out: set[str] = set()  # addresses that no mail leaves to, without a word
        self.bouncing: set[str] = set()  # addresses whose mail comes back
        self.late_events: set[str] = set()  # addresses of whose mails no event shows
        self.reported: int | None = 0  # recipients that the report counts too many; None: it shows no campaign
        self.lists: dict[str, _List] = {}
        self.addresses: dict[str, str] = {}  # profile id -> address
        self.properties: dict[str, dict[str, Any]] = {}
        self.templates: dict[str, Template] = {}
        self.campaigns: dict[str, _Campaign] = {}
        self.sent: list[_Campaign] = []  # also those that were deleted since
        self._numbers = count(1)

    @property
    def calls(self) -> Counter[str]:
        return self.faults.calls

    def members(self, name: str) -> set[str]:
        """Return the addresses on all lists with this name, whether they show yet or not."""
        return {self.addresses[p] for x in self.lists.values() if x.name == name for p in x.members}

    # -- lists ------------------------------------------------------------------------------------

    def find_lists(self, name: str) -> tuple[MailingList, ...]:
        return self._run(
            "find_lists", lambda: tuple(MailingList(i, x.name) for i, x in self.lists.items() if x.name == name)
        )

    def create_list(self, name: str) -> MailingList:
        def create() -> MailingList:
            list_id = self._id("L")
            self.lists[list_id] = _List(name)
            return MailingList(list_id, name)

        return self._run("create_list", create)

    def list_member_ids(self, list_id: str) -> frozenset[str]:
        def read() -> frozenset[str]:
            members = self._list(list_id).members
            shown = frozenset(profile_id for profile_id, hidden in members.items() if hidden <= 0)
            members.update({profile_id: hidden - 1 for profile_id, hidden in members.items()})
            return shown

        return self._run("list_member_ids", read)

    def list_members(self, list_id: str) -> tuple[Profile, ...]:
        """Return the same members as profiles."""
        return tuple(self._profile(i, self.addresses[i]) for i in sorted(self.list_member_ids(list_id)))

    def add_to_list(self, list_id: str, profile_ids: Iterable[str]) -> None:
        ids = list(profile_ids)

        def add() -> None:
            members = self._list(list_id).members
            self._refuse_unknown(ids)
            for profile_id in ids:
                members.setdefault(profile_id, self.member_lag)

        self._run("add_to_list", add)

    def remove_from_list(self, list_id: str, profile_ids: Iterable[str]) -> None:
        ids = list(profile_ids)

        def remove() -> None:
            members = self._list(list_id).members
            self._refuse_unknown(ids)
            for profile_id in ids:
                members.pop(profile_id, None)

        self._run("remove_from_list", remove)

    # -- profiles ---------------------------------------------------------------------------------

    def upsert_profile(self, email: str, properties: Mapping[str, Any]) -> Profile:
        return self._run("upsert_profile", lambda: self._upsert(email, properties))

    def find_profiles(self, emails: Iterable[str]) -> tuple[Profile, ...]:
        searched = {email.lower() for email in emails}
        return self._run(
            "find_profiles",
            lambda: tuple(self._profile(i, email) for i, email in self.addresses.items() if email in searched),
        )

    def existing_profiles(self, profile_ids: Iterable[str]) -> frozenset[str]:
        gone = {profile_id for profile_id, reads in self.deletions.items() if reads <= 0}
        self.deletions = {profile_id: reads - 1 for profile_id, reads in self.deletions.items()}
        shown = (set(self.addresses) - gone) & set(profile_ids)
        return self._run("existing_profiles", lambda: frozenset(shown))

    def delete_profile(self, profile_id: str) -> None:
        def delete() -> None:
            self.deletions.setdefault(profile_id, self.deletion_lag)

        self._run("delete_profile", delete)

    def bulk_import(self, profiles: Mapping[str, Mapping[str, Any]]) -> str:
        def start() -> str:
            for email, properties in profiles.items():
                if email.lower() not in self.invalid:
                    self._upsert(email, properties)
            return self._id("J")

        return self._run("bulk_import", start)

    def bulk_import_job(self, job_id: str) -> ImportJob:
        return self._run(
            "bulk_import_job", lambda: ImportJob(job_id=job_id, status="complete", total=0, completed=0, failed=0)
        )

    def bulk_import_errors(self, job_id: str) -> tuple[ImportProblem, ...]:
        return self._run("bulk_import_errors", lambda: tuple(ImportProblem("invalid", None, e) for e in self.invalid))

    def _upsert(self, email: str, properties: Mapping[str, Any]) -> Profile:
        address = email.lower()
        if address in self.invalid:
            raise Refused("Klaviyo", "create or update profile", "answered 400", status=400)
        same = [i for i, stored in self.addresses.items() if stored == address and i not in self.deleted_profiles]
        profile_id = same[0] if same else self._id("P")
        self.addresses[profile_id] = address
        self.properties.setdefault(address, {}).update(properties)
        return self._profile(profile_id, address)

    def _profile(self, profile_id: str, email: str) -> Profile:
        if self.silent.get(email, 0) > 0:
            self.silent[email] -= 1
            return Profile(profile_id, email)
        suppressions = (self.why_suppressed.get(email, "HARD_BOUNCE"),) if email in self.suppressed else ()
        return Profile(
            profile_id=profile_id, email=email, can_receive_email=not suppressions, suppressions=suppressions
        )

    # -- templates --------------------------------------------------------------------------------

    def find_templates(self, name: str) -> tuple[Template, ...]:
        return self._run("find_templates", lambda: tuple(t for t in self.templates.values() if t.name == name))

    def create_template(self, name: str, *, html: str, text: str) -> Template:
        def create() -> Template:
            template = Template(template_id=self._id("T"), name=name, html=html, text=text)
            self.templates[template.template_id] = template
            return template

        return self._run("create_template", create)

    # -- campaigns --------------------------------------------------------------------------------

    def create_campaign(
        self,
        *,
        name: str,
        included_lists: Sequence[str],
        excluded_lists: Sequence[str] = (),
        send_at: datetime | None = None,
        **_: str,
    ) -> Campaign:
        def create() -> Campaign:
            campaign_id, message_id = self._id("C"), self._id("M")
            campaign = Campaign(
                campaign_id=campaign_id,
                name=name,
                status="Draft",
                created_at=self.clock(),
                message_id=message_id,
                included_lists=tuple(included_lists),
                excluded_lists=tuple(excluded_lists),
                uses_smart_sending=False,
                send_at=send_at,
            )
            self.campaigns[campaign_id] = _Campaign(campaign, message_id, self.campaign_lag)
            return campaign

        return self._run("create_campaign", create)

    def find_campaigns(self, name_contains: str, *, archived: bool = False) -> tuple[Campaign, ...]:
        """Nothing is ever archived here."""

        def find() -> tuple[Campaign, ...]:
            named = [c for c in self.campaigns.values() if name_contains in c.record.name and not archived]
            shown = [c for c in named if c.hidden <= 0]
            for campaign in self.campaigns.values():
                campaign.hidden -= 1
            return tuple(self._current(campaign) for campaign in shown)

        return self._run("find_campaigns", find)

    def latest_campaigns(self, name_contains: str, *, archived: bool = False) -> Iterator[Campaign]:
        """Yield the newest first. Nothing is ever archived here."""
        found = [c for c in self.campaigns.values() if name_contains in c.record.name and not archived]
        return iter(self._run("latest_campaigns", lambda: [self._current(campaign) for campaign in reversed(found)]))

    def get_campaign(self, campaign_id: str) -> Campaign:
        return self._run("get_campaign", lambda: self._current(self._campaign(campaign_id), reading=True))

    def delete_campaign(self, campaign_id: str) -> None:
        def delete() -> None:
            if campaign_id in self.campaigns and self._campaign(campaign_id).job:
                raise Refused("Klaviyo", "delete campaign", "answered 409", status=409)
            self.campaigns.pop(campaign_id, None)

        self._run("delete_campaign", delete)

    def assign_template(self, message_id: str, template_id: str) -> None:
        def assign() -> None:
            if template_id not in self.templates:
                raise NotFound("Klaviyo", "assign template", "answered 404", status=404)
            self._by_message(message_id).template = self.templates[template_id]

        self._run("assign_template", assign)

    def message_template(self, message_id: str) -> Template | None:
        return self._run("message_template", lambda: self._by_message(message_id).template)

    def request_estimate(self, campaign_id: str) -> None:
        self._run("request_estimate", lambda: self._campaign(campaign_id))

    def estimate_job_done(self, campaign_id: str) -> bool:
        return self._run("estimate_job_done", lambda: True)

    def estimate(self, campaign_id: str) -> int | None:
        return self._run("estimate", lambda: len(self._recipients(self._campaign(campaign_id))))

    def send(self, campaign_id: str) -> None:
        def send() -> None:
            campaign = self._campaign(campaign_id)
            send_at = campaign.record.send_at
            if send_at is not None and send_at <= self.clock():
                raise Refused("Klaviyo", "send campaign", "answered 400", status=400)
            campaign.job = "queued"
            campaign.fixed = self._recipients(campaign)
            campaign.reads_until_sent = self.status_lag
            if send_at is None:
                self._deliver(campaign)

        self._run("send", send)

    def revert_send(self, campaign_id: str) -> None:
        def revert() -> None:
            campaign = self._campaign(campaign_id)
            if campaign.job is None:
                raise NotFound("Klaviyo", "take sending back", "answered 404", status=404)
            if self._current(campaign).status != "Scheduled":
                raise Refused("Klaviyo", "take sending back", "answered 409", status=409)
            campaign.job = campaign.fixed = None
            campaign.reads_until_draft = self.draft_lag

        self._run("revert_send", revert)

    def send_job(self, campaign_id: str) -> str | None:
        return self._run("send_job", lambda: self._campaign(campaign_id).job)

    def _current(self, campaign: _Campaign, *, reading: bool = False) -> Campaign:
        """Return the campaign with its present status. A scheduled campaign leaves at the first read after its time."""
        send_at = campaign.record.send_at
        if campaign.job == "queued" and send_at is not None and send_at <= self.clock():
            self._deliver(campaign)
        if campaign.job is None and campaign.reads_until_draft > 0:
            campaign.reads_until_draft -= int(reading)
            status = "Scheduled"
        elif campaign.job is None:
            status = "Draft"
        elif campaign.job == "queued":
            status = "Scheduled"
        elif campaign.reads_until_sent > 0:
            campaign.reads_until_sent -= int(reading)
            status = "Sending"
        else:
            status = campaign.job
        return replace(campaign.record, status=status)

    def _deliver(self, campaign: _Campaign) -> None:
        recipients = self._recipients(campaign) if self.fixes_late else campaign.fixed or []
        campaign.job = self.ends_as or ("Sent" if recipients else "Cancelled: No Recipients")
        mails = recipients if campaign.job == "Sent" else recipients[: self.stop_after]
        campaign.mailed = [address for address in mails if address not in self.left_out]
        self.mailed.update(campaign.mailed)
        self.sent.append(campaign)

    def _recipients(self, campaign: _Campaign) -> list[str]:
        """Return all members of the lists, whether the index shows them or not."""
        included, excluded = (
            {p for i in ids if i in self.lists for p in self.lists[i].members}
            for ids in (campaign.record.included_lists, campaign.record.excluded_lists)
        )
        return sorted({self.addresses[p] for p in included - excluded} - self.suppressed)

    # -- measuring --------------------------------------------------------------------------------

    def metrics(self) -> dict[str, str]:
        return self._run("metrics", lambda: {"R": "Received Email", "B": "Bounced Email"})

    def profile_events(self, profile_id: str, since: datetime) -> tuple[ProfileEvent, ...]:
        address = self.addresses[profile_id]

        def read() -> tuple[ProfileEvent, ...]:
            metric = "B" if address in self.bouncing else "R"
            return tuple(
                ProfileEvent(metric, frozenset({campaign.message_id, "Your way in"}))
                for campaign in self.sent
                if address in campaign.mailed and address not in self.late_events
            )

        return self._run("profile_events", read)

    def count_recipients(
        self, campaign_ids: Iterable[str], *, metric_id: str, timeframe: str = "", waits_out_429: bool = True
    ) -> dict[str, int]:
        chosen = set(campaign_ids)

        def count() -> dict[str, int]:
            rows = {c.record.campaign_id: len(c.mailed) for c in self.sent if c.record.campaign_id in chosen}
            return {} if self.reported is None else {key: number + self.reported for key, number in rows.items()}

        return self._run("count_recipients", count)

    # -- plumbing ---------------------------------------------------------------------------------

    def _run(self, call: str, action: Callable[[], Any]) -> Any:
        return self.faults.run(call, action)

    def _id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):04d}"

    def _list(self, list_id: str) -> _List:
        if list_id not in self.lists:
            raise NotFound("Klaviyo", "list", "answered 404", status=404)
        return self.lists[list_id]

    def _refuse_unknown(self, profile_ids: Iterable[str]) -> None:
        if set(profile_ids) - self.addresses.keys() or set(profile_ids) & self.deleted_profiles:
            raise NotFound("Klaviyo", "change list", "answered 404", status=404)

    def _campaign(self, campaign_id: str) -> _Campaign:
        if campaign_id not in self.campaigns:
            raise NotFound("Klaviyo", "campaign", "answered 404", status=404)
        return self.campaigns[campaign_id]

    def _by_message(self, message_id: str) -> _Campaign:
        for campaign in self.campaigns.values():
            if campaign.message_id == message_id:
                return campaign
        raise NotFound("Klaviyo", "message", "answered 404", status=404)
