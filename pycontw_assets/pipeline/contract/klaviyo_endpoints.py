"""Every endpoint of Klaviyo that the program reads, with the members of revision 2026-07-15 that the contract knows.

The names are those of Klaviyo's official description of the interface. ``consent`` is the name of a member there: a
person's marketing consent.
"""

from __future__ import annotations

from collections.abc import Mapping

from pycontw_assets.pipeline.contract.endpoints import Endpoint
from pycontw_assets.pipeline.contract.shapes import ANY, Known, known, word
from pycontw_assets.send_email.klaviyo_records import CONSENTS, STATUSES, SUPPRESSIONS

JOB_STATUSES = ("queued", "processing", "complete", "cancelled")
FLOW_STATUSES = ("draft", "manual", "live")
_KINDS = (
    "account list profile template campaign campaign-message campaign-send-job campaign-recipient-estimation-job "
    "campaign-recipient-estimation campaign-values-report event metric flow profile-bulk-import-job import-error"
)
_KIND = word(*_KINDS.split())
_REFERENCE = known("id", {"type": _KIND})
_LINKS = known("self next prev first last related")
_ERRORS = Known(
    rows=known("id status title detail links meta", {"code": ANY, "source": known("pointer parameter header")})
)


def _relation(*, is_many: bool) -> Known:
    return known("", {"data": Known(rows=_REFERENCE) if is_many else _REFERENCE, "links": _LINKS})


def _resource(attributes: Known, relationships: Mapping[str, Known] | None = None) -> Known:
    relations = Known(members=relationships or {})
    return known("id", {"type": _KIND, "attributes": attributes, "relationships": relations, "links": _LINKS})


def _document(data: Known, included: Known = ANY) -> Known:
    return known("meta", {"data": data, "included": included, "links": _LINKS, "errors": _ERRORS})


def _pages(row: Known, included: Known = ANY) -> Known:
    return _document(Known(rows=row), included)


_MARKETING = known(
    "can_receive_email_marketing consent_timestamp last_updated method method_detail custom_method_detail double_optin",
    {
        "consent": word(*CONSENTS),
        "suppression": Known(rows=known("timestamp", {"reason": word(*SUPPRESSIONS)})),
        "list_suppressions": Known(rows=known("list_id timestamp", {"reason": word(*SUPPRESSIONS)})),
    },
)
_SUBSCRIPTIONS = known("sms mobile_push whatsapp", {"email": known("", {"marketing": _MARKETING})})
_PROFILE = _resource(
    known(
        "email phone_number external_id first_name last_name organization locale title image created updated "
        "last_event_date location properties joined_group_at",
        {"subscriptions": _SUBSCRIPTIONS},
    ),
    {name: _relation(is_many=True) for name in ("lists", "segments", "push-tokens")},
)
_LIST = _resource(
    known("name created updated profile_count", {"opt_in_process": word("single_opt_in", "double_opt_in")}),
    {name: _relation(is_many=True) for name in ("profiles", "tags", "flow-triggers")},
)
_TEMPLATE = _resource(
    known(
        "name html text amp created updated definition",
        {"editor_type": word("CODE", "SIMPLE", "USER_DRAGGABLE", "SYSTEM_DRAGGABLE")},
    )
)
_CAMPAIGN = _resource(
    known(
        "name archived created_at scheduled_at updated_at send_time",
        {
            "status": word(*STATUSES),
            "audiences": known("", {"included": Known(rows=ANY), "excluded": Known(rows=ANY)}),
            "send_options": known("use_smart_sending ignore_unsubscribes is_ignoring_unsubscribes"),
            "tracking_options": known(
                "is_tracking_opens is_tracking_clicks add_tracking_params is_add_utm utm_params custom_tracking_params"
            ),
            "send_strategy": known(
                "datetime throttle_percentage date",
                {
                    "method": word("immediate", "static", "throttled", "smart_send_time"),
                    "options": known("is_local send_past_recipients_immediately"),
                },
            ),
        },
    ),
    {name: _relation(is_many=True) for name in ("campaign-messages", "tags")},
)
_CONTENT = known("subject preview_text from_email from_label reply_to_email cc_email bcc_email")
_CHANNEL = {"channel": word("email", "sms", "mobile_push", "whatsapp"), "content": _CONTENT}
_MESSAGE = _resource(
    known(
        "label send_times render_options created_at updated_at",
        {**_CHANNEL, "definition": known("label", _CHANNEL)},
    ),
    {name: _relation(is_many=False) for name in ("campaign", "template", "image")},
)
_JOB = _resource(known("", {"status": word(*JOB_STATUSES)}))
_METRIC = _resource(
    known("name created updated integration"), {name: _relation(is_many=True) for name in ("flow-triggers",)}
)
_FLOW = _resource(
    known("name archived created updated trigger_type", {"status": word(*FLOW_STATUSES)}),
    {name: _relation(is_many=True) for name in ("flow-actions", "tags")},
)
_EVENT = _resource(
    known("timestamp event_properties datetime uuid"),
    {name: _relation(is_many=False) for name in ("profile", "metric", "attributions")},
)
_REPORT_ROW = known(
    "",
    {
        "groupings": known("campaign_id campaign_message_id", {"send_channel": word("email", "sms", "mobile_push")}),
        "statistics": known("recipients"),
    },
)
_IMPORT = _resource(
    known(
        "created_at total_count completed_count failed_count completed_at expires_at started_at",
        {"status": word(*JOB_STATUSES)},
    ),
    {name: _relation(is_many=True) for name in ("lists", "profiles", "import-errors")},
)
_IMPORT_ERROR = _resource(known("code title detail original_payload", {"source": known("pointer")}))

ACCOUNT = Endpoint("Klaviyo account", "/api/accounts", _pages(_resource(known("test_account"))))
LISTS = Endpoint("Klaviyo lists", "/api/lists", _pages(_LIST))
LISTS_BY_NAME = Endpoint("Klaviyo lists by name", "/api/lists", _pages(_LIST))
MEMBER_IDS = Endpoint("Klaviyo ids of list members", "/api/lists/{list}/relationships/profiles", _pages(_REFERENCE))
MEMBERS = Endpoint("Klaviyo list members", "/api/lists/{list}/profiles", _pages(_PROFILE))
PROFILES = Endpoint("Klaviyo profiles by id", "/api/profiles", _pages(_PROFILE))
ADDRESSES = Endpoint("Klaviyo profiles by address", "/api/profiles", _pages(_PROFILE))
TEMPLATES = Endpoint("Klaviyo templates by name", "/api/templates", _pages(_TEMPLATE))
TEMPLATE = Endpoint("Klaviyo template", "/api/templates/{template}", _document(_TEMPLATE))
CAMPAIGNS = Endpoint("Klaviyo campaigns", "/api/campaigns", _pages(_CAMPAIGN, Known(rows=_MESSAGE)))
ARCHIVED = Endpoint("Klaviyo archived campaigns", "/api/campaigns", _pages(_CAMPAIGN))
CAMPAIGN = Endpoint("Klaviyo campaign", "/api/campaigns/{campaign}", _document(_CAMPAIGN, Known(rows=_MESSAGE)))
MESSAGES = Endpoint("Klaviyo messages of a campaign", "/api/campaigns/{campaign}/campaign-messages", _pages(_MESSAGE))
COPY = Endpoint("Klaviyo template of a message", "/api/campaign-messages/{message}/template", _document(_TEMPLATE))
SEND_JOB = Endpoint("Klaviyo send job", "/api/campaign-send-jobs/{campaign}", _document(_JOB))
ESTIMATE_JOB = Endpoint("Klaviyo estimation job", "/api/campaign-recipient-estimation-jobs/{campaign}", _document(_JOB))
ESTIMATE = Endpoint(
    "Klaviyo estimation",
    "/api/campaign-recipient-estimations/{campaign}",
    _document(_resource(known("estimated_recipient_count"))),
)
METRICS = Endpoint("Klaviyo metrics", "/api/metrics", _pages(_METRIC))
FLOWS = Endpoint("Klaviyo metrics with flows", "/api/metrics", _pages(_METRIC, Known(rows=_FLOW)))
EVENTS_OF_METRIC = Endpoint("Klaviyo events of a metric", "/api/events", _pages(_EVENT, Known(rows=_PROFILE)))
EVENTS_OF_PROFILE = Endpoint("Klaviyo events of a profile", "/api/events", _pages(_EVENT))
REPORT = Endpoint(
    "Klaviyo report of campaigns",
    "/api/campaign-values-reports",
    _document(_resource(known("", {"results": Known(rows=_REPORT_ROW)}))),
)
IMPORT_JOB = Endpoint("Klaviyo bulk import", "/api/profile-bulk-import-jobs/{job}", _document(_IMPORT))
IMPORT_ERRORS = Endpoint(
    "Klaviyo errors of a bulk import", "/api/profile-bulk-import-jobs/{job}/import-errors", _pages(_IMPORT_ERROR)
)

OF_KLAVIYO = (
    *(ACCOUNT, LISTS, LISTS_BY_NAME, MEMBER_IDS, MEMBERS, PROFILES, ADDRESSES, TEMPLATES, TEMPLATE, CAMPAIGNS),
    *(ARCHIVED, CAMPAIGN, MESSAGES, COPY, SEND_JOB, ESTIMATE_JOB, ESTIMATE, METRICS, FLOWS),
    *(EVENTS_OF_METRIC, EVENTS_OF_PROFILE, REPORT, IMPORT_JOB, IMPORT_ERRORS),
)
