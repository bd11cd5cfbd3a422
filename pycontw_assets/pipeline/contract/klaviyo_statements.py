"""Every assumption about Klaviyo's revision 2026-07-15 that an answer can confirm or refute."""

from __future__ import annotations

from collections.abc import Iterator

from pycontw_assets.pipeline.contract import klaviyo_endpoints as known
from pycontw_assets.pipeline.contract.endpoints import Endpoint
from pycontw_assets.pipeline.contract.judge import (
    Statement,
    answers,
    fact,
    kinds,
    length,
    media_type,
    member,
    revision,
    windows,
    words,
)
from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS, REVISION

_JSON_API = "application/vnd.api+json"
_TEXT, _LIST, _OBJECT, _WHOLE, _BOOL, _NULL = "text", "list", "object", "whole number", "true or false", "null"
_ZONED = "time with zone"
_MARKETING = "attributes.subscriptions.email.marketing"


def _document(endpoint: Endpoint, group: str, *, or_nothing: bool = False) -> Iterator[Statement]:
    """Yield what holds of every answer."""
    yield answers(endpoint, or_nothing=or_nothing)
    yield media_type(endpoint, _JSON_API)
    yield revision(endpoint, REVISION)
    yield windows(endpoint, RATE_LIMITS, group)


def _pages(endpoint: Endpoint, group: str, *, most: int, attributes: bool = True) -> Iterator[Statement]:
    """Yield what holds of every page of a collection. ``most``: rows of a page."""
    yield from _document(endpoint, group)
    yield member(endpoint, "data", _LIST)
    yield length(endpoint, "data", most=most, text=f"a page has at most {most} rows")
    yield member(endpoint, "links.next", _TEXT, _NULL, optional=True)
    yield kinds(endpoint, "links.next", "link", text="the link to the next page is a whole one, with its host")
    yield from _resource(endpoint, "data[]", attributes=attributes)


def _single(endpoint: Endpoint, group: str, *, or_nothing: bool = False, or_null: bool = False) -> Iterator[Statement]:
    yield from _document(endpoint, group, or_nothing=or_nothing)
    yield member(endpoint, "data", _OBJECT, *([_NULL] if or_null else []))
    yield from _resource(endpoint, "data")


def _resource(endpoint: Endpoint, path: str, *, attributes: bool = True) -> Iterator[Statement]:
    yield member(endpoint, f"{path}.type", _TEXT)
    yield words(endpoint, f"{path}.type")
    yield member(endpoint, f"{path}.id", _TEXT)
    if attributes:
        yield member(endpoint, f"{path}.attributes", _OBJECT)


def _time(endpoint: Endpoint, path: str) -> Iterator[Statement]:
    yield member(endpoint, path, _TEXT, _NULL)
    yield kinds(endpoint, path, _ZONED)


def _profile(endpoint: Endpoint, path: str) -> Iterator[Statement]:
    """Yield what is read of a profile that was asked for with its subscriptions."""
    marketing = f"{path}.{_MARKETING}"
    yield member(endpoint, f"{path}.attributes.email", _TEXT, _NULL)
    yield member(endpoint, f"{path}.attributes.subscriptions", _OBJECT)
    yield member(endpoint, f"{marketing}.can_receive_email_marketing", _BOOL)
    yield member(endpoint, f"{marketing}.consent", _TEXT)
    yield words(endpoint, f"{marketing}.consent")
    yield member(endpoint, f"{marketing}.suppression", _LIST, optional=True)
    yield words(endpoint, f"{marketing}.suppression[].reason")


def _campaign(endpoint: Endpoint, path: str) -> Iterator[Statement]:
    attributes = f"{path}.attributes"
    yield member(endpoint, f"{attributes}.name", _TEXT)
    yield member(endpoint, f"{attributes}.status", _TEXT)
    yield words(endpoint, f"{attributes}.status")
    yield member(endpoint, f"{attributes}.archived", _BOOL)
    yield member(endpoint, f"{attributes}.audiences.included", _LIST)
    yield member(endpoint, f"{attributes}.send_options.use_smart_sending", _BOOL)
    yield member(endpoint, f"{attributes}.send_strategy.method", _TEXT)
    yield words(endpoint, f"{attributes}.send_strategy.method")
    yield from _time(endpoint, f"{attributes}.created_at")
    yield member(endpoint, f"{path}.relationships.campaign-messages", _OBJECT)


def _template(endpoint: Endpoint, path: str) -> Iterator[Statement]:
    yield member(endpoint, f"{path}.attributes.name", _TEXT)
    yield member(endpoint, f"{path}.attributes.html", _TEXT, _NULL)
    yield member(endpoint, f"{path}.attributes.text", _TEXT, _NULL, optional=True)


def _job(endpoint: Endpoint) -> Iterator[Statement]:
    yield from _single(endpoint, "campaigns", or_nothing=True)
    yield member(endpoint, "data.attributes.status", _TEXT)
    yield words(endpoint, "data.attributes.status")


def _audience() -> Iterator[Statement]:
    yield from _pages(known.ACCOUNT, "account", most=1)
    yield member(known.ACCOUNT, "data[].attributes.test_account", _BOOL)
    for endpoint in (known.LISTS, known.LISTS_BY_NAME):
        yield from _pages(endpoint, "lists", most=10)
        yield member(endpoint, "data[].attributes.name", _TEXT)
        yield from _time(endpoint, "data[].attributes.created")
    yield fact(known.LISTS, "lists on two pages", "no list is on two pages", of="pages of lists")
    yield from _pages(known.MEMBER_IDS, "lists", most=100, attributes=False)
    yield from _pages(known.MEMBERS, "lists", most=20)
    yield from _profile(known.MEMBERS, "data[]")
    yield from _pages(known.PROFILES, "profiles", most=1)
    yield from _pages(known.ADDRESSES, "profiles", most=1)
    yield from _profile(known.ADDRESSES, "data[]")


def _campaigns() -> Iterator[Statement]:
    yield from _pages(known.TEMPLATES, "templates", most=10)
    yield from _template(known.TEMPLATES, "data[]")
    yield from _single(known.TEMPLATE, "templates")
    yield from _template(known.TEMPLATE, "data")
    for endpoint in (known.CAMPAIGNS, known.ARCHIVED):
        yield from _pages(endpoint, "campaigns", most=100)
        yield from _campaign(endpoint, "data[]")
    yield from _single(known.CAMPAIGN, "campaigns")
    yield from _campaign(known.CAMPAIGN, "data")
    yield from _pages(known.MESSAGES, "campaigns", most=100)
    yield from _single(known.COPY, "campaigns", or_null=True)
    yield from _template(known.COPY, "data")
    yield from _job(known.SEND_JOB)
    yield from _job(known.ESTIMATE_JOB)
    yield from _single(known.ESTIMATE, "campaigns", or_nothing=True)
    yield member(known.ESTIMATE, "data.attributes.estimated_recipient_count", _WHOLE)
    other = "answers under another id than asked for"
    yield fact(
        known.SEND_JOB, other, "campaigns, their jobs and templates answer under the id asked for", of="asked by id"
    )


def _measuring() -> Iterator[Statement]:
    for endpoint in (known.METRICS, known.FLOWS):
        yield from _pages(endpoint, "metrics", most=1000)
        yield member(endpoint, "data[].attributes.name", _TEXT)
    yield member(known.FLOWS, "data[].relationships.flow-triggers.data", _LIST)
    yield member(known.FLOWS, "included[].attributes.status", _TEXT)
    yield words(known.FLOWS, "included[].attributes.status")
    yield member(known.FLOWS, "included[].attributes.archived", _BOOL)
    for endpoint in (known.EVENTS_OF_METRIC, known.EVENTS_OF_PROFILE):
        yield from _pages(endpoint, "events", most=20)
        yield from _time(endpoint, "data[].attributes.datetime")
        yield member(endpoint, "data[].attributes.event_properties", _OBJECT)
        yield member(endpoint, "data[].relationships.profile.data.id", _TEXT)
        yield member(endpoint, "data[].relationships.metric.data.id", _TEXT)
    yield member(known.EVENTS_OF_METRIC, "included[].attributes.email", _TEXT, _NULL)
    yield from _document(known.REPORT, "reports")
    yield member(known.REPORT, "data.attributes.results", _LIST)
    yield member(known.REPORT, "data.attributes.results[].groupings.campaign_id", _TEXT)
    yield member(known.REPORT, "data.attributes.results[].statistics.recipients", _WHOLE, "number with fraction")
    yield from _single(known.IMPORT_JOB, "imports")
    yield words(known.IMPORT_JOB, "data.attributes.status")
    yield from _pages(known.IMPORT_ERRORS, "imports", most=100)


OF_KLAVIYO: tuple[Statement, ...] = (*_audience(), *_campaigns(), *_measuring())
