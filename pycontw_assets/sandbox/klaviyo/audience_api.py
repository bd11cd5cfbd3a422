"""Lists, their members, profiles, bulk imports and subscriptions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pycontw_assets.sandbox.klaviyo import schema
from pycontw_assets.sandbox.klaviyo.account import MailAccount, MailList, Profile
from pycontw_assets.sandbox.klaviyo.errors import ApiError, Problem, bad_body, not_found
from pycontw_assets.sandbox.klaviyo.query import Accepts, Query
from pycontw_assets.sandbox.klaviyo.request import RANGES, Request, Routes, check_lists
from pycontw_assets.sandbox.wire import Reply

_MOST_SUBSCRIPTIONS = 1000
_MOST_IMPORTED = 10_000
_MEMBER_FILTERS = {"email": ("any", "equals"), "joined_group_at": RANGES}
_PROFILE_EXTRAS = {"profile": ("subscriptions", "predictive_analytics")}


class AudienceApi:
    """Endpoints about lists and profiles."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account
        self._context = account.context

    def get_lists(self, request: Request) -> Reply:
        delay = self._account.switches.list_delay if request.query.filters_on("name") else 0
        lists = [
            mail_list
            for mail_list in self._account.lists.values()
            if self._account.shows(mail_list.created, delay) and request.keeps(mail_list)
        ]
        return request.page_of(lists, request.views.mail_list)

    def create_list(self, request: Request) -> Reply:
        attributes = request.body(schema.Body[schema.ListCreate]).data.attributes
        mail_list = self._account.create_list(attributes.name, attributes.opt_in_process or "double_opt_in")
        return request.single(request.views.mail_list(mail_list), 201)

    def get_list(self, request: Request, identity: str) -> Reply:
        mail_list = self._list(identity)
        count = len(self._account.visible_members(mail_list, self._context.now()))
        wants_count = "profile_count" in request.query.additional
        return request.single(request.views.mail_list(mail_list, profile_count=count if wants_count else None))

    def delete_list(self, request: Request, identity: str) -> Reply:
        del self._account.lists[self._list(identity).id]
        return Reply(204)

    def get_list_profiles(self, request: Request, identity: str) -> Reply:
        joined = self._members(request, identity)
        profiles = [self._account.profiles[profile_id] for profile_id in joined]
        return request.page_of(
            profiles,
            lambda profile: request.views.profile(profile, joined_at=joined[profile.id]),
            key=lambda profile: (joined[profile.id], profile.id),
        )

    def get_list_profile_ids(self, request: Request, identity: str) -> Reply:
        joined = self._members(request, identity)
        return request.page_of(
            list(joined),
            lambda profile_id: {"type": "profile", "id": profile_id},
            key=lambda profile_id: (joined[profile_id], profile_id),
        )

    def _members(self, request: Request, identity: str) -> dict[str, datetime]:
        """Return the visible members of the list, with the time of joining."""
        members = self._account.visible_members(self._list(identity), self._context.now())
        if not request.query.conditions:
            return {profile_id: member.joined_at for profile_id, member in members.items()}

        def keeps(profile_id: str) -> bool:
            facts = {
                "email": self._account.profiles[profile_id].email,
                "joined_group_at": members[profile_id].joined_at,
            }
            return request.query.keeps(facts.get)

        return {profile_id: member.joined_at for profile_id, member in members.items() if keeps(profile_id)}

    def add_members(self, request: Request, identity: str) -> Reply:
        mail_list = self._list(identity)
        members = request.body(schema.Members).data
        unknown = [position for position, member in enumerate(members) if member.id not in self._account.profiles]
        if unknown:
            raise ApiError(404, *(Problem("No such profile.", pointer=f"/data/{n}/id") for n in unknown))
        self._account.add_members(mail_list, [member.id for member in members])
        return Reply(204)

    def remove_members(self, request: Request, identity: str) -> Reply:
        mail_list = self._list(identity)
        self._account.remove_members(mail_list, [member.id for member in request.body(schema.Members).data])
        return Reply(204)

    def _list(self, identity: str) -> MailList:
        if (mail_list := self._account.lists.get(identity)) is None:
            raise not_found("list", identity)
        return mail_list

    def get_profiles(self, request: Request) -> Reply:
        delay = self._account.switches.profile_delay if request.query.filters_on("email") else 0

        def facts(profile: Profile, subject: str) -> Any:
            members = {"id": profile.id, "email": profile.email, "created": profile.created, "updated": profile.updated}
            return members.get(subject, profile.attributes.get(subject))

        profiles = [
            profile
            for profile in self._named_by(request.query)
            if self._account.shows(profile.created, delay)
            and request.query.keeps(lambda subject, profile=profile: facts(profile, subject))  # type: ignore[misc]
        ]
        subject = request.query.sort.removeprefix("-") or "created"
        return request.page_of(
            profiles, request.views.profile, key=lambda profile: (facts(profile, subject) or "", profile.id)
        )

    def _named_by(self, query: Query) -> Iterable[Profile]:
        """Return the profiles that a filter may keep: those of the addresses or ids in it, otherwise all."""
        account = self._account
        for condition in query.conditions:
            if condition.field in ("email", "id") and condition.operator in ("any", "equals"):
                texts = condition.value if condition.operator == "any" else [condition.value]
                find = account.find_profile if condition.field == "email" else account.profiles.get
                return {profile.id: profile for text in texts if (profile := find(text))}.values()
        return account.profiles.values()

    def upsert_profile(self, request: Request) -> Reply:
        data = request.body(schema.Body[schema.ProfileUpsert]).data
        attributes, properties = checked_profile(self._account, data.attributes, identity=data.id, pointer="/data")
        profile, is_new = self._account.upsert_profile(attributes, properties, data.id)
        return request.single(request.views.profile(profile, of_upsert=True), 201 if is_new else 200)

    def create_import(self, request: Request) -> Reply:
        data = request.body(schema.Body[schema.ImportCreate]).data
        rows = data.attributes.profiles.data
        if not 1 <= len(rows) <= _MOST_IMPORTED:
            raise bad_body("Between 1 and 10,000 profiles per job.", "/data/attributes/profiles/data")
        lists = data.relationships.lists.data if data.relationships and data.relationships.lists else []
        list_ids = [mail_list.id for mail_list in lists]
        check_lists(self._account, list_ids, "/data/relationships/lists/data")
        job = self._account.start_import([split_profile(row.attributes) for row in rows], list_ids)
        return request.single(request.views.import_job(job), 202)

    def get_import(self, request: Request, identity: str) -> Reply:
        if (job := self._account.imports.get(identity)) is None:
            raise not_found("profile-bulk-import-job", identity)
        return request.single(request.views.import_job(job))

    def get_import_errors(self, request: Request, identity: str) -> Reply:
        if (job := self._account.imports.get(identity)) is None:
            raise not_found("profile-bulk-import-job", identity)
        return request.page_of(
            list(range(len(job.errors))),
            lambda position: request.views.import_error(job, position),
            key=lambda position: (f"{position:06d}", ""),
        )

    def subscribe_profiles(self, request: Request) -> Reply:
        """Set consent, and remove all suppressions."""
        data = request.body(schema.Body[schema.SubscriptionCreate]).data
        people = data.attributes.profiles.data
        if len(people) > _MOST_SUBSCRIPTIONS:
            raise bad_body("At most 1000 profiles per job.", "/data/attributes/profiles/data")
        list_ids = [data.relationships.list.data.id] if data.relationships and data.relationships.list else []
        check_lists(self._account, list_ids, "/data/relationships/list/data")
        profiles = [self._account.upsert_profile({"email": person.attributes.email}, {})[0] for person in people]
        for profile in profiles:
            profile.consent, profile.consent_at = "SUBSCRIBED", self._context.now()
            profile.suppressions.clear()
        for list_id in list_ids:
            self._account.add_members(self._account.lists[list_id], [profile.id for profile in profiles])
        return Reply(202)


def checked_profile(
    account: MailAccount, attributes: schema.ProfileAttributes, *, identity: str | None, pointer: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return attributes and properties of a profile that may be stored, or raise a 400 or 404."""
    if attributes.email is not None and not account.accepts(attributes.email):
        raise bad_body("Invalid email address", f"{pointer}/attributes/email")
    if identity is not None and identity not in account.profiles:
        raise not_found("profile", identity)
    if not (attributes.email or attributes.phone_number or attributes.external_id or identity):
        raise bad_body("One of email, phone_number, external_id or id is required.", f"{pointer}/attributes")
    return split_profile(attributes)


def split_profile(profile: schema.ProfileAttributes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the standard attributes in the body, null included, and the custom properties."""
    attributes = profile.model_dump(exclude_unset=True)
    return attributes, attributes.pop("properties", None) or {}


ROUTES: Routes = {
    ("GET", "/api/lists"): (
        AudienceApi.get_lists,
        Accepts(
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
    ),
    ("POST", "/api/lists"): (AudienceApi.create_list, Accepts(fields=("list",))),
    ("GET", "/api/lists/{id}"): (
        AudienceApi.get_list,
        Accepts(fields=("list",), additional={"list": ("profile_count",)}),
    ),
    ("DELETE", "/api/lists/{id}"): (AudienceApi.delete_list, Accepts()),
    ("GET", "/api/lists/{id}/profiles"): (
        AudienceApi.get_list_profiles,
        Accepts(
            fields=("profile",),
            additional=_PROFILE_EXTRAS,
            filters=_MEMBER_FILTERS,
            sorts=("joined_group_at",),
            page_maximum=100,
            page_default=20,
        ),
    ),
    ("GET", "/api/lists/{id}/relationships/profiles"): (
        AudienceApi.get_list_profile_ids,
        Accepts(filters=_MEMBER_FILTERS, sorts=("joined_group_at",), page_maximum=100, page_default=20),
    ),
    ("POST", "/api/lists/{id}/relationships/profiles"): (AudienceApi.add_members, Accepts()),
    ("DELETE", "/api/lists/{id}/relationships/profiles"): (AudienceApi.remove_members, Accepts()),
    ("GET", "/api/profiles"): (
        AudienceApi.get_profiles,
        Accepts(
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
    ),
    ("POST", "/api/profile-import"): (
        AudienceApi.upsert_profile,
        Accepts(fields=("profile",), additional=_PROFILE_EXTRAS),
    ),
    ("POST", "/api/profile-bulk-import-jobs"): (
        AudienceApi.create_import,
        Accepts(fields=("profile-bulk-import-job",)),
    ),
    ("GET", "/api/profile-bulk-import-jobs/{id}"): (
        AudienceApi.get_import,
        Accepts(fields=("profile-bulk-import-job",)),
    ),
    ("GET", "/api/profile-bulk-import-jobs/{id}/import-errors"): (
        AudienceApi.get_import_errors,
        Accepts(fields=("import-error",), page_maximum=100, page_default=20),
    ),
    ("POST", "/api/profile-subscription-bulk-create-jobs"): (AudienceApi.subscribe_profiles, Accepts()),
}
