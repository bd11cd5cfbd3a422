"""Request bodies, stricter than the official description: misspelt and unknown members are refused.

The description allows unknown members, so a misspelt ``use_smart_sending`` would silently keep the default. Members
that exist but are not simulated (SMS, push, draggable templates) are refused as well.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pycontw_assets.sandbox.klaviyo.errors import ApiError, Problem

A = TypeVar("A")
T = TypeVar("T")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Body(Strict, Generic[A]):
    data: A


class Reference(Strict):
    type: str
    id: str


class ProfileReference(Reference):
    type: Literal["profile"]


class ListReference(Reference):
    type: Literal["list"]


class TemplateReference(Reference):
    type: Literal["template"]


# -- lists ------------------------------------------------------------------------------------------------


class ListAttributes(Strict):
    name: Annotated[str, Field(min_length=1)]
    opt_in_process: Literal["double_opt_in", "single_opt_in"] | None = None


class ListCreate(Strict):
    type: Literal["list"]
    attributes: ListAttributes


class Members(Strict):
    data: Annotated[list[ProfileReference], Field(max_length=1000)]


# -- profiles ---------------------------------------------------------------------------------------------


class Location(Strict):
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    country: str | None = None
    latitude: str | float | None = None
    longitude: str | float | None = None
    region: str | None = None
    zip: str | None = None
    timezone: str | None = None
    ip: str | None = None


class ProfileAttributes(Strict):
    email: str | None = None
    phone_number: Annotated[str, Field(pattern=r"^\+[1-9]\d{6,14}$")] | None = None
    external_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    organization: str | None = None
    locale: str | None = None
    title: str | None = None
    image: str | None = None
    location: Location | None = None
    properties: dict[str, Any] | None = None


class ProfileUpsert(Strict):
    type: Literal["profile"]
    id: str | None = None
    attributes: ProfileAttributes


class Profiles(Strict, Generic[T]):
    data: list[T]


class ListsRelation(Strict):
    data: list[ListReference]


class ImportRelations(Strict):
    lists: ListsRelation | None = None


class ImportAttributes(Strict):
    profiles: Profiles[ProfileUpsert]


class ImportCreate(Strict):
    type: Literal["profile-bulk-import-job"]
    attributes: ImportAttributes
    relationships: ImportRelations | None = None


class Consent(Strict):
    consent: Literal["SUBSCRIBED"]
    consented_at: AwareDatetime | None = None


class MarketingConsent(Strict):
    marketing: Consent


class EmailSubscription(Strict):
    email: MarketingConsent


class SubscriptionAttributes(Strict):
    email: str
    subscriptions: EmailSubscription


class SubscribedProfile(Strict):
    type: Literal["profile"]
    id: str | None = None
    attributes: SubscriptionAttributes


class SubscriptionJobAttributes(Strict):
    custom_source: str | None = None
    profiles: Profiles[SubscribedProfile]
    historical_import: bool | None = None


class OneList(Strict):
    data: ListReference


class SubscriptionRelations(Strict):
    list: OneList | None = None


class SubscriptionCreate(Strict):
    type: Literal["profile-subscription-bulk-create-job"]
    attributes: SubscriptionJobAttributes
    relationships: SubscriptionRelations | None = None


# -- templates --------------------------------------------------------------------------------------------


class TemplateAttributes(Strict):
    name: Annotated[str, Field(min_length=1)]
    editor_type: Literal["CODE", "USER_DRAGGABLE"]
    html: str | None = None
    text: str | None = None
    amp: str | None = None


class TemplateCreate(Strict):
    type: Literal["template"]
    attributes: TemplateAttributes


class TemplateChanges(Strict):
    name: Annotated[str, Field(min_length=1)] | None = None
    html: str | None = None
    text: str | None = None
    amp: str | None = None


class TemplateUpdate(Strict):
    type: Literal["template"]
    id: str
    attributes: TemplateChanges


# -- campaigns --------------------------------------------------------------------------------------------


class Audiences(Strict):
    included: Annotated[list[str], Field(min_length=1)]
    excluded: list[str] = Field(default_factory=list)


class AudienceChanges(Strict):
    included: Annotated[list[str], Field(min_length=1)] | None = None
    excluded: list[str] | None = None


class SendOptions(Strict):
    use_smart_sending: bool | None = True


class TrackingOptions(Strict):
    add_tracking_params: bool | None = None
    is_tracking_clicks: bool | None = None
    is_tracking_opens: bool | None = None


class LocalTime(Strict):
    is_local: bool
    send_past_recipients_immediately: bool | None = None


class Immediate(Strict):
    method: Literal["immediate"]


class Static(Strict):
    method: Literal["static"]
    datetime: AwareDatetime
    options: LocalTime | None = None


class Throttled(Strict):
    method: Literal["throttled"]
    datetime: AwareDatetime
    throttle_percentage: Literal[1, 2, 5, 10, 11, 13, 14, 17, 20, 25, 33, 50]


class SmartSendTime(Strict):
    method: Literal["smart_send_time"]
    date: dt.date


SendStrategy = Annotated[Immediate | Static | Throttled | SmartSendTime, Field(discriminator="method")]


class EmailContent(Strict):
    subject: str | None = None
    preview_text: str | None = None
    from_email: str | None = None
    from_label: str | None = None
    reply_to_email: str | None = None
    cc_email: str | None = None
    bcc_email: str | None = None


class EmailDefinition(Strict):
    channel: Literal["email"]
    label: str | None = None
    content: EmailContent | None = None


class MessageAttributes(Strict):
    definition: EmailDefinition


class MessageCreate(Strict):
    type: Literal["campaign-message"]
    attributes: MessageAttributes


class Messages(Strict):
    data: Annotated[list[MessageCreate], Field(min_length=1, max_length=1)]


class CampaignAttributes(Strict):
    name: Annotated[str, Field(min_length=1)]
    audiences: Audiences
    send_strategy: SendStrategy | None = None
    send_options: SendOptions | None = None
    tracking_options: TrackingOptions | None = None
    messages: Messages = Field(alias="campaign-messages")


class CampaignCreate(Strict):
    type: Literal["campaign"]
    attributes: CampaignAttributes


class CampaignChanges(Strict):
    name: Annotated[str, Field(min_length=1)] | None = None
    audiences: AudienceChanges | None = None
    send_strategy: SendStrategy | None = None
    send_options: SendOptions | None = None
    tracking_options: TrackingOptions | None = None


class CampaignUpdate(Strict):
    type: Literal["campaign"]
    id: str
    attributes: CampaignChanges


class MessageChanges(Strict):
    definition: EmailDefinition | None = None


class MessageUpdate(Strict):
    type: Literal["campaign-message"]
    id: str
    attributes: MessageChanges


class TemplateRelation(Strict):
    data: TemplateReference


class MessageRelations(Strict):
    template: TemplateRelation


class TemplateAssignment(Strict):
    type: Literal["campaign-message"]
    id: str
    relationships: MessageRelations


class EstimationCreate(Strict):
    type: Literal["campaign-recipient-estimation-job"]
    id: str


class SendJobCreate(Strict):
    type: Literal["campaign-send-job"]
    id: str


class SendJobAction(Strict):
    action: Literal["cancel", "revert"]


class SendJobUpdate(Strict):
    type: Literal["campaign-send-job"]
    id: str
    attributes: SendJobAction


# -- events and reports -----------------------------------------------------------------------------------


class MetricAttributes(Strict):
    name: Annotated[str, Field(min_length=1)]
    service: str | None = None


class MetricOfEvent(Strict):
    type: Literal["metric"]
    attributes: MetricAttributes


class ProfileOfEvent(Strict):
    type: Literal["profile"]
    id: str | None = None
    attributes: ProfileAttributes


class EventMembers(Strict):
    properties: dict[str, Any]
    time: AwareDatetime | None = None
    value: float | None = None
    value_currency: str | None = None
    unique_id: str | None = None
    backfill: bool | None = None
    metric: Body[MetricOfEvent]


class EventAttributes(EventMembers):
    profile: Body[ProfileOfEvent]


class EventCreate(Strict):
    type: Literal["event"]
    attributes: EventAttributes


class EventOfBulk(Strict):
    type: Literal["event"]
    attributes: EventMembers


class EventsOfProfile(Strict):
    profile: Body[ProfileOfEvent]
    events: Profiles[EventOfBulk]


class BulkRow(Strict):
    type: Literal["event-bulk-create"]
    attributes: EventsOfProfile


class BulkAttributes(Strict):
    rows: Profiles[BulkRow] = Field(alias="events-bulk-create")


class BulkEvents(Strict):
    type: Literal["event-bulk-create-job"]
    attributes: BulkAttributes


STATISTICS = [
    "average_order_value",
    "bounce_rate",
    "bounced",
    "bounced_or_failed",
    "bounced_or_failed_rate",
    "click_rate",
    "click_to_open_rate",
    "clicks",
    "clicks_unique",
    "conversion_rate",
    "conversion_uniques",
    "conversion_value",
    "conversions",
    "delivered",
    "delivery_rate",
    "failed",
    "failed_rate",
    "message_segment_count_sum",
    "open_rate",
    "opens",
    "opens_unique",
    "recipients",
    "revenue_per_recipient",
    "spam_complaint_rate",
    "spam_complaints",
    "text_message_credit_usage_amount",
    "text_message_roi",
    "text_message_spend",
    "unsubscribe_rate",
    "unsubscribe_uniques",
    "unsubscribes",
]

Statistic = Annotated[str, Field(pattern=f"^({'|'.join(STATISTICS)})$")]


class NamedTimeframe(Strict):
    key: Literal[
        "last_12_months", "last_30_days", "last_365_days", "last_3_months", "last_7_days", "last_90_days",
        "last_month", "last_week", "last_year", "this_month", "this_week", "this_year", "today", "yesterday",
    ]  # fmt: skip


class CustomTimeframe(Strict):
    start: AwareDatetime
    end: AwareDatetime


class ReportAttributes(Strict):
    statistics: Annotated[list[Statistic], Field(min_length=1)]
    timeframe: NamedTimeframe | CustomTimeframe
    conversion_metric_id: str
    group_by: list[Literal["campaign_id", "campaign_message_id", "send_channel"]] | None = None
    filter: str | None = None


class ReportCreate(Strict):
    type: Literal["campaign-values-report"]
    attributes: ReportAttributes


M = TypeVar("M", bound=BaseModel)


def read_body(model: type[M], body: bytes) -> M:
    """Return the validated body, or raise a 400 with a pointer to every wrong member."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = [_problem(body, dict(problem)) for problem in error.errors(include_url=False, include_input=False)]
    raise ApiError(400, *problems)


def _problem(body: bytes, error: dict[str, Any]) -> Problem:
    try:
        parsed = json.loads(body)
    except ValueError:
        return Problem("The body is not valid JSON.", pointer="/data")
    return Problem(str(error["msg"]), pointer=_pointer(parsed, error["loc"]))


def _pointer(parsed: Any, location: tuple[str | int, ...]) -> str:
    """Return the JSON pointer, without the names of union members that pydantic puts into a location."""
    steps: list[str] = []
    here = parsed
    for position, step in enumerate(location):
        exists = (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        )
        if exists:
            here = here[step]
        elif position < len(location) - 1:
            continue
        elif not isinstance(here, dict):
            break
        steps.append(str(step))
    return "/" + "/".join(steps)
