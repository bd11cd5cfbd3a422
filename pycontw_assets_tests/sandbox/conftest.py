"""One sandbox server for all tests of this folder. Every test starts with an empty world and a stopped clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.context import ManualClock
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World

JSON_API = "application/vnd.api+json"


class Kktix:
    def __init__(self, url: str) -> None:
        self.prefix = f"{url}/kktix/api/v2/hosting_events"

    def get(self, path: str = "", token: str = keys.KKTIX_TOKEN) -> requests.Response:
        headers = {"Authorization": f"bearer {token}"}
        return requests.get(self.prefix + path, headers=headers, timeout=5, allow_redirects=False)


class Gather:
    def __init__(self, url: str) -> None:
        self.url = f"{url}/gather/api"

    def read(self, key: str = keys.GATHER_KEY, space: str = "SandboxSpace0001%5CPy%20Venue") -> requests.Response:
        return requests.get(f"{self.url}/getEmailGuestlist?apiKey={key}&spaceId={space}", timeout=5)

    def write(self, guests: Any, **more: Any) -> requests.Response:
        body = {"apiKey": keys.GATHER_KEY, "spaceId": keys.GATHER_SPACE_ID, "guestlist": guests, **more}
        return requests.post(f"{self.url}/setEmailGuestlist", json=body, timeout=5)


class Klaviyo:
    def __init__(self, url: str) -> None:
        self.url = f"{url}/klaviyo/api"
        self.session = requests.Session()
        self.session.headers.update(
            {
                "Authorization": f"Klaviyo-API-Key {keys.KLAVIYO_KEY}",
                "revision": keys.KLAVIYO_REVISION,
                "Accept": JSON_API,
            }
        )

    def call(self, method: str, path: str, data: Any = None, headers: Any = None, **params: str) -> requests.Response:
        query = {name.replace("__", "[") + "]" if "__" in name else name: value for name, value in params.items()}
        body = None if data is None else json.dumps({"data": data})
        content_type = {"Content-Type": JSON_API} if body else {}
        return self.session.request(
            method, self.url + path, params=query, data=body, headers=content_type | (headers or {}), timeout=5
        )

    def get(self, path: str, **params: str) -> requests.Response:
        return self.call("GET", path, **params)

    def good(self, method: str, path: str, data: Any = None, **params: str) -> Any:
        """Return the ``data`` of a call that must succeed."""
        reply = self.call(method, path, data, **params)
        assert reply.ok, (reply.status_code, reply.text)
        return reply.json()["data"] if reply.content else None

    # -- the steps of an invitation -------------------------------------------------------------------

    def a_list(self, name: str = "holders", *addresses: str) -> str:
        list_id = self.good("POST", "/lists", {"type": "list", "attributes": {"name": name}})["id"]
        if addresses:
            self.add(list_id, *[self.a_profile(address) for address in addresses])
        return str(list_id)

    def a_profile(self, address: str) -> str:
        return str(self.good("POST", "/profile-import", {"type": "profile", "attributes": {"email": address}})["id"])

    def add(self, list_id: str, *profiles: str) -> None:
        members = [{"type": "profile", "id": identity} for identity in profiles]
        self.good("POST", f"/lists/{list_id}/relationships/profiles", members)

    def a_template(self, name: str = "invitation-v1", text: str = "Enter: https://example.org/venue") -> str:
        attributes = {"name": name, "editor_type": "CODE", "html": f"<p>{text}</p>", "text": text}
        return str(self.good("POST", "/templates", {"type": "template", "attributes": attributes})["id"])

    def campaign_body(self, list_id: str, name: str = "invite-1", **more: Any) -> dict[str, Any]:
        content = {"subject": "Your way in", "from_email": "hello@example.org"}
        message = {"definition": {"channel": "email", "label": "invitation", "content": content}}
        attributes = {
            "name": name,
            "audiences": {"included": [list_id]},
            "send_options": {"use_smart_sending": False},
            "campaign-messages": {"data": [{"type": "campaign-message", "attributes": message}]},
        }
        return {"type": "campaign", "attributes": attributes | more}

    def a_campaign(self, list_id: str, name: str = "invite-1", **more: Any) -> str:
        """Create a draft with a template, ready to be sent."""
        campaign = self.good("POST", "/campaigns", self.campaign_body(list_id, name, **more))
        self.assign(campaign, self.a_template())
        return str(campaign["id"])

    def assign(self, campaign: Any, template_id: str) -> Any:
        message = campaign["relationships"]["campaign-messages"]["data"][0]
        relation = {"template": {"data": {"type": "template", "id": template_id}}}
        return self.good("POST", "/campaign-message-assign-template", {**message, "relationships": relation})

    def send(self, campaign_id: str) -> requests.Response:
        return self.call("POST", "/campaign-send-jobs", {"type": "campaign-send-job", "id": campaign_id})

    def status(self, campaign_id: str) -> str:
        return str(self.good("GET", f"/campaigns/{campaign_id}")["attributes"]["status"])


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(World()) as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(server: SandboxServer, clock: ManualClock) -> World:
    server.world.reset(clock)
    server.world.klaviyo.switches.rate_limits = False
    return server.world


@pytest.fixture
def kktix(server: SandboxServer, world: World) -> Kktix:
    return Kktix(server.url)


@pytest.fixture
def gather(server: SandboxServer, world: World) -> Gather:
    return Gather(server.url)


@pytest.fixture
def klaviyo(server: SandboxServer, world: World) -> Klaviyo:
    return Klaviyo(server.url)
