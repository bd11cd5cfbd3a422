"""The control API behind the page: its actions, its view of the world, and its access rules."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from http.client import HTTPConnection
from importlib import resources
from typing import Any

import pytest
import requests

from pycontw_assets.commands.sandbox import pipeline_of
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import record_findings
from pycontw_assets.sandbox.faults import PRESETS
from pycontw_assets.sandbox.page.view import MOST_SHOWN, Refusal
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.settings import load_settings

INDIVIDUAL = "PyCon TW 2031 Registration: Individual"
ENTRY = {"name": "", "role": "guest", "affiliation": "Attendee"}


@pytest.fixture
def event(world):
    return world.add_event(INDIVIDUAL)


@pytest.fixture
def control(server, world):
    def act(action, **arguments):
        return requests.post(f"{server.url}/control/{action}", json=arguments, timeout=5)

    return act


def page_view(server: SandboxServer, **ticket_filter: str) -> dict[str, Any]:
    return dict(requests.get(f"{server.url}/control/view", params=ticket_filter, timeout=5).json())


def ticket(server: SandboxServer, number: int) -> dict[str, Any]:
    (shown,) = page_view(server, text=str(number))["tickets"]
    return dict(shown)


# -- actions --------------------------------------------------------------------------------------------------


def test_sell_many_sells_to_different_buyers(control, world, event):
    assert control("sell_many", event_id=event, buyers=1000, paid=False).json() == {"result": 1000}
    tickets = list(world.kktix.tickets.values())
    assert len({ticket.address for ticket in tickets}) == len({ticket.order_no for ticket in tickets}) == 1000
    assert not any(ticket.is_paid for ticket in tickets)


@pytest.mark.parametrize("buyers", [0, -1, 1001, "10"])
def test_sell_many_sells_at_most_1000(control, world, event, buyers):
    assert control("sell_many", event_id=event, buyers=buyers).status_code == 400
    assert world.kktix.tickets == {}


def test_a_transfer_invents_the_new_holder(control, world, event):
    (number,) = world.sell(event)
    before = world.kktix.tickets[number].address
    heir = control("transfer", attendee_id=number).json()["result"]
    assert re.fullmatch(r"[a-z.0-9]+@example\.(org|com|net)", heir)
    assert world.kktix.tickets[number].address == heir != before


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_shown_until_cleared(control, server, world, preset):
    control("add_fault", service="klaviyo", kind="html", times=3)
    assert control("set_faults", service="klaviyo", preset=preset).ok
    assert {service["name"]: service["faults"] for service in page_view(server)["services"]} == {
        "kktix": "fine",
        "gather": "fine",
        "klaviyo": preset,
    }
    control("set_faults", service="klaviyo", preset="fine")
    assert world.faults.active() == []


def test_preset_faults_last(control, kktix):
    control("set_faults", service="kktix", preset="500")
    assert [kktix.get().status_code for _ in range(3)] == [500, 500, 500]
    control("set_faults", service="kktix", preset="429")
    assert (kktix.get().status_code, kktix.get().headers["retry-after"]) == (429, "1")
    control("set_faults", service="kktix", preset="down")
    with pytest.raises(requests.ConnectionError):
        kktix.get()


def test_other_faults_show_as_mixed(control, server):
    control("add_fault", service="gather", kind="status", times=1)
    assert [service["faults"] for service in page_view(server)["services"]] == ["fine", "mixed", "fine"]


# -- the progress of a ticket ---------------------------------------------------------------------------------


def test_a_ticket_progresses_from_payment_to_mail(server, world, event, clock, gather, klaviyo):
    (number,) = world.sell(event, paid=False, address="one@example.org")
    clock.advance(60)
    assert ticket(server, number)["phase"] == "unpaid"
    world.pay(number)
    clock.advance(7)
    shown = ticket(server, number)
    assert (shown["phase"], shown["access"]["state"], shown["mail"]["state"]) == ("waiting", "waiting", "waiting")

    gather.write({"one@example.org": ENTRY})
    clock.advance(5)
    klaviyo.send(klaviyo.a_campaign(klaviyo.a_list("holders", "one@example.org")))
    clock.advance(1)
    shown = ticket(server, number)
    assert (shown["phase"], shown["access"]["seconds"]) == ("done", 7.0)
    assert 12 <= shown["mail"]["seconds"] < 13
    counts = page_view(server)["counts"]
    assert (counts["people"], counts["let_in"], counts["mails"]) == (1, 1, 1)
    assert counts["access_seconds"] == {"median": 7.0, "slowest": 7.0}


def test_a_cancelled_ticket_leaves_the_guest_list(server, world, event, clock, gather):
    (number,) = world.sell(event, address="one@example.org")
    gather.write({"one@example.org": ENTRY})
    world.cancel(number)
    assert ticket(server, number)["phase"] == "leaving"
    assert [guest["is_leaving"] for guest in page_view(server)["guests"]] == [True]
    clock.advance(9)
    gather.write({}, overwrite=True)
    shown = ticket(server, number)
    assert (shown["phase"], shown["access"]["note"], shown["access"]["seconds"]) == ("gone", "taken off", 9.0)


def test_another_ticket_keeps_its_holder_in(server, world, event, gather):
    first, _ = world.sell(event, 2, address="one@example.org")
    gather.write({"one@example.org": ENTRY})
    world.cancel(first)
    assert ticket(server, first)["access"]["note"] == "by another ticket"
    assert [guest["is_leaving"] for guest in page_view(server)["guests"]] == [False]


def test_earlier_access_is_not_measured(server, world, event, clock):
    world.add_guest("one@example.org")
    clock.advance(5)
    (number,) = world.sell(event, address="One@example.org")
    access = ticket(server, number)["access"]
    assert (access["state"], access["note"], access["seconds"]) == ("done", "already had access", None)
    assert page_view(server)["counts"]["guests_by_hand"] == 1


def test_new_access_waits_for_a_new_mail(server, world, event, clock, gather, klaviyo):
    (number,) = world.sell(event, address="one@example.org")
    gather.write({"one@example.org": ENTRY})
    klaviyo.send(klaviyo.a_campaign(klaviyo.a_list("holders", "one@example.org")))
    clock.advance(5)
    assert ticket(server, number)["phase"] == "done"
    world.cancel(number)
    clock.advance(5)
    gather.write({}, overwrite=True)
    world.reinstate(number)
    clock.advance(5)
    gather.write({"one@example.org": ENTRY})
    assert ticket(server, number)["mail"]["state"] == "waiting"


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("PyCon TW 2031 Volunteer Party", "plain", "event left alone"),
        ("PyCon TW 2030 Registration: Individual", "plain", "of another edition"),
        (INDIVIDUAL, "invalid", "no usable address"),
        (INDIVIDUAL, "missing", "no usable address"),
    ],
)
def test_a_ticket_without_access_says_why(server, world, event, name, kind, why):
    (number,) = world.sell(world.add_event(name), kind=kind)
    shown = ticket(server, number)
    assert (shown["phase"], shown["access"]["note"]) == ("left out", why)
    assert page_view(server)["counts"]["people"] == 0


def test_unsubscribed_buyers_get_no_mail(server, world, event, gather):
    (number,) = world.sell(event, address="one@example.org")
    gather.write({"one@example.org": ENTRY})
    world.klaviyo.unsubscribe("one@example.org")
    shown = ticket(server, number)
    assert (shown["phase"], shown["mail"]["note"]) == ("left out", "accepts no mail")


# -- the page view --------------------------------------------------------------------------------------------


def test_the_view_shows_the_latest_and_counts_all(server, world, event, gather):
    sold = [world.sell(event)[0] for _ in range(MOST_SHOWN + 30)]
    gather.write({ticket.address: ENTRY for ticket in world.kktix.tickets.values()})
    shown = page_view(server)
    assert [ticket["id"] for ticket in shown["tickets"]] == sold[: -MOST_SHOWN - 1 : -1]
    assert len(shown["guests"]) == MOST_SHOWN
    assert shown["matching"] == shown["counts"]["tickets"] == shown["counts"]["guests"] == MOST_SHOWN + 30


def test_tickets_are_filtered_by_text_and_phase(server, world, event):
    world.sell(event, 1, address="One@example.org", paid=False)
    world.sell(event, 1, address="two@example.org")
    assert [ticket["address"] for ticket in page_view(server, text=" one@ ")["tickets"]] == ["One@example.org"]
    assert [ticket["address"] for ticket in page_view(server, phase="waiting")["tickets"]] == ["two@example.org"]
    assert page_view(server, phase="waiting", text="one")["matching"] == 0


def test_a_mail_is_shown_without_any_rights(server, world, klaviyo, clock):
    klaviyo.send(klaviyo.a_campaign(klaviyo.a_list("holders", "one@example.org")))
    clock.advance(1)
    (line,) = page_view(server)["mails"]
    mail = requests.get(f"{server.url}/control/mails/{line['id']}", timeout=5).json()
    assert (mail["address"], mail["text"]) == ("one@example.org", world.outbox[0].text)
    page = requests.get(f"{server.url}/control/mails/{line['id']}/html", timeout=5)
    assert page.text == world.outbox[0].html
    assert {"default-src 'none'", "sandbox allow-same-origin"} <= set(
        page.headers["content-security-policy"].split("; ")
    )
    for path in ("1", "1/html"):
        assert requests.get(f"{server.url}/control/mails/{path}", timeout=5).status_code == 404


def test_open_problems_are_shown():
    since = datetime(2031, 6, 1, tzinfo=timezone.utc)
    refusal = Refusal(
        partition_key="2031-individual-90001",
        text="gather_guestlist: 12 revocations are due",
        is_failure=False,
        since=since,
        times=2,
    )
    with SandboxServer(World(), ask_pipeline=lambda: [refusal]) as server:
        (shown,) = page_view(server)["refusals"]
    assert (shown["text"], shown["since"], shown["times"]) == (refusal.text, since.isoformat(), 2)


def test_reading_problems_leaves_no_files(tmp_path):
    settings = load_settings(pycontw_home=tmp_path / "home")
    ask = pipeline_of(settings)
    assert ask() is None
    assert not settings.home.exists()
    settings.home.mkdir()
    ledger = Ledger(f"sqlite:///{settings.home}/ledger.sqlite")
    assert ask() == []
    record_findings(ledger, "2031-individual-90001", "gather_guestlist", {"revocations": "12 revocations are due"})
    ((key, text, is_failure, times),) = [(r.partition_key, r.text, r.is_failure, r.times) for r in ask() or ()]
    assert (key, text, is_failure, times) == (
        "2031-individual-90001",
        "gather_guestlist: 12 revocations are due",
        False,
        1,
    )


def test_without_a_pipeline_no_problems_are_shown(server, world):
    assert page_view(server)["refusals"] is None


# -- access rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_cannot_act(server, world, event, headers):
    reply = requests.post(f"{server.url}/control/end_event", json={"event_id": event}, headers=headers, timeout=5)
    assert reply.status_code == 403
    assert world.kktix.events[event].ended_at is None


def test_the_page_itself_can_act(server, world, event):
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert requests.post(f"{server.url}/control/end_event", json={"event_id": event}, headers=headers, timeout=5).ok


@pytest.mark.parametrize("path", ["/", "/page.js", "/control/view", "/control/state"])
@pytest.mark.parametrize("host", ["rebound.example.org", "rebound.example.org:80", "127.0.0.1.example.org", "[", ""])
def test_a_rebound_domain_name_reads_nothing(server, world, path, host):
    assert answered(server, path, host) == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8031", "localhost", "[::1]:8031"])
def test_all_loopback_names_are_answered(server, world, host):
    assert answered(server, "/control/view", host) == 200


def answered(server: SandboxServer, path: str, host: str) -> int:
    """Return the status for a request with ``host`` in its Host header."""
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_page_loads_only_its_own_files(server, world):
    policy = requests.get(server.url, timeout=5).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_needs_no_network_and_no_inline_code():
    for file in resources.files("pycontw_assets.sandbox").joinpath("page", "static").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?:|//[a-z]+\.[a-z]+|@import|innerHTML|\bon[a-z]+=|style=|<style|eval\(", text), file


@pytest.mark.parametrize("path", ["/nothing", "/..%2fserver.py", "/__init__.py", "/control/nothing"])
def test_only_the_page_is_served(server, world, path):
    assert requests.get(server.url + path, timeout=5).status_code == 404
