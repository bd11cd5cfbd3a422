"""The first sale, the control API behind the page, the server, and the independence of the package."""

from __future__ import annotations

import ast
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

import pycontw_assets.sandbox
from pycontw_assets.sandbox import oracle
from pycontw_assets.sandbox.kktix.people import ADDRESS_KINDS, People
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer, environment
from pycontw_assets.sandbox.world import World

PACKAGE = Path(pycontw_assets.sandbox.__file__).parent


@pytest.fixture
def control(server, world):
    def act(action, **arguments):
        return requests.post(f"{server.url}/control/{action}", json=arguments, timeout=5)

    return act


def state(server):
    return requests.get(f"{server.url}/control/state", timeout=5).json()


# -- the sale -------------------------------------------------------------------------------------------------


def test_the_demo_sale_has_every_odd_case(world):
    events = seed_demo(world, edition="2031", seed=7, attendees=100)
    tickets = [t for t in world.kktix.tickets.values() if t.event_id in events.values()]
    assert set(events) == {"individual", "corporate", "reserved"}
    assert len(tickets) >= 100
    assert 3 <= sum(not ticket.is_paid for ticket in tickets) <= 25
    addresses = [ticket.address for ticket in tickets]
    assert len(addresses) > len(set(addresses))
    by_event = [{t.address for t in tickets if t.event_id == event} for event in events.values()]
    assert by_event[0] & by_event[1]
    assert "" in addresses
    assert any("@" not in address and address for address in addresses)
    assert any("+pycon@" in address for address in addresses)
    assert any(address.isascii() is False for address in addresses)
    assert {frozenset(t.books) for t in tickets if t.event_id == events["individual"]} >= {
        frozenset({41001}),
        frozenset({41002}),
    }
    names = [event.name for event in world.kktix.events.values() if event.event_id not in events.values()]
    assert names == ["PyCon TW 2031 Volunteer Party", "PyCon TW 2030 Registration: Individual"]
    assert len(world.gather.hand_made) == 2


def test_the_same_seed_makes_the_same_sale():
    first, second, other = World(), World(), World()
    for world, seed in ((first, 1), (second, 1), (other, 2)):
        seed_demo(world, seed=seed)

    def sale(world):
        return [(t.address, t.is_paid, t.qrcode) for t in world.kktix.tickets.values()]

    assert sale(first) == sale(second) != sale(other)


def test_all_buyers_are_invented(world):
    seed_demo(world)
    people = People(world.context.random)
    buyers = [ticket.person for ticket in world.kktix.tickets.values()]
    buyers += [people.next(kind) for kind in ADDRESS_KINDS for _ in range(5)]
    for person in buyers:
        address = oracle.normalise(person.address)
        assert "@" not in address or re.search(r"example\.(org|com|net)$", address)
        assert re.fullmatch(r"0900-000-\d{3}", person.phone)


# -- the page and its control API -----------------------------------------------------------------------------


def test_actions_change_the_world(world, server, control):
    event = control("add_event", name="PyCon TW 2031 Registration: Individual", books=2).json()["result"]
    first, second = control("sell", event_id=event, n=2, paid=False).json()["result"]
    control("pay", attendee_id=first)
    control("cancel", attendee_id=second)
    control("transfer", attendee_id=first, address="new@example.org")
    control("add_guest", address="speaker@example.org")
    control("rename_event", event_id=event, name="Renamed")
    control("end_event", event_id=event)
    now = state(server)
    attendees = [(x["is_paid"], x["state"], x["address"] == "new@example.org") for x in now["attendees"]]
    assert attendees == [
        (True, "activated", True),
        (False, "cancelled", False),
    ]
    assert now["guests"] == [
        {"address": "speaker@example.org", "by_hand": True, "entry": world.gather.guests["speaker@example.org"]}
    ]
    assert (now["events"][0]["name"], now["events"][0]["has_ended"], now["events"][0]["usable"]) == ("Renamed", True, 1)


def test_the_outbox_is_shown(world, server, klaviyo, clock):
    klaviyo.send(klaviyo.a_campaign(klaviyo.a_list("holders", "one@example.org")))
    clock.advance(1)
    (mail,) = state(server)["outbox"]
    assert (mail["address"], mail["subject"]) == ("one@example.org", "Your way in")


def test_faults_and_switches_can_be_set(world, server, control, kktix):
    assert control("add_fault", service="kktix", kind="status", status=500, times=2).ok
    assert kktix.get().status_code == 500
    assert state(server)["faults"][0]["times"] == 1
    control("clear_faults")
    assert kktix.get().status_code == 200
    assert control("set_switch", service="gather", name="rejected_addresses", value=["bad@example.org"]).ok
    assert world.gather.switches.rejected_addresses == {"bad@example.org"}
    assert state(server)["switches"]["gather"]["rejected_addresses"] == ["bad@example.org"]


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("pay", {"attendee_id": 1}),
        ("pay", {"attendee_id": "one"}),
        ("sell", {}),
        ("sell", {"event_id": 1, "colour": "red"}),
        ("add_fault", {"service": "kktix", "kind": "gremlins"}),
        ("set_switch", {"service": "gather", "name": "no_such_switch", "value": 1}),
        ("set_switch", {"service": "gather", "name": "reply", "value": "nonsense"}),
    ],
)
def test_a_wrong_action_is_refused_with_a_reason(control, action, arguments):
    reply = control(action, **arguments)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_another_sites_form_cannot_act(server, world):
    reply = requests.post(f"{server.url}/control/reset", data=json.dumps({}), timeout=5)
    assert reply.status_code == 415


def test_a_reset_refills_the_world():
    world = World()
    with SandboxServer(world, reseed=seed_demo) as server:
        assert state(server)["attendees"] == []
        requests.post(f"{server.url}/control/reset", json={}, timeout=5)
        assert len(state(server)["events"]) == 5


# -- the server and the package -------------------------------------------------------------------------------


def test_the_environment_names_all_services(world, server):
    variables = environment(server.url)
    assert variables == server.environment
    assert all(value for value in variables.values())
    headers = {"Authorization": f"bearer {variables['KKTIX_API_TOKEN']}"}
    assert requests.get(variables["KKTIX_API_URL"], headers=headers, timeout=5).ok


def test_concurrent_sales_lose_nothing(world, kktix):
    event = world.add_event("PyCon TW 2031 Registration: Individual")
    book = next(iter(world.kktix.events[event].books))

    def sell_and_read(_):
        numbers = world.sell(event, 3)
        return numbers, kktix.get(f"/{event}/attendance_books/{book}").status_code

    with ThreadPoolExecutor(8) as pool:
        sold = list(pool.map(sell_and_read, range(40)))
    assert len({number for numbers, _ in sold for number in numbers}) == len(world.kktix.tickets) == 120
    assert {status for _, status in sold} == {200}


def test_a_port_is_free_again_after_stopping():
    with SandboxServer(World()) as first:
        port = int(first.url.rpartition(":")[2])
    with SandboxServer(World(), port=port) as second:
        assert requests.get(second.url, timeout=5).ok


def test_the_sandbox_is_independent_of_the_pipeline():
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    internal = {name for name in imported if name.startswith("pycontw_assets")}
    assert {name for name in internal if not name.startswith("pycontw_assets.sandbox")} == set()
    assert not any(name.startswith("dagster") for name in imported)
