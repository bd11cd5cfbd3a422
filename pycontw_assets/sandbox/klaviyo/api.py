"""The endpoints: manners (key, revision, media types), limits, then one short method per operation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta, timezone
from typing import Any, NoReturn

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.ground import Ground
from pycontw_assets.sandbox.klaviyo import schema
from pycontw_assets.sandbox.klaviyo.account import MOST_TEMPLATES, Campaign, MailAccount, MailList, Profile, Template
from pycontw_assets.sandbox.klaviyo.errors import MEDIA_TYPE, ApiError, Problem, bad_body, bad_query, not_found
from pycontw_assets.sandbox.klaviyo.limits import Limiter, Throttled, windows_of
from pycontw_assets.sandbox.klaviyo.query import Accepts, Query, page
from pycontw_assets.sandbox.klaviyo.views import Views
from pycontw_assets.sandbox.wire import Call, Reply, Router, json_reply

_MOST_LISTS = 15
_MOST_SUBSCRIPTIONS = 1000
_MOST_IMPORTED = 10_000
_BODY_LIMITS = {"/api/profile-import": 100_000, "/api/profile-bulk-import-jobs": 5_000_000}
_RANGES = ("greater-than", "greater-or-equal", "less-than", "less-or-equal")
_MEMBER_FILTERS = {"email": ("any", "equals"), "joined_group_at": _RANGES}
_PROFILE_EXTRAS = {"profile": ("subscriptions", "predictive_analytics")}

_ACCEPTED: dict[str, Accepts] = {
    "get_accounts": Accepts(fields=("account",)),
    "get_lists": Accepts(
        fields=("list",),
        filters={
            "name": ("any", "equals"),
            "id": ("any", "equals"),
            "created": ("greater-than",),
            "updated": ("greater-than",),
        },
        sorts=("created", "id", "name", "updated"),
        page_maximum=10,
    ),
    "create_list": Accepts(fields=("list",)),
    "get_list": Accepts(fields=("list",), additional={"list": ("profile_count",)}),
    "get_list_profiles": Accepts(
        fields=("profile",),
        additional=_PROFILE_EXTRAS,
        filters=_MEMBER_FILTERS,
        sorts=("joined_group_at",),
        page_maximum=100,
        page_default=20,
    ),
    "get_list_profile_ids": Accepts(
        filters=_MEMBER_FILTERS, sorts=("joined_group_at",), page_maximum=100, page_default=20
    ),
    "get_profiles": Accepts(
        fields=("profile",),
        additional=_PROFILE_EXTRAS,
        filters={
            "id": ("any", "equals"),
            "email": ("any", "equals"),
            "external_id": ("any", "equals"),
            "created": ("greater-than", "less-than"),
            "updated": ("greater-than", "less-than"),
        },
        sorts=("created", "email", "id", "updated"),
        page_maximum=100,
        page_default=20,
    ),
    "upsert_profile": Accepts(fields=("profile",), additional=_PROFILE_EXTRAS),
    "create_import": Accepts(fields=("profile-bulk-import-job",)),
    "get_import": Accepts(fields=("profile-bulk-import-job",)),
    "get_import_errors": Accepts(fields=("import-error",), page_maximum=100, page_default=20),
    "get_templates": Accepts(
        fields=("template",),
        filters={
            "id": ("any", "equals"),
            "name": ("any", "contains", "equals"),
            "created": _RANGES,
            "updated": _RANGES,
        },
        sorts=("created", "id", "name", "updated"),
        page_maximum=10,
    ),
    "create_template": Accepts(fields=("template",)),
    "get_template": Accepts(fields=("template",)),
    "update_template": Accepts(fields=("template",)),
    "get_campaigns": Accepts(
        fields=("campaign", "campaign-message"),
        include=("campaign-messages",),
        filters={
            "id": ("any",),
            "messages.channel": ("equals",),
            "name": ("contains",),
            "status": ("any", "equals"),
            "archived": ("equals",),
            "created_at": _RANGES,
            "scheduled_at": _RANGES,
            "updated_at": _RANGES,
        },
        sorts=("created_at", "id", "name", "scheduled_at", "updated_at"),
        page_maximum=100,
    ),
    "create_campaign": Accepts(fields=("campaign",)),
    "get_campaign": Accepts(fields=("campaign", "campaign-message"), include=("campaign-messages",)),
    "update_campaign": Accepts(fields=("campaign",)),
    "get_messages": Accepts(fields=("campaign-message", "template"), include=("template",)),
    "get_message": Accepts(fields=("campaign-message", "template"), include=("template",)),
    "update_message": Accepts(fields=("campaign-message",)),
    "get_message_template": Accepts(fields=("template",)),
    "assign_template": Accepts(fields=("campaign-message",)),
    "create_send_job": Accepts(fields=("campaign-send-job",)),
    "get_send_job": Accepts(fields=("campaign-send-job",)),
    "create_estimation": Accepts(fields=("campaign-recipient-estimation-job",)),
    "get_estimation_job": Accepts(fields=("campaign-recipient-estimation-job",)),
    "get_estimation": Accepts(fields=("campaign-recipient-estimation",)),
    "get_metrics": Accepts(fields=("metric",), cursor=True),
    "get_events": Accepts(
        fields=("event",),
        filters={"metric_id": ("equals",), "profile_id": ("equals",), "datetime": _RANGES},
        sorts=("datetime",),
        page_maximum=1000,
        page_default=200,
    ),
    "query_campaign_values": Accepts(fields=("campaign-values-report",)),
}
_PLAIN = Accepts()


class KlaviyoApi:
    """HTTP face of a ``MailAccount``."""

    def __init__(self, ground: Ground, account: MailAccount) -> None:
        self._ground = ground
        self._account = account
        self.reset()

    def reset(self) -> None:
        self._limiter = Limiter()

    # -- manners --------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Reply:
        self._account.settle()
        headers: dict[str, str] = {}
        try:
            _check_manners(call)
            found = _ROUTES.find(call)
            if isinstance(found, int):
                raise ApiError(found, Problem("No such address or method.", code="not_found", title="Not found."))
            template, handler, identities = found
            headers = self._take_from_limits(call, template)
            query = _ACCEPTED.get(handler, _PLAIN).read(call)
            reply: Reply = getattr(self, handler)(_Request(self._account, call, query), *identities)
        except Throttled as throttled:
            headers = {"Retry-After": str(throttled.retry_after)}
            reply = throttled.reply()
        except ApiError as error:
            reply = error.reply()
        self._account.settle()
        reply.headers.update(headers)
        return reply

    def _take_from_limits(self, call: Call, template: str) -> dict[str, str]:
        if not self._account.switches.rate_limits:
            return {}
        counted = template == "/api/lists/{id}" and "profile_count" in call.query
        windows = windows_of(call.method, template, counted_list=counted)
        return self._limiter.take(f"{call.method} {template} {counted}", windows, self._ground.now())

    # -- accounts -------------------------------------------------------------------------------------

    def get_accounts(self, ask: _Request) -> Reply:
        contact = {
            "default_sender_name": "Sandbox",
            "default_sender_email": self._account.switches.default_from_email,
            "website_url": "https://example.org",
            "organization_name": "Sandbox",
            "street_address": {},
        }
        attributes = {
            "test_account": True,
            "contact_information": contact,
            "industry": None,
            "timezone": "Asia/Taipei",
            "preferred_currency": "TWD",
            "public_api_key": "SaNdBx",
            "locale": "en-US",
        }
        return ask.collection([ask.views.resource("account", "SaNdBx", attributes)], {"self": ask.here})

    # -- lists ----------------------------------------------------------------------------------------

    def get_lists(self, ask: _Request) -> Reply:
        delay = self._account.switches.list_delay if ask.query.filters_on("name") else 0
        known = [
            given
            for given in self._account.lists.values()
            if self._account.shows(given.created, delay) and ask.keeps(given)
        ]
        return ask.page_of(known, ask.views.mail_list)

    def create_list(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.ListCreate]).data.attributes
        made = self._account.create_list(wanted.name, wanted.opt_in_process or "double_opt_in")
        return ask.one(ask.views.mail_list(made), 201)

    def get_list(self, ask: _Request, identity: str) -> Reply:
        given = self._list(identity)
        count = len(self._account.visible_members(given, self._ground.now()))
        wants_count = "profile_count" in ask.query.additional
        return ask.one(ask.views.mail_list(given, profile_count=count if wants_count else None))

    def delete_list(self, ask: _Request, identity: str) -> Reply:
        del self._account.lists[self._list(identity).id]
        return Reply(204)

    def get_list_profiles(self, ask: _Request, identity: str) -> Reply:
        joined = self._members(ask, identity)
        profiles = [self._account.profiles[profile_id] for profile_id in joined]
        return ask.page_of(
            profiles,
            lambda profile: ask.views.profile(profile, joined_at=joined[profile.id]),
            key=lambda profile: (joined[profile.id], profile.id),
        )

    def get_list_profile_ids(self, ask: _Request, identity: str) -> Reply:
        joined = self._members(ask, identity)
        return ask.page_of(
            list(joined),
            lambda profile_id: {"type": "profile", "id": profile_id},
            key=lambda profile_id: (joined[profile_id], profile_id),
        )

    def _members(self, ask: _Request, identity: str) -> dict[str, datetime]:
        """Who is on the list as far as it shows, with the time of joining."""
        members = self._account.visible_members(self._list(identity), self._ground.now())

        def keeps(profile_id: str) -> bool:
            facts = {
                "email": self._account.profiles[profile_id].email,
                "joined_group_at": members[profile_id].joined_at,
            }
            return ask.query.keeps(facts.get)

        return {profile_id: member.joined_at for profile_id, member in members.items() if keeps(profile_id)}

    def add_members(self, ask: _Request, identity: str) -> Reply:
        given = self._list(identity)
        wanted = ask.body(schema.Members).data
        unknown = [position for position, one in enumerate(wanted) if one.id not in self._account.profiles]
        if unknown:
            raise ApiError(404, *(Problem("No such profile.", pointer=f"/data/{n}/id") for n in unknown))
        self._account.add_members(given, [one.id for one in wanted])
        return Reply(204)

    def remove_members(self, ask: _Request, identity: str) -> Reply:
        given = self._list(identity)
        self._account.remove_members(given, [one.id for one in ask.body(schema.Members).data])
        return Reply(204)

    def _list(self, identity: str) -> MailList:
        if (given := self._account.lists.get(identity)) is None:
            raise not_found("list", identity)
        return given

    def _check_lists(self, identities: list[str], pointer: str) -> None:
        if any(identity not in self._account.lists for identity in identities):
            raise bad_body("A list of this id does not exist.", pointer)

    # -- profiles -------------------------------------------------------------------------------------

    def get_profiles(self, ask: _Request) -> Reply:
        delay = self._account.switches.profile_delay if ask.query.filters_on("email") else 0

        def facts(profile: Profile, subject: str) -> Any:
            own = {"id": profile.id, "email": profile.email, "created": profile.created, "updated": profile.updated}
            return own.get(subject, profile.attributes.get(subject))

        known = [
            profile
            for profile in self._account.profiles.values()
            if self._account.shows(profile.created, delay)
            and ask.query.keeps(lambda subject, profile=profile: facts(profile, subject))  # type: ignore[misc]
        ]
        subject = ask.query.sort.removeprefix("-") or "created"
        return ask.page_of(known, ask.views.profile, key=lambda profile: (facts(profile, subject) or "", profile.id))

    def upsert_profile(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.ProfileUpsert]).data
        attributes, properties = self._checked(wanted.attributes, wanted.id, "/data")
        profile, is_new = self._account.upsert_profile(attributes, properties, wanted.id)
        return ask.one(ask.views.profile(profile), 201 if is_new else 200)

    def _checked(
        self, given: schema.ProfileAttributes, identity: str | None, pointer: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Attributes and properties of a profile that may be stored; else a 400 or 404."""
        if given.email is not None and not self._account.accepts(given.email):
            raise bad_body("Invalid email address", f"{pointer}/attributes/email")
        if identity is not None and identity not in self._account.profiles:
            raise not_found("profile", identity)
        if not (given.email or given.phone_number or given.external_id or identity):
            raise bad_body("One of email, phone_number, external_id or id is required.", f"{pointer}/attributes")
        return _split(given)

    def create_import(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.ImportCreate]).data
        rows = wanted.attributes.profiles.data
        if not 1 <= len(rows) <= _MOST_IMPORTED:
            raise bad_body("Between 1 and 10,000 profiles per job.", "/data/attributes/profiles/data")
        lists = wanted.relationships.lists.data if wanted.relationships and wanted.relationships.lists else []
        list_ids = [one.id for one in lists]
        self._check_lists(list_ids, "/data/relationships/lists/data")
        job = self._account.start_import([_split(row.attributes) for row in rows], list_ids)
        return ask.one(ask.views.import_job(job), 202)

    def get_import(self, ask: _Request, identity: str) -> Reply:
        if (job := self._account.imports.get(identity)) is None:
            raise not_found("profile-bulk-import-job", identity)
        return ask.one(ask.views.import_job(job))

    def get_import_errors(self, ask: _Request, identity: str) -> Reply:
        if (job := self._account.imports.get(identity)) is None:
            raise not_found("profile-bulk-import-job", identity)
        return ask.page_of(
            list(range(len(job.errors))),
            lambda position: ask.views.import_error(job, position),
            key=lambda position: (f"{position:06d}", ""),
        )

    def subscribe_profiles(self, ask: _Request) -> Reply:
        """Consent is set, and whatever kept mail away is lifted."""
        wanted = ask.body(schema.Body[schema.SubscriptionCreate]).data
        people = wanted.attributes.profiles.data
        if len(people) > _MOST_SUBSCRIPTIONS:
            raise bad_body("At most 1000 profiles per job.", "/data/attributes/profiles/data")
        list_ids = [wanted.relationships.list.data.id] if wanted.relationships and wanted.relationships.list else []
        self._check_lists(list_ids, "/data/relationships/list/data")
        profiles = [self._account.upsert_profile({"email": one.attributes.email}, {})[0] for one in people]
        for profile in profiles:
            profile.consent, profile.consent_at = "SUBSCRIBED", self._ground.now()
            profile.suppressions.clear()
        for list_id in list_ids:
            self._account.add_members(self._account.lists[list_id], [profile.id for profile in profiles])
        return Reply(202)

    # -- templates ------------------------------------------------------------------------------------

    def get_templates(self, ask: _Request) -> Reply:
        delay = self._account.switches.template_delay if ask.query.filters_on("name") else 0
        known = [
            given
            for given in self._account.templates.values()
            if not given.is_copy and self._account.shows(given.created, delay) and ask.keeps(given)
        ]
        return ask.page_of(known, ask.views.template)

    def create_template(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.TemplateCreate]).data.attributes
        if sum(not given.is_copy for given in self._account.templates.values()) >= MOST_TEMPLATES:
            raise bad_body("The account has reached its limit of 1000 templates.", "/data")
        made = self._account.add_template(wanted.name, wanted.editor_type, wanted.html, wanted.text, wanted.amp)
        return ask.one(ask.views.template(made), 201)

    def get_template(self, ask: _Request, identity: str) -> Reply:
        return ask.one(ask.views.template(self._template(identity)))

    def update_template(self, ask: _Request, identity: str) -> Reply:
        given = self._template(identity)
        changes = ask.body(schema.Body[schema.TemplateUpdate], identity).data.attributes
        for name, value in changes.model_dump(exclude_unset=True, exclude_none=True).items():
            setattr(given, name, value)
        given.updated = self._ground.now()
        return ask.one(ask.views.template(given))

    def delete_template(self, ask: _Request, identity: str) -> Reply:
        del self._account.templates[self._template(identity).id]
        return Reply(204)

    def _template(self, identity: str) -> Template:
        if (given := self._account.templates.get(identity)) is None:
            raise not_found("template", identity)
        return given

    # -- campaigns ------------------------------------------------------------------------------------

    def get_campaigns(self, ask: _Request) -> Reply:
        if not ask.query.filters_on("messages.channel"):
            raise bad_query("A filter on messages.channel is required.", "filter")
        delay = self._account.switches.campaign_delay if ask.query.filters_on("name") else 0

        def facts(given: Campaign) -> Callable[[str], Any]:
            own = {
                "messages.channel": "email",
                "status": self._account.status_of(given),
                "archived": False,
                "scheduled_at": given.accepted_at,
            }
            return lambda subject: own.get(subject, getattr(given, subject, None))

        known = [
            given
            for given in self._account.campaigns.values()
            if self._account.shows(given.created_at, delay) and ask.query.keeps(facts(given))
        ]
        included = [ask.views.message(given) for given in known] if ask.query.include else None
        subject = ask.query.sort.removeprefix("-") or "created_at"
        return ask.page_of(
            known, ask.views.campaign, key=lambda given: (facts(given)(subject) or "", given.id), included=included
        )

    def create_campaign(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.CampaignCreate]).data.attributes
        definition = wanted.messages.data[0].attributes.definition
        now = self._ground.now()
        campaign = Campaign(
            id=self._account.new_id(26),
            message_id=self._account.new_id(26),
            name=wanted.name,
            included=[],
            excluded=[],
            smart_sending=True,
            tracking={},
            strategy={"method": "immediate"},
            label=definition.label or "",
            content={},
            created_at=now,
            updated_at=now,
        )
        self._set_content(campaign, definition, "/data/attributes/campaign-messages/data/0")
        self._change(campaign, wanted)
        self._account.campaigns[campaign.id] = campaign
        return ask.one(ask.views.campaign(campaign), 201)

    def _change(self, campaign: Campaign, wanted: schema.CampaignAttributes | schema.CampaignChanges) -> None:
        """Set what is given; what is absent or null keeps its value (or its default)."""
        audiences, options = wanted.audiences, wanted.send_options
        included = audiences.included if audiences and audiences.included is not None else campaign.included
        excluded = audiences.excluded if audiences and audiences.excluded is not None else campaign.excluded
        self._check_lists(included, "/data/attributes/audiences/included")
        self._check_lists(excluded, "/data/attributes/audiences/excluded")
        if len(included) + len(excluded) > _MOST_LISTS:
            raise bad_body("At most 15 lists per campaign.", "/data/attributes/audiences")
        if wanted.send_strategy is not None:
            self._schedule(campaign, wanted.send_strategy)
        campaign.included, campaign.excluded = included, excluded
        campaign.name = wanted.name or campaign.name
        if options is not None:
            campaign.smart_sending = options.use_smart_sending is not False
        if wanted.tracking_options is not None:
            campaign.tracking |= wanted.tracking_options.model_dump(exclude_unset=True)

    def _schedule(self, campaign: Campaign, strategy: Any) -> None:
        start = _start_of(strategy)
        if start is not None and start <= self._ground.now():
            raise bad_body("The time must lie in the future.", "/data/attributes/send_strategy/datetime")
        campaign.strategy = strategy.model_dump(mode="json", exclude_unset=True)
        campaign.starts_no_earlier = start

    def _set_content(self, campaign: Campaign, definition: schema.EmailDefinition, pointer: str) -> None:
        content = definition.content.model_dump(exclude_none=True) if definition.content else {}
        for name in ("from_email", "cc_email", "bcc_email"):
            if name in content and not self._account.accepts(content[name]):
                raise bad_body("Invalid email address", f"{pointer}/attributes/definition/content/{name}")
        campaign.content |= content
        campaign.label = definition.label or campaign.label

    def get_campaign(self, ask: _Request, identity: str) -> Reply:
        campaign = self._campaign(identity)
        included = [ask.views.message(campaign)] if ask.query.include else None
        return ask.one(ask.views.campaign(campaign), included=included)

    def update_campaign(self, ask: _Request, identity: str) -> Reply:
        campaign = self._draft(self._campaign(identity))
        self._change(campaign, ask.body(schema.Body[schema.CampaignUpdate], identity).data.attributes)
        campaign.updated_at = self._ground.now()
        return ask.one(ask.views.campaign(campaign))

    def delete_campaign(self, ask: _Request, identity: str) -> Reply:
        del self._account.campaigns[self._draft(self._campaign(identity)).id]
        return Reply(204)

    def _campaign(self, identity: str) -> Campaign:
        if (given := self._account.campaigns.get(identity)) is None:
            raise not_found("campaign", identity)
        return given

    def _campaign_of_message(self, identity: str) -> Campaign:
        for given in self._account.campaigns.values():
            if given.message_id == identity:
                return given
        raise not_found("campaign-message", identity)

    def _draft(self, campaign: Campaign) -> Campaign:
        if self._account.status_of(campaign) != "Draft":
            raise bad_body("This is possible only while the campaign is a draft.", "/data", 409)
        return campaign

    # -- messages of campaigns ------------------------------------------------------------------------

    def get_messages(self, ask: _Request, identity: str) -> Reply:
        campaign = self._campaign(identity)
        reply = {"data": [ask.views.message(campaign)], "links": {"self": ask.here, "next": None, "prev": None}}
        return ask.document(reply, included=self._included_template(ask, campaign))

    def get_message(self, ask: _Request, identity: str) -> Reply:
        campaign = self._campaign_of_message(identity)
        return ask.one(ask.views.message(campaign), included=self._included_template(ask, campaign))

    def _included_template(self, ask: _Request, campaign: Campaign) -> list[dict[str, Any]] | None:
        if not ask.query.include:
            return None
        template = self._account.templates.get(campaign.template_id or "")
        return [ask.views.template(template)] if template else []

    def update_message(self, ask: _Request, identity: str) -> Reply:
        campaign = self._draft(self._campaign_of_message(identity))
        definition = ask.body(schema.Body[schema.MessageUpdate], identity).data.attributes.definition
        if definition is not None:
            self._set_content(campaign, definition, "/data")
            campaign.updated_at = self._ground.now()
        return ask.one(ask.views.message(campaign))

    def get_message_template(self, ask: _Request, identity: str) -> Reply:
        campaign = self._campaign_of_message(identity)
        template = self._account.templates.get(campaign.template_id or "")
        return ask.one(ask.views.template(template) if template else None)

    def assign_template(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.TemplateAssignment]).data
        campaign = self._draft(self._campaign_of_message(wanted.id))
        self._account.assign_template(campaign, self._template(wanted.relationships.template.data.id))
        return ask.one(ask.views.assigned_message(campaign))

    # -- estimating and sending -----------------------------------------------------------------------

    def create_estimation(self, ask: _Request) -> Reply:
        campaign = self._campaign(ask.body(schema.Body[schema.EstimationCreate]).data.id)
        self._account.estimations[campaign.id] = self._ground.now()
        return self._estimation_job(ask, campaign.id, 202)

    def get_estimation_job(self, ask: _Request, identity: str) -> Reply:
        if identity not in self._account.estimations:
            raise not_found("campaign-recipient-estimation-job", identity)
        return self._estimation_job(ask, identity, 200)

    def _estimation_job(self, ask: _Request, identity: str, status: int) -> Reply:
        started = self._account.estimations[identity]
        is_done = self._account.shows(started, self._account.switches.estimation_delay)
        attributes = {"status": "complete" if is_done else "queued"}
        return ask.one(ask.views.resource("campaign-recipient-estimation-job", identity, attributes), status)

    def get_estimation(self, ask: _Request, identity: str) -> Reply:
        """How many would get it: people who may not be mailed are not counted."""
        campaign = self._campaign(identity)
        started = self._account.estimations.get(identity)
        if started is None or not self._account.shows(started, self._account.switches.estimation_delay):
            raise not_found("campaign-recipient-estimation", identity)
        chosen = self._account.recipients(campaign.included, campaign.excluded, self._ground.now())
        count = sum(profile.can_receive_mail for profile in chosen)
        attributes = {"estimated_recipient_count": count}
        return ask.one(ask.views.resource("campaign-recipient-estimation", identity, attributes))

    def create_send_job(self, ask: _Request) -> Reply:
        campaign = self._campaign(ask.body(schema.Body[schema.SendJobCreate]).data.id)
        if self._account.switches.second_send == "refused":
            self._draft(campaign)
        if campaign.template_id is None:
            raise bad_body("The campaign's message has no template.", "/data/id")
        self._account.accept_sending(campaign)
        return ask.one(ask.views.resource("campaign-send-job", campaign.id, {"status": "queued"}), 202)

    def get_send_job(self, ask: _Request, identity: str) -> Reply:
        status = self._account.job_status_of(self._campaign(identity))
        if status is None:
            raise not_found("campaign-send-job", identity)
        return ask.one(ask.views.resource("campaign-send-job", identity, {"status": status}))

    def update_send_job(self, ask: _Request, identity: str) -> Reply:
        campaign = self._campaign(identity)
        action = ask.body(schema.Body[schema.SendJobUpdate], identity).data.attributes.action
        if campaign.accepted_at is None or campaign.outcome is not None:
            raise bad_body("There is nothing to stop.", "/data/attributes/action", 409)
        self._account.stop_sending(campaign, revert=action == "revert")
        return Reply(204)

    # -- events, metrics, reports ---------------------------------------------------------------------

    def create_event(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.EventCreate]).data.attributes
        about = wanted.profile.data
        attributes, properties = self._checked(about.attributes, about.id, "/data/attributes/profile/data")
        profile, _ = self._account.upsert_profile(attributes, properties, about.id)
        at = wanted.time or self._ground.now()
        name = wanted.metric.data.attributes.name
        self._account.record_event(name, profile, wanted.properties, at, wanted.unique_id)
        return Reply(202)

    def get_events(self, ask: _Request) -> Reply:
        known = [
            event
            for event in self._account.events
            if ask.query.keeps({"metric_id": event.metric_id, "profile_id": event.profile_id, "datetime": event.at}.get)
        ]
        return ask.page_of(known, ask.views.event, key=lambda event: (event.at, event.id))

    def get_metrics(self, ask: _Request) -> Reply:
        resources = [
            ask.views.resource("metric", identity, {"name": name, "created": None, "updated": None, "integration": {}})
            for identity, name in self._account.metrics.items()
        ]
        return ask.collection(resources, {"self": ask.here, "next": None, "prev": None})

    def query_campaign_values(self, ask: _Request) -> Reply:
        wanted = ask.body(schema.Body[schema.ReportCreate]).data.attributes
        if wanted.conversion_metric_id not in self._account.metrics:
            raise bad_body("No such metric.", "/data/attributes/conversion_metric_id")
        start, end = _timeframe(wanted.timeframe, self._ground.now())
        sent = [c for c in self._account.campaigns.values() if c.send_time is not None and start <= c.send_time < end]
        results = [self._values(campaign, wanted) for campaign in sent]
        references = [{"type": "campaign", "id": campaign.id} for campaign in sent]
        links = {"self": f"{ask.here}relationships/campaigns/", "related": f"{ask.here}campaigns/"}
        relations = {"campaigns": {"data": references, "links": links}}
        report = ask.views.resource("campaign-values-report", "report", {"results": results}, relationships=relations)
        del report["id"]
        return ask.one(report)

    def _values(self, campaign: Campaign, wanted: schema.ReportAttributes) -> dict[str, Any]:
        groups = {"campaign_id": campaign.id, "campaign_message_id": campaign.message_id, "send_channel": "email"}
        counted = {
            "recipients": self._profiles_with(campaign, "Received Email"),
            "delivered": self._profiles_with(campaign, "Received Email"),
            "opens": self._profiles_with(campaign, "Opened Email"),
            "opens_unique": set(self._profiles_with(campaign, "Opened Email")),
            "clicks": self._profiles_with(campaign, "Clicked Email"),
            "clicks_unique": set(self._profiles_with(campaign, "Clicked Email")),
        }
        return {
            "groupings": {name: groups[name] for name in wanted.group_by or groups},
            "statistics": {name: len(counted.get(name, ())) for name in wanted.statistics},
        }

    def _profiles_with(self, campaign: Campaign, metric: str) -> list[str]:
        metric_id = self._account.metric_id(metric)
        return [
            event.profile_id
            for event in self._account.events
            if event.metric_id == metric_id and event.properties.get("campaign_id") == campaign.id
        ]


class _Request:
    """One call with what was understood of it, and the ways to answer it."""

    def __init__(self, account: MailAccount, call: Call, query: Query) -> None:
        self._call = call
        self.query = query
        self.views = Views(account, call.base_url, query)
        self.here = f"{call.base_url}{call.path.rstrip('/')}/"

    def body(self, model: type[schema.M], identity: str | None = None) -> schema.M:
        """The validated body, which must name the resource of the path where there is one."""
        limit = _BODY_LIMITS.get(self._call.path.rstrip("/"))
        if limit is not None and len(self._call.body) > limit:
            raise bad_body("The body is too large.", "/data", 413)
        given = schema.read_body(model, self._call.body)
        if identity is not None and given.data.id != identity:  # type: ignore[attr-defined]
            raise bad_body("The id differs from the one in the path.", "/data/id")
        return given

    def keeps(self, given: object) -> bool:
        return self.query.keeps(lambda subject: getattr(given, subject, None))

    def document(self, payload: dict[str, Any], status: int = 200, included: list[Any] | None = None) -> Reply:
        if included is not None:
            payload["included"] = included
        return json_reply(payload, status, MEDIA_TYPE)

    def one(self, resource: Any, status: int = 200, included: list[Any] | None = None) -> Reply:
        return self.document({"data": resource, "links": {"self": self.here}}, status, included)

    def collection(self, resources: list[Any], links: Any) -> Reply:
        return self.document({"data": resources, "links": links})

    def page_of(
        self,
        items: list[Any],
        view: Callable[[Any], Any],
        key: Callable[[Any], tuple[Any, str]] | None = None,
        included: list[Any] | None = None,
    ) -> Reply:
        subject = self.query.sort.removeprefix("-") or "created"
        shown, links = page(items, self.query, self._call, key or (lambda item: (getattr(item, subject), item.id)))
        return self.document({"data": [view(item) for item in shown], "links": links}, included=included)


def _split(given: schema.ProfileAttributes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Standard attributes that were given (also as null), and custom properties."""
    attributes = given.model_dump(exclude_unset=True)
    return attributes, attributes.pop("properties", None) or {}


def _check_manners(call: Call) -> None:
    scheme, _, key = call.headers.get("authorization", "").partition(" ")
    if scheme != "Klaviyo-API-Key" or key != keys.KLAVIYO_KEY:
        _refuse(401, "not_authenticated", "Missing or invalid private key.")
    if call.headers.get("revision") != keys.KLAVIYO_REVISION:
        _refuse(400, "invalid_revision", f"Send the header revision: {keys.KLAVIYO_REVISION}.")
    accepted = {part.partition(";")[0].strip() for part in call.headers.get("accept", "*/*").split(",")}
    if not accepted & {MEDIA_TYPE, "application/*", "*/*"}:
        _refuse(406, "not_acceptable", f"Only {MEDIA_TYPE} is available.")
    if call.body and call.headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
        _refuse(415, "unsupported_media_type", f"Send {MEDIA_TYPE}.")


def _refuse(status: int, code: str, detail: str) -> NoReturn:
    raise ApiError(status, Problem(detail, code=code, title=code.replace("_", " ").capitalize()))


def _start_of(strategy: Any) -> datetime | None:
    if isinstance(strategy, schema.Static | schema.Throttled):
        return strategy.datetime
    if isinstance(strategy, schema.SmartSendTime):
        return datetime.combine(strategy.date, time(), timezone.utc)
    return None


_TIMEFRAME_DAYS = {"today": 1, "yesterday": 2, "last_7_days": 7, "last_week": 14, "this_week": 7}
_TIMEFRAME_DAYS |= {"last_30_days": 30, "this_month": 31, "last_month": 62, "last_90_days": 90, "last_3_months": 92}


def _timeframe(given: schema.NamedTimeframe | schema.CustomTimeframe, now: datetime) -> tuple[datetime, datetime]:
    """Named timeframes are taken generously, as so many days back from now."""
    if isinstance(given, schema.CustomTimeframe):
        return given.start, given.end
    return now - timedelta(days=_TIMEFRAME_DAYS.get(given.key, 366)), now + timedelta(seconds=1)


_ROUTES = Router(
    {
        ("GET", "/api/accounts"): "get_accounts",
        ("GET", "/api/lists"): "get_lists",
        ("POST", "/api/lists"): "create_list",
        ("GET", "/api/lists/{id}"): "get_list",
        ("DELETE", "/api/lists/{id}"): "delete_list",
        ("GET", "/api/lists/{id}/profiles"): "get_list_profiles",
        ("GET", "/api/lists/{id}/relationships/profiles"): "get_list_profile_ids",
        ("POST", "/api/lists/{id}/relationships/profiles"): "add_members",
        ("DELETE", "/api/lists/{id}/relationships/profiles"): "remove_members",
        ("GET", "/api/profiles"): "get_profiles",
        ("POST", "/api/profile-import"): "upsert_profile",
        ("POST", "/api/profile-bulk-import-jobs"): "create_import",
        ("GET", "/api/profile-bulk-import-jobs/{id}"): "get_import",
        ("GET", "/api/profile-bulk-import-jobs/{id}/import-errors"): "get_import_errors",
        ("POST", "/api/profile-subscription-bulk-create-jobs"): "subscribe_profiles",
        ("GET", "/api/templates"): "get_templates",
        ("POST", "/api/templates"): "create_template",
        ("GET", "/api/templates/{id}"): "get_template",
        ("PATCH", "/api/templates/{id}"): "update_template",
        ("DELETE", "/api/templates/{id}"): "delete_template",
        ("GET", "/api/campaigns"): "get_campaigns",
        ("POST", "/api/campaigns"): "create_campaign",
        ("GET", "/api/campaigns/{id}"): "get_campaign",
        ("PATCH", "/api/campaigns/{id}"): "update_campaign",
        ("DELETE", "/api/campaigns/{id}"): "delete_campaign",
        ("GET", "/api/campaigns/{id}/campaign-messages"): "get_messages",
        ("GET", "/api/campaign-messages/{id}"): "get_message",
        ("PATCH", "/api/campaign-messages/{id}"): "update_message",
        ("GET", "/api/campaign-messages/{id}/template"): "get_message_template",
        ("POST", "/api/campaign-message-assign-template"): "assign_template",
        ("POST", "/api/campaign-recipient-estimation-jobs"): "create_estimation",
        ("GET", "/api/campaign-recipient-estimation-jobs/{id}"): "get_estimation_job",
        ("GET", "/api/campaign-recipient-estimations/{id}"): "get_estimation",
        ("POST", "/api/campaign-send-jobs"): "create_send_job",
        ("GET", "/api/campaign-send-jobs/{id}"): "get_send_job",
        ("PATCH", "/api/campaign-send-jobs/{id}"): "update_send_job",
        ("GET", "/api/metrics"): "get_metrics",
        ("GET", "/api/events"): "get_events",
        ("POST", "/api/events"): "create_event",
        ("POST", "/api/campaign-values-reports"): "query_campaign_values",
    }
)
