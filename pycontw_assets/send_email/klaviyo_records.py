"""Klaviyo's answers as frozen records, and how each is read from its JSON:API resource. No calls are made here.

Unknown members are ignored. ``null`` occurs where Klaviyo's reference says string. Every ``repr`` hides addresses.
What is kept and shown to people (a campaign's status, why a person is not mailed) is a word of a closed list: a text of
the service could quote an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timezone
from typing import Any

from pycontw_assets.api.bounds import LARGEST_INTEGER, LONGEST_NAME, has_half_character, plain_text
from pycontw_assets.api.client import Malformed

_MOST_REASONS = 5
_LONGEST_ADDRESS = 1000  # characters

SENT_STATUSES = ("Sent", "Variations Sent")
"""The statuses of a campaign whose mails have left."""

_OTHER_SHAPE = (
    "a campaign without a status, so its revision is not the one asked for. Nothing is sent or marked before it "
    "answers in that one again, or a developer has moved the client up"
)


class ChangedShape(Malformed):
    """Klaviyo speaks another revision of its interface than this program. It concerns all campaigns, not one."""


UNMAILED_ENDS = ("Cancelled: Misconfigured", "Cancelled: No Recipients", "Cancelled: Smart Sending")
"""The ends of a campaign that come before its first mail. Any other may have come in the middle."""


STATUSES = frozenset(
    {
        *SENT_STATUSES,
        *UNMAILED_ENDS,
        "Draft",
        "Preparing to schedule",
        "Scheduled",
        "Preparing to send",
        "Adding Recipients",
        "Queued without Recipients",
        "Sending",
        "Sending Segments",
        "Cancelled",
        "Cancelled: Account Disabled",
        "Cancelled: Billing Limit",
        "Cancelled: Internal Error",
        "Unknown",
    }
)
CONSENTS = frozenset({"SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"})
SUPPRESSIONS = frozenset(
    {"HARD_BOUNCE", "INVALID_EMAIL", "SPAM_COMPLAINT", "UNSUBSCRIBE", "UNSUBSCRIBED", "USER_SUPPRESSED"}
)
_ANOTHER = "another reason"


@dataclass(frozen=True, slots=True)
class MailingList:
    list_id: str
    name: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One recipient.

    ``consent`` is the person's marketing consent as Klaviyo knows it. It and ``can_receive_email`` are ``None``, and
    ``properties`` is empty, where the answer does not say.
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
        """Why a campaign leaves this person out without a word; ``None``: it does not, or Klaviyo does not say."""
        if self.can_receive_email is not False:
            return None
        return "; ".join(self.suppressions) or self.consent or "suppressed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJob:
    """A bulk import. ``status`` goes from queued over processing to complete or cancelled. The others are profiles."""

    job_id: str
    status: str
    total: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A profile that a bulk import refused. ``email`` is ``None`` where the job does not say which it was."""

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
    """A campaign. ``uses_smart_sending`` skips recipients for good; ``None`` means Klaviyo's default, which is true."""

    campaign_id: str
    name: str
    status: str
    created_at: datetime | None
    message_id: str | None
    included_lists: tuple[str, ...]
    excluded_lists: tuple[str, ...]
    uses_smart_sending: bool | None
    send_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProfileEvent:
    """An event that Klaviyo recorded about a person. ``texts``: those of its values that are texts."""

    metric_id: str | None
    texts: frozenset[str] = field(repr=False)


def mailing_list(resource: Mapping[str, Any]) -> MailingList:
    fields = attributes(resource)
    return MailingList(text(resource, "id"), _plain(fields, "name"), moment(fields.get("created")))


def profile(resource: Mapping[str, Any]) -> Profile:
    fields = attributes(resource)
    marketing = inside(fields, "subscriptions", "email", "marketing")
    can_receive, consent = marketing.get("can_receive_email_marketing"), _text_or_none(marketing.get("consent"))
    reasons = [reason for row in _rows(marketing.get("suppression")) if (reason := _text_or_none(row.get("reason")))]
    known = (reason if reason in SUPPRESSIONS else _ANOTHER for reason in reasons)
    return Profile(
        profile_id=text(resource, "id"),
        email=_address(fields.get("email")),
        can_receive_email=can_receive if isinstance(can_receive, bool) else None,
        consent=consent if consent in CONSENTS else None,
        suppressions=tuple(dict.fromkeys(known))[:_MOST_REASONS],
        properties=inside(fields, "properties"),
    )


def import_job(resource: Mapping[str, Any]) -> ImportJob:
    fields = attributes(resource)
    return ImportJob(
        job_id=text(resource, "id"),
        status=text(fields, "status"),
        total=count(fields, "total_count") or 0,
        completed=count(fields, "completed_count") or 0,
        failed=count(fields, "failed_count") or 0,
    )


def import_problem(resource: Mapping[str, Any]) -> ImportProblem:
    """Read a refusal. Its ``original_payload`` has no documented shape: bare, or as the resource that was sent."""
    fields = attributes(resource)
    payload = inside(fields, "original_payload")
    nested = (payload, inside(payload, "attributes"), inside(payload, "data", "attributes"))
    emails = [level["email"] for level in nested if isinstance(level.get("email"), str)]
    pointer = _text_or_none(inside(fields, "source").get("pointer"))
    return ImportProblem(_plain(fields, "code") or "unknown", pointer, _address(emails[0]) if emails else None)


def template(resource: Mapping[str, Any]) -> Template:
    fields = attributes(resource)
    return Template(
        template_id=text(resource, "id"),
        name=_plain(fields, "name"),
        html=_text_or_none(fields.get("html")) or "",
        text=_text_or_none(fields.get("text")) or "",
    )


def campaign(resource: Mapping[str, Any]) -> Campaign:
    """Read a campaign. Its message is named under ``relationships``, or under ``attributes`` as it was sent.

    Later revisions know no status. Without this check, a campaign of theirs could pass for one that was sent.
    """
    fields = attributes(resource)
    status = _text_or_none(fields.get("status"))
    if not status:
        raise ChangedShape("Klaviyo", "read campaign", _OTHER_SHAPE)
    audiences = inside(fields, "audiences")
    messages = _rows(inside(resource, "relationships", "campaign-messages").get("data"))
    messages += _rows(inside(fields, "campaign-messages").get("data"))
    ids = [row["id"] for row in messages if _is_short_text(row.get("id"))]
    smart_sending = inside(fields, "send_options").get("use_smart_sending")
    return Campaign(
        campaign_id=text(resource, "id"),
        name=_plain(fields, "name"),
        status=_known_status(status),
        created_at=moment(fields.get("created_at")),
        message_id=ids[0] if ids else None,
        included_lists=_texts(audiences.get("included")),
        excluded_lists=_texts(audiences.get("excluded")),
        uses_smart_sending=smart_sending if isinstance(smart_sending, bool) else None,
        send_at=moment(inside(fields, "send_strategy").get("datetime")),
    )


def _known_status(status: str) -> str:
    """Return a status of the list, or what another one comes to: stopped, or not known to have ended."""
    if status in STATUSES:
        return status
    return f"Cancelled: {_ANOTHER}" if status.startswith("Cancelled") else "Unknown"


def profile_event(resource: Mapping[str, Any]) -> ProfileEvent:
    """Read an event. The names of its properties are not documented, so their values have to do."""
    values = inside(attributes(resource), "event_properties").values()
    metric_id = inside(resource, "relationships", "metric", "data").get("id")
    return ProfileEvent(_text_or_none(metric_id), frozenset(value for value in values if isinstance(value, str)))


def recipients(document: Any) -> dict[str, int]:
    """Return campaign id -> recipients of a values report. A campaign may have several rows."""
    rows = inside(document if isinstance(document, dict) else {}, "data", "attributes").get("results")
    if not isinstance(rows, list):
        raise Malformed("Klaviyo", "read a report", "its results are missing")
    counts: dict[str, int] = {}
    for row in _rows(rows):
        campaign_id = text(inside(row, "groupings"), "campaign_id")
        number = inside(row, "statistics").get("recipients")
        if not isinstance(number, int | float) or number != int(number):
            raise Malformed("Klaviyo", "read a report", "a number of recipients is missing")
        counts[campaign_id] = counts.get(campaign_id, 0) + int(number)
    return counts


def attributes(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return inside(resource, "attributes")


def text(members: Mapping[str, Any], name: str) -> str:
    """Return a member that must be a short text, such as an id. Raise ``Malformed`` otherwise."""
    value = members.get(name)
    if not _is_short_text(value):
        raise Malformed("Klaviyo", "read an answer", f"its member {name} is missing or not a short text")
    return str(value)


def _is_short_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def count(members: Mapping[str, Any], name: str) -> int | None:
    """Return a member that is a whole number; ``None`` otherwise."""
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST_INTEGER:
        return None
    return value


def inside(members: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return the object under nested names; an empty one where a name is missing."""
    value: Any = members
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(plain_text(item) for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _plain(members: Mapping[str, Any], name: str) -> str:
    return plain_text(_text_or_none(members.get(name)) or "")


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def moment(value: Any) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return parsed.astimezone(timezone.utc) if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)
    except (AttributeError, ValueError, OverflowError):
        return None


def _address(value: Any) -> str | None:
    is_address = isinstance(value, str) and len(value) <= _LONGEST_ADDRESS and not has_half_character(value)
    return value if is_address else None
