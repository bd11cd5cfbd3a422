"""The simulated KKTIX sends notifications as its vendor documents them: in batches, late, again when they failed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pycontw_assets.sandbox.world import World


class Hook(HTTPServer):
    """Takes deliveries. ``status`` is what it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.bodies: list[Any] = []
        self.secrets: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/kktix"

    def kinds(self) -> list[list[str]]:
        return [[part["type"] for part in body["notifications"]] for body in self.bodies]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hook = self.server
        assert isinstance(hook, Hook)
        hook.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        hook.secrets.append(self.headers["x-kktix-secret"])
        self.send_response(hook.status)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()


@pytest.fixture
def world(hook: Hook) -> World:
    world = World()
    world.kktix.webhook.set_up(hook.url, "secret", after_seconds=None)
    return world


def test_paid_and_cancelled_orders_are_one_batch_and_unpaid_ones_none(world: World, hook: Hook) -> None:
    event = world.add_event("PyCon TW 2031 Registration: Individual")
    [unpaid], [ticket, _] = world.sell(event, paid=False), world.sell(event, 2)
    world.cancel(ticket)
    assert world.kktix.webhook.deliver() == [200]
    world.pay(unpaid)
    assert world.kktix.webhook.deliver() == [200]
    assert world.kktix.webhook.deliver() == []
    assert hook.kinds() == [["order_activated_paid", "order_cancelled"], ["order_activated_paid"]]
    first, second = hook.bodies[0]["notifications"]
    assert first["event"] == {"name": "PyCon TW 2031 Registration: Individual", "slug": f"event-{event}"}
    assert "contact" in first
    assert "contact" not in second, "as in the real service"
    assert hook.secrets == ["secret"] * 2


def test_a_failed_batch_is_sent_at_most_four_times(world: World, hook: Hook) -> None:
    world.sell(world.add_event("PyCon TW 2031 Registration: Individual"))
    hook.status = 500
    assert [world.kktix.webhook.deliver() for _ in range(5)] == [[500]] * 4 + [[]]


def test_a_test_delivery_names_no_real_event(world: World, hook: Hook) -> None:
    assert world.kktix.webhook.send_test() == 200
    assert hook.bodies[0]["notifications"][0]["event"] == {"name": "Event Name", "slug": "event-slug"}


def test_notifications_go_to_this_machine_only(world: World) -> None:
    with pytest.raises(ValueError, match="on this machine"):
        world.kktix.webhook.set_up("https://example.org/kktix", "secret")


def test_without_a_hook_nothing_is_sent() -> None:
    world = World()
    world.sell(world.add_event("PyCon TW 2031 Registration: Individual"))
    assert world.kktix.webhook.deliver() == []
