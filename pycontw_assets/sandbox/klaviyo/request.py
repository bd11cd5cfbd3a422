"""One call to an endpoint: the validated body, and the replies to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pycontw_assets.sandbox.klaviyo import schema
from pycontw_assets.sandbox.klaviyo.account import MailAccount
from pycontw_assets.sandbox.klaviyo.errors import MEDIA_TYPE, bad_body
from pycontw_assets.sandbox.klaviyo.query import Accepts, Query, page
from pycontw_assets.sandbox.klaviyo.views import Views
from pycontw_assets.sandbox.wire import Call, Reply, json_reply

RANGES = ("greater-than", "greater-or-equal", "less-than", "less-or-equal")
_BODY_LIMITS = {"/api/profile-import": 100_000, "/api/profile-bulk-import-jobs": 5_000_000}

# Method and path template -> the answering method of a group, and the query parameters that it accepts.
Routes = Mapping[tuple[str, str], tuple[Callable[..., Reply], Accepts]]


class Request:
    """One call with its parsed query, and the replies to it."""

    def __init__(self, account: MailAccount, call: Call, query: Query) -> None:
        self._call = call
        self.query = query
        self.views = Views(account, call.base_url, query)
        self.here = f"{call.base_url}{call.path.rstrip('/')}/"

    def body(self, model: type[schema.M], identity: str | None = None) -> schema.M:
        """Return the validated body; it must name the same resource as the path."""
        limit = _BODY_LIMITS.get(self._call.path.rstrip("/"))
        if limit is not None and len(self._call.body) > limit:
            raise bad_body("The body is too large.", "/data", 413)
        body = schema.read_body(model, self._call.body)
        if identity is not None and body.data.id != identity:  # type: ignore[attr-defined]
            raise bad_body("The id differs from the one in the path.", "/data/id")
        return body

    def keeps(self, record: object) -> bool:
        return self.query.keeps(lambda subject: getattr(record, subject, None))

    def document(self, payload: dict[str, Any], status: int = 200, included: list[Any] | None = None) -> Reply:
        if included is not None:
            payload["included"] = included
        return json_reply(payload, status, MEDIA_TYPE)

    def single(self, resource: Any, status: int = 200, included: list[Any] | None = None) -> Reply:
        return self.document({"data": resource, "links": {"self": self.here}}, status, included)

    def collection(self, resources: list[Any], links: Any) -> Reply:
        return self.document({"data": resources, "links": links})

    def page_of(
        self,
        items: list[Any],
        view: Callable[[Any], Any],
        *,
        key: Callable[[Any], tuple[Any, str]] | None = None,
        include: Callable[[Any], Any] | None = None,
    ) -> Reply:
        subject = self.query.sort.removeprefix("-") or "created"
        sort_key = key or (lambda item: (getattr(item, subject), item.id))
        shown, links = page(items, query=self.query, call=self._call, key=sort_key)
        included = [include(item) for item in shown] if include else None
        return self.document({"data": [view(item) for item in shown], "links": links}, included=included)


def check_lists(account: MailAccount, identities: list[str], pointer: str) -> None:
    if any(identity not in account.lists for identity in identities):
        raise bad_body("A list of this id does not exist.", pointer)
