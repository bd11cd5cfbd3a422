"""What Klaviyo answers, as frozen records, and how each is read from its JSON:API resource.

Unknown members are ignored, and ``null`` is met where the description says string. Addresses are hidden from
every ``repr``. No calls are made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timezone
from typing import Any

from pycontw_assets.api.client import Malformed


@dataclass(frozen=True, slots=True)
class MailingList:
    list_id: str
    name: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One recipient. ``can_receive_email`` and ``consent`` are ``None``, and ``properties`` empty, where the reply
    does not tell.
    """

    profile_id: str
    email: str | None = field(repr=False)
    can_receive_email: bool | None = None
    _: KW_ONLY
    consent: str | None = None
    suppressions: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def unreachable_because(self) -> str | None:
        """Why a campaign would leave this person out, silently."""
        if self.can_receive_email is not False:
            return None
        return "; ".join(self.suppressions) or self.consent or "suppressed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJob:
    """``status`` goes queued, processing, complete or cancelled."""

    job_id: str
    status: str
    total: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """One profile a bulk import refused; ``email`` where the job says which it was."""

    code: str
    pointer: str | None
    email: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    template_id: str
    name: str
    html: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """``uses_smart_sending`` true means recipients are skipped for good; ``None`` is the vendor's default: true."""

    campaign_id: str
    name: str
    status: str
    created_at: datetime | None
    message_id: str | None
    included_lists: tuple[str, ...]
    excluded_lists: tuple[str, ...]
    uses_smart_sending: bool | None
    send_at: datetime | None = None


def mailing_list(resource: Mapping[str, Any]) -> MailingList:
    own = attributes(resource)
    return MailingList(text(resource, "id"), _plain(own, "name"), _moment(own.get("created")))


def profile(resource: Mapping[str, Any]) -> Profile:
    own = attributes(resource)
    marketing = _inside(own, "subscriptions", "email", "marketing")
    can_receive, consent = marketing.get("can_receive_email_marketing"), marketing.get("consent")
    reasons = (row.get("reason") for row in _rows(marketing.get("suppression")))
    return Profile(
        profile_id=text(resource, "id"),
        email=_text_or_none(own.get("email")),
        can_receive_email=can_receive if isinstance(can_receive, bool) else None,
        consent=_text_or_none(consent),
        suppressions=tuple(reason for reason in reasons if isinstance(reason, str)),
        properties=_inside(own, "properties"),
    )


def import_job(resource: Mapping[str, Any]) -> ImportJob:
    own = attributes(resource)
    return ImportJob(
        job_id=text(resource, "id"),
        status=text(own, "status"),
        total=count(own, "total_count") or 0,
        completed=count(own, "completed_count") or 0,
        failed=count(own, "failed_count") or 0,
    )


def import_problem(resource: Mapping[str, Any]) -> ImportProblem:
    """The refused payload comes back in a shape nobody describes: bare, or as the resource that was sent."""
    own = attributes(resource)
    payload = _inside(own, "original_payload")
    nested = (payload, _inside(payload, "attributes"), _inside(payload, "data", "attributes"))
    emails = [level["email"] for level in nested if isinstance(level.get("email"), str)]
    pointer = _text_or_none(_inside(own, "source").get("pointer"))
    return ImportProblem(_plain(own, "code") or "unknown", pointer, emails[0] if emails else None)


def template(resource: Mapping[str, Any]) -> Template:
    own = attributes(resource)
    return Template(
        template_id=text(resource, "id"),
        name=_plain(own, "name"),
        html=_plain(own, "html"),
        text=_plain(own, "text"),
    )


def campaign(resource: Mapping[str, Any]) -> Campaign:
    """The message is named under ``relationships``, or, nested as it was sent, under ``attributes``."""
    own = attributes(resource)
    audiences = _inside(own, "audiences")
    messages = _rows(_inside(resource, "relationships", "campaign-messages").get("data"))
    messages += _rows(_inside(own, "campaign-messages").get("data"))
    ids = [row["id"] for row in messages if isinstance(row.get("id"), str)]
    smart_sending = _inside(own, "send_options").get("use_smart_sending")
    return Campaign(
        campaign_id=text(resource, "id"),
        name=_plain(own, "name"),
        status=_plain(own, "status") or "Unknown",
        created_at=_moment(own.get("created_at")),
        message_id=ids[0] if ids else None,
        included_lists=_texts(audiences.get("included")),
        excluded_lists=_texts(audiences.get("excluded")),
        uses_smart_sending=smart_sending if isinstance(smart_sending, bool) else None,
        send_at=_moment(_inside(own, "send_strategy").get("datetime")),
    )


def attributes(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return _inside(resource, "attributes")


def text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed("Klaviyo", "read an answer", f"its member {name} is missing or not text")
    return value


def count(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _inside(members: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object found along these names; an empty one where the way ends."""
    found: Any = members
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _plain(members: Mapping[str, Any], name: str) -> str:
    return _text_or_none(members.get(name)) or ""


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return None
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
