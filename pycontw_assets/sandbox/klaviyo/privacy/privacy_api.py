"""The deletion of profiles. It is accepted at once and happens later, as in the real service."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Literal

from pycontw_assets.sandbox.klaviyo.account import MailAccount, Profile
from pycontw_assets.sandbox.klaviyo.errors import bad_body
from pycontw_assets.sandbox.klaviyo.query import Accepts
from pycontw_assets.sandbox.klaviyo.request import Request, Routes
from pycontw_assets.sandbox.klaviyo.schema import Body, Strict
from pycontw_assets.sandbox.wire import Reply

_PROFILE = "/data/attributes/profile/data"


class _Names(Strict):
    email: str | None = None
    phone_number: str | None = None


class _ProfileQuery(Strict):
    """``attributes`` is required, also beside an id."""

    type: Literal["profile"]
    id: str | None = None
    attributes: _Names


class _DeletionAttributes(Strict):
    profile: Body[_ProfileQuery]


class _Deletion(Strict):
    type: Literal["data-privacy-deletion-job"]
    attributes: _DeletionAttributes


class PrivacyApi:
    """The endpoint that deletes profiles."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account

    def request_deletion(self, request: Request) -> Reply:
        """Accept a deletion. Assumed: also that of a profile which is not there."""
        asked = request.body(Body[_Deletion]).data.attributes.profile.data
        names = (asked.id, asked.attributes.email, asked.attributes.phone_number)
        if sum(name is not None for name in names) != 1:
            raise bad_body("Give exactly one of id, email and phone_number.", _PROFILE)
        for profile in list(self._account.profiles.values()):
            if self._is_asked_for(profile, asked):
                self._account.later(self._account.switches.deletion_delay, partial(self._forget, profile))
        return Reply(202)

    def _forget(self, profile: Profile, _at: datetime) -> None:
        self._account.forget(profile)

    def _is_asked_for(self, profile: Profile, asked: _ProfileQuery) -> bool:
        if asked.id is not None:
            return profile.id == asked.id
        if asked.attributes.email is not None:
            return (profile.email or "").strip().lower() == asked.attributes.email.strip().lower()
        return profile.attributes.get("phone_number") == asked.attributes.phone_number


ROUTES: Routes = {("POST", "/api/data-privacy-deletion-jobs"): (PrivacyApi.request_deletion, Accepts())}
