"""Campaigns, their messages, estimating and sending."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timezone
from typing import Any

from pycontw_assets.sandbox.klaviyo import schema
from pycontw_assets.sandbox.klaviyo.account import Campaign, MailAccount
from pycontw_assets.sandbox.klaviyo.errors import bad_body, bad_query, not_found
from pycontw_assets.sandbox.klaviyo.query import Accepts
from pycontw_assets.sandbox.klaviyo.request import RANGES, Request, Routes, check_lists
from pycontw_assets.sandbox.klaviyo.template_api import find_template
from pycontw_assets.sandbox.wire import Reply

_MOST_LISTS = 15


class CampaignApi:
    """Endpoints about campaigns and their messages."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account
        self._context = account.context

    def get_campaigns(self, request: Request) -> Reply:
        if self._account.switches.shape == "new":
            for gone in ("messages.channel", "status"):
                if request.query.filters_on(gone):
                    raise bad_query(f"{gone} is not a supported filter.", "filter")
        elif not request.query.filters_on("messages.channel"):
            raise bad_query("A filter on messages.channel is required.", "filter")
        delay = self._account.switches.campaign_delay if request.query.filters_on("name") else 0

        def facts(campaign: Campaign) -> Callable[[str], Any]:
            computed = {
                "messages.channel": "email",
                "status": self._account.status_of(campaign),
                "archived": False,
                "scheduled_at": campaign.accepted_at,
            }
            return lambda subject: computed.get(subject, getattr(campaign, subject, None))

        campaigns = [
            campaign
            for campaign in self._account.campaigns.values()
            if self._account.shows(campaign.created_at, delay) and request.query.keeps(facts(campaign))
        ]
        subject = request.query.sort.removeprefix("-") or "created_at"
        return request.page_of(
            campaigns,
            request.views.campaign,
            key=lambda campaign: (facts(campaign)(subject) or "", campaign.id),
            include=request.views.message if request.query.include else None,
        )

    def create_campaign(self, request: Request) -> Reply:
        attributes = request.body(schema.Body[schema.CampaignCreate]).data.attributes
        definition = attributes.messages.data[0].attributes.definition
        now = self._context.now()
        campaign = Campaign(
            id=self._account.new_id(26),
            message_id=self._account.new_id(26),
            name=attributes.name,
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
        self._change(campaign, attributes)
        self._account.campaigns[campaign.id] = campaign
        return request.single(request.views.campaign(campaign), 201)

    def _change(self, campaign: Campaign, changes: schema.CampaignAttributes | schema.CampaignChanges) -> None:
        """Set the given members; absent and null members keep their values or defaults."""
        audiences, options = changes.audiences, changes.send_options
        included = audiences.included if audiences and audiences.included is not None else campaign.included
        excluded = audiences.excluded if audiences and audiences.excluded is not None else campaign.excluded
        check_lists(self._account, included, "/data/attributes/audiences/included")
        check_lists(self._account, excluded, "/data/attributes/audiences/excluded")
        if len(included) + len(excluded) > _MOST_LISTS:
            raise bad_body("At most 15 lists per campaign.", "/data/attributes/audiences")
        if changes.send_strategy is not None:
            self._schedule(campaign, changes.send_strategy)
        campaign.included, campaign.excluded = included, excluded
        campaign.name = changes.name or campaign.name
        if options is not None:
            campaign.smart_sending = options.use_smart_sending is not False
        if changes.tracking_options is not None:
            campaign.tracking |= changes.tracking_options.model_dump(exclude_unset=True)

    def _schedule(self, campaign: Campaign, strategy: Any) -> None:
        start = _start_of(strategy)
        if start is not None and start <= self._context.now():
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

    def get_campaign(self, request: Request, identity: str) -> Reply:
        campaign = self._campaign(identity)
        included = [request.views.message(campaign)] if request.query.include else None
        return request.single(request.views.campaign(campaign), included=included)

    def update_campaign(self, request: Request, identity: str) -> Reply:
        campaign = self._draft(self._campaign(identity))
        self._change(campaign, request.body(schema.Body[schema.CampaignUpdate], identity).data.attributes)
        campaign.updated_at = self._context.now()
        return request.single(request.views.campaign(campaign))

    def delete_campaign(self, request: Request, identity: str) -> Reply:
        del self._account.campaigns[self._draft(self._campaign(identity)).id]
        return Reply(204)

    def _campaign(self, identity: str) -> Campaign:
        if (campaign := self._account.campaigns.get(identity)) is None:
            raise not_found("campaign", identity)
        return campaign

    def _campaign_of_message(self, identity: str) -> Campaign:
        for campaign in self._account.campaigns.values():
            if campaign.message_id == identity:
                return campaign
        raise not_found("campaign-message", identity)

    def _draft(self, campaign: Campaign) -> Campaign:
        if self._account.status_of(campaign) != "Draft":
            raise bad_body("This is possible only while the campaign is a draft.", "/data", 409)
        return campaign

    def get_messages(self, request: Request, identity: str) -> Reply:
        campaign = self._campaign(identity)
        reply = {"data": [request.views.message(campaign)], "links": {"self": request.here, "next": None, "prev": None}}
        return request.document(reply, included=self._included_template(request, campaign))

    def get_message(self, request: Request, identity: str) -> Reply:
        campaign = self._campaign_of_message(identity)
        return request.single(request.views.message(campaign), included=self._included_template(request, campaign))

    def _included_template(self, request: Request, campaign: Campaign) -> list[dict[str, Any]] | None:
        if not request.query.include:
            return None
        template = self._account.templates.get(campaign.template_id or "")
        return [request.views.template(template)] if template else []

    def update_message(self, request: Request, identity: str) -> Reply:
        campaign = self._draft(self._campaign_of_message(identity))
        definition = request.body(schema.Body[schema.MessageUpdate], identity).data.attributes.definition
        if definition is not None:
            self._set_content(campaign, definition, "/data")
            campaign.updated_at = self._context.now()
        return request.single(request.views.message(campaign))

    def get_message_template(self, request: Request, identity: str) -> Reply:
        campaign = self._campaign_of_message(identity)
        template = self._account.templates.get(campaign.template_id or "")
        return request.single(request.views.template(template) if template else None)

    def assign_template(self, request: Request) -> Reply:
        data = request.body(schema.Body[schema.TemplateAssignment]).data
        campaign = self._draft(self._campaign_of_message(data.id))
        self._account.assign_template(campaign, find_template(self._account, data.relationships.template.data.id))
        return request.single(request.views.assigned_message(campaign))

    def create_estimation(self, request: Request) -> Reply:
        campaign = self._campaign(request.body(schema.Body[schema.EstimationCreate]).data.id)
        self._account.estimations[campaign.id] = self._context.now()
        return self._estimation_job(request, campaign.id, 202)

    def get_estimation_job(self, request: Request, identity: str) -> Reply:
        if identity not in self._account.estimations:
            raise not_found("campaign-recipient-estimation-job", identity)
        return self._estimation_job(request, identity, 200)

    def _estimation_job(self, request: Request, identity: str, status: int) -> Reply:
        started = self._account.estimations[identity]
        is_done = self._account.shows(started, self._account.switches.estimation_delay)
        attributes = {"status": "complete" if is_done else "queued"}
        return request.single(request.views.resource("campaign-recipient-estimation-job", identity, attributes), status)

    def get_estimation(self, request: Request, identity: str) -> Reply:
        """Answer the number of recipients, without members that may not be mailed."""
        campaign = self._campaign(identity)
        started = self._account.estimations.get(identity)
        if started is None or not self._account.shows(started, self._account.switches.estimation_delay):
            raise not_found("campaign-recipient-estimation", identity)
        members = self._account.recipients(campaign.included, campaign.excluded, self._context.now())
        count = sum(profile.can_receive_mail for profile in members)
        attributes = {"estimated_recipient_count": max(0, count + self._account.switches.estimate_error)}
        return request.single(request.views.resource("campaign-recipient-estimation", identity, attributes))

    def create_send_job(self, request: Request) -> Reply:
        campaign = self._campaign(request.body(schema.Body[schema.SendJobCreate]).data.id)
        if self._account.switches.second_send == "refused":
            self._draft(campaign)
        if campaign.template_id is None:
            raise bad_body("The campaign's message has no template.", "/data/id")
        self._account.accept_sending(campaign)
        return request.single(request.views.resource("campaign-send-job", campaign.id, {"status": "queued"}), 202)

    def get_send_job(self, request: Request, identity: str) -> Reply:
        status = self._account.job_status_of(self._campaign(identity))
        if status is None:
            raise not_found("campaign-send-job", identity)
        return request.single(request.views.resource("campaign-send-job", identity, {"status": status}))

    def update_send_job(self, request: Request, identity: str) -> Reply:
        campaign = self._campaign(identity)
        action = request.body(schema.Body[schema.SendJobUpdate], identity).data.attributes.action
        if campaign.accepted_at is None or campaign.outcome is not None:
            raise bad_body("There is nothing to stop.", "/data/attributes/action", 409)
        self._account.stop_sending(campaign, revert=action == "revert")
        return Reply(204)


def _start_of(strategy: Any) -> datetime | None:
    if isinstance(strategy, schema.Static | schema.Throttled):
        return strategy.datetime
    if isinstance(strategy, schema.SmartSendTime):
        return datetime.combine(strategy.date, time(), timezone.utc)
    return None


ROUTES: Routes = {
    ("GET", "/api/campaigns"): (
        CampaignApi.get_campaigns,
        Accepts(
            fields=("campaign", "campaign-message"),
            include=("campaign-messages",),
            filters={
                "id": ("any",),
                "messages.channel": ("equals",),
                "name": ("contains",),
                "status": ("any", "equals"),
                "archived": ("equals",),
                "created_at": RANGES,
                "scheduled_at": RANGES,
                "updated_at": RANGES,
            },
            sorts=("created_at", "id", "name", "scheduled_at", "updated_at"),
            page_maximum=100,
        ),
    ),
    ("POST", "/api/campaigns"): (CampaignApi.create_campaign, Accepts(fields=("campaign",))),
    ("GET", "/api/campaigns/{id}"): (
        CampaignApi.get_campaign,
        Accepts(fields=("campaign", "campaign-message"), include=("campaign-messages",)),
    ),
    ("PATCH", "/api/campaigns/{id}"): (CampaignApi.update_campaign, Accepts(fields=("campaign",))),
    ("DELETE", "/api/campaigns/{id}"): (CampaignApi.delete_campaign, Accepts()),
    ("GET", "/api/campaigns/{id}/campaign-messages"): (
        CampaignApi.get_messages,
        Accepts(fields=("campaign-message", "template"), include=("template",)),
    ),
    ("GET", "/api/campaign-messages/{id}"): (
        CampaignApi.get_message,
        Accepts(fields=("campaign-message", "template"), include=("template",)),
    ),
    ("PATCH", "/api/campaign-messages/{id}"): (CampaignApi.update_message, Accepts(fields=("campaign-message",))),
    ("GET", "/api/campaign-messages/{id}/template"): (CampaignApi.get_message_template, Accepts(fields=("template",))),
    ("POST", "/api/campaign-message-assign-template"): (
        CampaignApi.assign_template,
        Accepts(fields=("campaign-message",)),
    ),
    ("POST", "/api/campaign-recipient-estimation-jobs"): (
        CampaignApi.create_estimation,
        Accepts(fields=("campaign-recipient-estimation-job",)),
    ),
    ("GET", "/api/campaign-recipient-estimation-jobs/{id}"): (
        CampaignApi.get_estimation_job,
        Accepts(fields=("campaign-recipient-estimation-job",)),
    ),
    ("GET", "/api/campaign-recipient-estimations/{id}"): (
        CampaignApi.get_estimation,
        Accepts(fields=("campaign-recipient-estimation",)),
    ),
    ("POST", "/api/campaign-send-jobs"): (CampaignApi.create_send_job, Accepts(fields=("campaign-send-job",))),
    ("GET", "/api/campaign-send-jobs/{id}"): (CampaignApi.get_send_job, Accepts(fields=("campaign-send-job",))),
    ("PATCH", "/api/campaign-send-jobs/{id}"): (CampaignApi.update_send_job, Accepts()),
}
