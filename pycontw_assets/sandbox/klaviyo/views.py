"""Resources as JSON:API objects, in the shapes of the official description."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pycontw_assets.sandbox.klaviyo.account import (
    Campaign,
    Event,
    ImportJob,
    MailAccount,
    MailList,
    Profile,
    Template,
)
from pycontw_assets.sandbox.klaviyo.query import Query

Json = dict[str, Any]
_PATHS = {
    "account": "accounts",
    "list": "lists",
    "profile": "profiles",
    "template": "templates",
    "campaign": "campaigns",
    "campaign-message": "campaign-messages",
    "campaign-send-job": "campaign-send-jobs",
    "campaign-recipient-estimation-job": "campaign-recipient-estimation-jobs",
    "campaign-recipient-estimation": "campaign-recipient-estimations",
    "profile-bulk-import-job": "profile-bulk-import-jobs",
    "import-error": "import-errors",
    "campaign-values-report": "campaign-values-reports",
    "event": "events",
    "metric": "metrics",
}
_PROFILE_MEMBERS = (
    "email", "phone_number", "external_id", "first_name", "last_name", "organization", "locale", "title", "image",
)  # fmt: skip


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


class Views:
    """Builds resources with links to where the caller reached us, trimmed to the fields asked for."""

    def __init__(self, account: MailAccount, base_url: str, query: Query) -> None:
        self._account = account
        self._base = base_url
        self._query = query

    def resource(self, kind: str, identity: str, attributes: Mapping[str, Any], **more: Any) -> Json:
        fields = self._query.fields.get(kind)
        kept = {name: value for name, value in attributes.items() if fields is None or name in fields}
        links = {"self": f"{self._base}/api/{_PATHS[kind]}/{identity}/"}
        return {"type": kind, "id": identity, "attributes": kept, **more, "links": links}

    def _relation(self, owner: str, identity: str, name: str, data: Any = None, *, path: str | None = None) -> Json:
        root = f"{self._base}/api/{_PATHS[owner]}/{identity}"
        links = {"self": f"{root}/relationships/{name}/", "related": f"{root}/{path or name}/"}
        return {"links": links} if data is None else {"data": data, "links": links}

    def mail_list(self, given: MailList, *, profile_count: int | None = None) -> Json:
        attributes: Json = {
            "name": given.name,
            "created": iso(given.created),
            "updated": iso(given.updated),
            "opt_in_process": given.opt_in_process,
        }
        if profile_count is not None:
            attributes["profile_count"] = profile_count
        relations = {"profiles": self._relation("list", given.id, "profiles")}
        return self.resource("list", given.id, attributes, relationships=relations)

    def profile(self, given: Profile, *, joined_at: datetime | None = None) -> Json:
        attributes: Json = {name: given.attributes.get(name) for name in _PROFILE_MEMBERS}
        attributes |= {
            "created": iso(given.created),
            "updated": iso(given.updated),
            "last_event_date": None,
            "location": given.attributes.get("location") or {},
            "properties": given.properties,
        }
        if joined_at is not None:
            attributes["joined_group_at"] = iso(joined_at)
        if "subscriptions" in self._query.additional:
            attributes["subscriptions"] = _subscriptions(given)
        return self.resource("profile", given.id, attributes)

    def template(self, given: Template) -> Json:
        attributes = {
            "name": given.name,
            "editor_type": given.editor_type,
            "html": given.html or "",
            "text": given.text,
            "amp": given.amp,
            "created": iso(given.created),
            "updated": iso(given.updated),
        }
        return self.resource("template", given.id, attributes)

    def campaign(self, given: Campaign) -> Json:
        status = self._account.status_of(given)
        attributes = {
            "name": given.name,
            "status": self._account.switches.renamed_statuses.get(status, status),
            "archived": False,
            "audiences": {"included": given.included, "excluded": given.excluded},
            "send_options": {"use_smart_sending": given.smart_sending},
            "tracking_options": given.tracking,
            "send_strategy": given.strategy,
            "created_at": iso(given.created_at),
            "scheduled_at": iso(given.accepted_at),
            "updated_at": iso(given.updated_at),
            "send_time": iso(given.send_time or given.starts_no_earlier),
        }
        message = [{"type": "campaign-message", "id": given.message_id}]
        relations = {"campaign-messages": self._relation("campaign", given.id, "campaign-messages", message)}
        return self.resource("campaign", given.id, attributes, relationships=relations)

    def message(self, given: Campaign) -> Json:
        attributes = {
            "definition": {"channel": "email", "label": given.label, "content": given.content},
            "created_at": iso(given.created_at),
            "updated_at": iso(given.updated_at),
        }
        return self._message(given, attributes)

    def assigned_message(self, given: Campaign) -> Json:
        """The reply to an assignment is flat, unlike everywhere else."""
        attributes = {
            "label": given.label,
            "channel": "email",
            "content": given.content,
            "created_at": iso(given.created_at),
            "updated_at": iso(given.updated_at),
        }
        return self._message(given, attributes)

    def _message(self, given: Campaign, attributes: Json) -> Json:
        campaign = {"type": "campaign", "id": given.id}
        relations = {"campaign": self._relation("campaign-message", given.message_id, "campaign", campaign)}
        if given.template_id is not None:
            template = {"type": "template", "id": given.template_id}
            relations["template"] = self._relation("campaign-message", given.message_id, "template", template)
        return self.resource("campaign-message", given.message_id, attributes, relationships=relations)

    def import_job(self, given: ImportJob) -> Json:
        status = "complete" if given.completed_at else "processing" if given.started_at else "queued"
        failed = len(given.errors)
        attributes = {
            "status": status,
            "created_at": iso(given.created_at),
            "total_count": given.total,
            "completed_count": given.total - failed if given.completed_at else 0,
            "failed_count": failed,
            "completed_at": iso(given.completed_at),
            "expires_at": iso(given.created_at + timedelta(days=7)),
            "started_at": iso(given.started_at),
        }
        return self.resource("profile-bulk-import-job", given.id, attributes)

    def import_error(self, job: ImportJob, position: int) -> Json:
        attributes = {
            "code": "invalid",
            "title": "Invalid input.",
            "detail": "Invalid email address",
            "source": {"pointer": "/data/attributes/email"},
            "original_payload": job.errors[position],
        }
        return self.resource("import-error", f"{job.id}-{position}", attributes)

    def event(self, given: Event) -> Json:
        attributes = {
            "timestamp": int(given.at.timestamp()),
            "event_properties": given.properties,
            "datetime": iso(given.at),
            "uuid": given.id,
        }
        relations = {
            "profile": self._relation("event", given.id, "profile", {"type": "profile", "id": given.profile_id}),
            "metric": self._relation("event", given.id, "metric", {"type": "metric", "id": given.metric_id}),
        }
        return self.resource("event", given.id, attributes, relationships=relations)


def _subscriptions(profile: Profile) -> Json:
    marketing = {
        "can_receive_email_marketing": profile.can_receive_mail,
        "consent": profile.consent,
        "consent_timestamp": iso(profile.consent_at),
        "last_updated": iso(profile.consent_at),
        "method": None,
        "method_detail": None,
        "custom_method_detail": None,
        "double_optin": None,
        "suppression": [{"reason": reason, "timestamp": iso(at)} for reason, at in profile.suppressions],
        "list_suppressions": [],
    }
    return {"email": {"marketing": marketing}}
