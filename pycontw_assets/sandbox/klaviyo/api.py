"""The entry point of the simulated Klaviyo: required headers, rate limits, and the endpoints behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.klaviyo import audience_api, campaign_api, report_api, template_api
from pycontw_assets.sandbox.klaviyo.account import MailAccount
from pycontw_assets.sandbox.klaviyo.errors import MEDIA_TYPE, ApiError, Problem
from pycontw_assets.sandbox.klaviyo.flows import events_api
from pycontw_assets.sandbox.klaviyo.limits import Limiter, Throttled, windows_of
from pycontw_assets.sandbox.klaviyo.privacy import privacy_api
from pycontw_assets.sandbox.klaviyo.query import Accepts
from pycontw_assets.sandbox.klaviyo.request import Request, Routes
from pycontw_assets.sandbox.wire import Call, Reply, Router


class KlaviyoApi:
    """The HTTP interface of a ``MailAccount``."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account
        groups: list[tuple[object, Routes]] = [
            (audience_api.AudienceApi(account), audience_api.ROUTES),
            (template_api.TemplateApi(account), template_api.ROUTES),
            (campaign_api.CampaignApi(account), campaign_api.ROUTES),
            (report_api.ReportApi(account), report_api.ROUTES),
            (privacy_api.PrivacyApi(account), privacy_api.ROUTES),
            (events_api.EventsApi(account), events_api.ROUTES),
        ]
        self._endpoints: dict[str, tuple[Callable[..., Reply], object, Accepts]] = {
            f"{method} {path}": (handler, group, accepts)
            for group, routes in groups
            for (method, path), (handler, accepts) in routes.items()
        }
        self._router = Router({key: " ".join(key) for _, routes in groups for key in routes})
        self.reset()

    def reset(self) -> None:
        self._limiter = Limiter()

    def answer(self, call: Call) -> Reply:
        self._account.settle()
        headers: dict[str, str] = {}
        try:
            _check_headers(call)
            route = self._router.find(call)
            if isinstance(route, int):
                raise ApiError(route, Problem("No such address or method.", code="not_found", title="Not found."))
            template, endpoint, identities = route
            headers = self._take_from_limits(call, template)
            handler, group, accepts = self._endpoints[endpoint]
            reply = handler(group, Request(self._account, call, accepts.read(call)), *identities)
        except Throttled as throttled:
            headers = {"Retry-After": str(throttled.retry_after)}
            reply = throttled.reply()
        except ApiError as error:
            reply = error.reply()
        self._account.settle()
        reply.headers.update(headers)
        if revision := self._account.switches.stated_revision:
            reply.headers["revision"] = revision
        return reply

    def _take_from_limits(self, call: Call, template: str) -> dict[str, str]:
        if not self._account.switches.rate_limits:
            return {}
        counts_members = template == "/api/lists/{id}" and "profile_count" in call.query
        windows = windows_of(call.method, template, counts_members=counts_members)
        return self._limiter.take(f"{call.method} {template} {counts_members}", windows, self._account.context.now())


def _check_headers(call: Call) -> None:
    scheme, _, key = call.headers.get("authorization", "").partition(" ")
    if scheme != "Klaviyo-API-Key" or key != keys.KLAVIYO_KEY:
        _refuse(401, "not_authenticated", "Missing or invalid private key.")
    if call.headers.get("revision") != keys.KLAVIYO_REVISION:
        _refuse(400, "invalid_revision", f"Send the header revision: {keys.KLAVIYO_REVISION}.")
    accepted = {part.partition(";")[0].strip() for part in call.headers.get("accept", "*/*").split(",")}
    if not accepted & {MEDIA_TYPE, "application/*", "*/*"}:
        _refuse(406, "not_acceptable", f"Only {MEDIA_TYPE} is available.")
    if call.body and call.headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
        _refuse(415, "unsupported_media_type", f"Send {MEDIA_TYPE}.")


def _refuse(status: int, code: str, detail: str) -> NoReturn:
    raise ApiError(status, Problem(detail, code=code, title=code.replace("_", " ").capitalize()))
