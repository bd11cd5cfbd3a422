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
    "flow": "flows",
    "metric": "metrics",
}
_PROFILE_MEMBERS = (
    "email", "phone_number", "external_id", "first_name", "last_name", "organization", "locale", "title", "image",
)  # fmt: skip


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


class Views:
    """Build resources with links to the address that the caller used, limited to the requested fields."""

    def __init__(self, account: MailAccount, base_url: str, query: Query) -> None:
        self._account = account
        self._base = base_url
        self._query = query

    def resource(self, kind: str, identity: str, attributes: Mapping[str, Any], **more: Any) -> Json:
        fields = self._query.fields.get(kind)
        kept = {name: value for name, value in attributes.items() if fields is None or name in fields}
        links = {"self": f"{self._base}/api/{_PATHS[kind]}/{identity}/"}
        return {"type": kind, "id": identity, "attributes": kept, **more, "links": links}

    def _relation(self, owner: str, identity: str, name: str, *, data: Any = None) -> Json:
        root = f"{self._base}/api/{_PATHS[owner]}/{identity}"
        links = {"self": f"{root}/relationships/{name}/", "related": f"{root}/{name}/"}
        return {"links": links} if data is None else {"data": data, "links": links}

    def mail_list(self, mail_list: MailList, *, profile_count: int | None = None) -> Json:
        attributes: Json = {
            "name": mail_list.name,
            "created": iso(mail_list.created),
            "updated": iso(mail_list.updated),
            "opt_in_process": mail_list.opt_in_process,
        }
        if profile_count is not None:
            attributes["profile_count"] = profile_count
        relations = {"profiles": self._relation("list", mail_list.id, "profiles")}
        return self.resource("list", mail_list.id, attributes, relationships=relations)

    def profile(self, profile: Profile, *, joined_at: datetime | None = None, of_upsert: bool = False) -> Json:
        attributes: Json = {name: profile.attributes.get(name) for name in _PROFILE_MEMBERS}
        attributes |= {
            "created": iso(profile.created),
            "updated": iso(profile.updated),
            "last_event_date": None,
            "location": profile.attributes.get("location") or {},
            "properties": profile.properties,
        }
        if joined_at is not None:
            attributes["joined_group_at"] = iso(joined_at)
        shown = self._account.switches.subscriptions_shown
        is_withheld = shown == "never" or (shown == "in searches" and of_upsert)
        if "subscriptions" in self._query.additional and not is_withheld:
            attributes["subscriptions"] = _subscriptions(profile)
        return self.resource("profile", profile.id, attributes)

    def template(self, template: Template) -> Json:
        attributes = {
            "name": template.name,
            "editor_type": template.editor_type,
            "html": template.html or "",
            "text": template.text,
            "amp": template.amp,
            "created": iso(template.created),
            "updated": iso(template.updated),
        }
        return self.resource("template", template.id, attributes)

    def campaign(self, campaign: Campaign) -> Json:
        if self._account.switches.shape == "new":
            return self._reshaped_campaign(campaign)
        status = self._account.status_of(campaign)
        attributes = {
            "name": campaign.name,
            "status": self._account.switches.renamed_statuses.get(status, status),
            "archived": False,
            "audiences": {"included": campaign.included, "excluded": campaign.excluded},
            "send_options": {"use_smart_sending": campaign.smart_sending},
            "tracking_options": campaign.tracking,
            "send_strategy": campaign.strategy,
            "created_at": iso(campaign.created_at),
            "scheduled_at": iso(campaign.accepted_at),
            "updated_at": iso(campaign.updated_at),
            "send_time": iso(campaign.send_time or campaign.starts_no_earlier),
        }
        message = [{"type": "campaign-message", "id": campaign.message_id}]
        relations = {"campaign-messages": self._relation("campaign", campaign.id, "campaign-messages", data=message)}
        return self.resource("campaign", campaign.id, attributes, relationships=relations)

    def _reshaped_campaign(self, campaign: Campaign) -> Json:
        """Return a campaign as later revisions show it: without a status, with audiences and schedules elsewhere."""
        attributes = {
            "definition": {"name": campaign.name, "channel": "email"},
            "created_at": iso(campaign.created_at),
            "updated_at": iso(campaign.updated_at),
        }
        names = ("audiences", "campaign-messages", "schedules")
        relations = {name: self._relation("campaign", campaign.id, name) for name in names}
        links = {"self": f"{self._base}/api/campaigns/{campaign.id}/"}
        resource: Json = {"type": "campaign", "id": campaign.id, "attributes": attributes}
        return resource | {"relationships": relations, "links": links}

    def message(self, campaign: Campaign) -> Json:
        attributes = {
            "definition": {"channel": "email", "label": campaign.label, "content": campaign.content},
            "created_at": iso(campaign.created_at),
            "updated_at": iso(campaign.updated_at),
        }
        return self._message(campaign, attributes)

    def assigned_message(self, campaign: Campaign) -> Json:
        """Return the flat message that only the reply to an assignment contains."""
        attributes = {
            "label": campaign.label,
            "channel": "email",
            "content": campaign.content,
            "created_at": iso(campaign.created_at),
            "updated_at": iso(campaign.updated_at),
        }
        return self._message(campaign, attributes)

    def _message(self, campaign: Campaign, attributes: Json) -> Json:
        reference = {"type": "campaign", "id": campaign.id}
        relations = {"campaign": self._relation("campaign-message", campaign.message_id, "campaign", data=reference)}
        if campaign.template_id is not None:
            reference = {"type": "template", "id": campaign.template_id}
            relations["template"] = self._relation("campaign-message", campaign.message_id, "template", data=reference)
        return self.resource("campaign-message", campaign.message_id, attributes, relationships=relations)

    def import_job(self, job: ImportJob) -> Json:
        status = "complete" if job.completed_at else "processing" if job.started_at else "queued"
        failed = len(job.errors)
        attributes = {
            "status": status,
            "created_at": iso(job.created_at),
            "total_count": job.total,
            "completed_count": job.total - failed if job.completed_at else 0,
            "failed_count": failed,
            "completed_at": iso(job.completed_at),
            "expires_at": iso(job.created_at + timedelta(days=7)),
            "started_at": iso(job.started_at),
        }
        return self.resource("profile-bulk-import-job", job.id, attributes)

    def import_error(self, job: ImportJob, position: int) -> Json:
        attributes = {
            "code": "invalid",
            "title": "Invalid input.",
            "detail": "Invalid email address",
            "source": {"pointer": "/data/attributes/email"},
            "original_payload": job.errors[position],
        }
        return self.resource("import-error", f"{job.id}-{position}", attributes)

    def event(self, event: Event) -> Json:
        attributes = {
            "timestamp": int(event.at.timestamp()),
            "event_properties": event.properties,
            "datetime": iso(event.at),
            "uuid": event.id,
        }
        relations = {
            "profile": self._relation("event", event.id, "profile", data={"type": "profile", "id": event.profile_id}),
            "metric": self._relation("event", event.id, "metric", data={"type": "metric", "id": event.metric_id}),
        }
        return self.resource("event", event.id, attributes, relationships=relations)


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
