"""What the box office page stands on: its orders, what it is shown, and who may ask."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from http.client import HTTPConnection
from importlib import resources
from typing import Any

import pytest
import requests

from pycontw_assets.commands.local import pipeline_of
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.problems import record_findings
from pycontw_assets.sandbox.page.view import MOST_SHOWN, Refusal
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.weather import WEATHERS
from pycontw_assets.sandbox.world import World
from pycontw_assets.settings import load_settings

INDIVIDUAL = "PyCon TW 2031 Registration: Individual"
ENTRY = {"name": "", "role": "guest", "affiliation": "Attendee"}


@pytest.fixture
def event(world):
    return world.add_event(INDIVIDUAL)


@pytest.fixture
def control(server, world):
    def press(action, **arguments):
        return requests.post(f"{server.url}/control/{action}", json=arguments, timeout=5)

    return press


def desk(server: SandboxServer, **wish: str) -> dict[str, Any]:
    return dict(requests.get(f"{server.url}/control/desk", params=wish, timeout=5).json())


def ticket(server: SandboxServer, number: int) -> dict[str, Any]:
    (found,) = desk(server, text=str(number))["tickets"]
    return dict(found)


# -- orders ---------------------------------------------------------------------------------------------------


def test_many_tickets_are_sold_to_as_many_buyers(control, world, event):
    assert control("sell_many", event_id=event, buyers=1000, paid=False).json() == {"result": 1000}
    tickets = list(world.kktix.tickets.values())
    assert len({ticket.address for ticket in tickets}) == len({ticket.order_no for ticket in tickets}) == 1000
    assert not any(ticket.is_paid for ticket in tickets)


@pytest.mark.parametrize("buyers", [0, -1, 1001, "10"])
def test_no_more_than_a_thousand_are_sold_at_once(control, world, event, buyers):
    assert control("sell_many", event_id=event, buyers=buyers).status_code == 400
    assert world.kktix.tickets == {}


def test_a_ticket_passes_to_somebody_invented(control, world, event):
    (number,) = world.sell(event)
    before = world.kktix.tickets[number].address
    heir = control("transfer", attendee_id=number).json()["result"]
    assert re.fullmatch(r"[a-z.0-9]+@example\.(org|com|net)", heir)
    assert world.kktix.tickets[number].address == heir != before


@pytest.mark.parametrize("weather", WEATHERS)
def test_the_weather_ordered_is_the_weather_shown_until_it_is_fine_again(control, server, world, weather):
    control("add_fault", service="klaviyo", kind="html", times=3)
    assert control("set_weather", service="klaviyo", weather=weather).ok
    assert {one["name"]: one["weather"] for one in desk(server)["services"]} == {
        "kktix": "fine",
        "gather": "fine",
        "klaviyo": weather,
    }
    control("set_weather", service="klaviyo", weather="fine")
    assert world.faults.standing() == []


def test_bad_weather_lasts(control, kktix):
    control("set_weather", service="kktix", weather="500")
    assert [kktix.get().status_code for _ in range(3)] == [500, 500, 500]
    control("set_weather", service="kktix", weather="429")
    assert (kktix.get().status_code, kktix.get().headers["retry-after"]) == (429, "1")
    control("set_weather", service="kktix", weather="down")
    with pytest.raises(requests.ConnectionError):
        kktix.get()


def test_faults_that_are_no_weather_are_not_called_one(control, server):
    control("add_fault", service="gather", kind="status", times=1)
    assert [one["weather"] for one in desk(server)["services"]] == ["fine", "mixed", "fine"]


# -- the way of a ticket --------------------------------------------------------------------------------------


def test_a_ticket_is_followed_from_payment_to_access_and_mail(server, world, event, clock, gather, klaviyo):
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
    counts = desk(server)["counts"]
    assert (counts["people"], counts["let_in"], counts["mails"]) == (1, 1, 1)
    assert counts["access_seconds"] == {"median": 7.0, "slowest": 7.0}


def test_a_cancelled_ticket_is_followed_until_its_guest_is_off_the_list(server, world, event, clock, gather):
    (number,) = world.sell(event, address="one@example.org")
    gather.write({"one@example.org": ENTRY})
    world.cancel(number)
    assert ticket(server, number)["phase"] == "leaving"
    assert [guest["is_leaving"] for guest in desk(server)["guests"]] == [True]
    clock.advance(9)
    gather.write({}, overwrite=True)
    shown = ticket(server, number)
    assert (shown["phase"], shown["access"]["note"], shown["access"]["seconds"]) == ("gone", "taken off", 9.0)


def test_another_ticket_keeps_its_holder_in(server, world, event, gather):
    first, _ = world.sell(event, 2, address="one@example.org")
    gather.write({"one@example.org": ENTRY})
    world.cancel(first)
    assert ticket(server, first)["access"]["note"] == "by another ticket"
    assert [guest["is_leaving"] for guest in desk(server)["guests"]] == [False]


def test_who_was_in_before_is_not_measured(server, world, event, clock):
    world.add_guest("one@example.org")
    clock.advance(5)
    (number,) = world.sell(event, address="One@example.org")
    access = ticket(server, number)["access"]
    assert (access["state"], access["note"], access["seconds"]) == ("done", "was in already", None)
    assert desk(server)["counts"]["guests_by_hand"] == 1


def test_who_is_let_in_again_waits_for_another_mail(server, world, event, clock, gather, klaviyo):
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
        ("PyCon TW 2031 Volunteer Party", "plain", "its event is left alone"),
        ("PyCon TW 2030 Registration: Individual", "plain", "of another edition"),
        (INDIVIDUAL, "invalid", "no address that mail can reach"),
        (INDIVIDUAL, "missing", "no address that mail can reach"),
    ],
)
def test_a_ticket_that_opens_no_door_says_why(server, world, event, name, kind, why):
    (number,) = world.sell(world.add_event(name), kind=kind)
    shown = ticket(server, number)
    assert (shown["phase"], shown["access"]["note"]) == ("left out", why)
    assert desk(server)["counts"]["people"] == 0


def test_who_takes_no_mail_is_left_out_of_it(server, world, event, gather):
    (number,) = world.sell(event, address="one@example.org")
    gather.write({"one@example.org": ENTRY})
    world.klaviyo.unsubscribe("one@example.org")
    shown = ticket(server, number)
    assert (shown["phase"], shown["mail"]["note"]) == ("left out", "takes no mail")


# -- what is shown --------------------------------------------------------------------------------------------


def test_the_latest_are_shown_and_all_are_counted(server, world, event, gather):
    sold = [world.sell(event)[0] for _ in range(MOST_SHOWN + 30)]
    gather.write({ticket.address: ENTRY for ticket in world.kktix.tickets.values()})
    shown = desk(server)
    assert [one["id"] for one in shown["tickets"]] == sold[: -MOST_SHOWN - 1 : -1]
    assert len(shown["guests"]) == MOST_SHOWN
    assert shown["fitting"] == shown["counts"]["tickets"] == shown["counts"]["guests"] == MOST_SHOWN + 30


def test_tickets_are_found_by_what_is_said_of_them(server, world, event):
    world.sell(event, 1, address="One@example.org", paid=False)
    world.sell(event, 1, address="two@example.org")
    assert [one["address"] for one in desk(server, text=" one@ ")["tickets"]] == ["One@example.org"]
    assert [one["address"] for one in desk(server, phase="waiting")["tickets"]] == ["two@example.org"]
    assert desk(server, phase="waiting", text="one")["fitting"] == 0


def test_a_mail_is_shown_as_it_left_and_its_page_may_do_nothing(server, world, klaviyo, clock):
    klaviyo.send(klaviyo.a_campaign(klaviyo.a_list("holders", "one@example.org")))
    clock.advance(1)
    (line,) = desk(server)["mails"]
    mail = requests.get(f"{server.url}/control/mails/{line['id']}", timeout=5).json()
    assert (mail["address"], mail["text"]) == ("one@example.org", world.outbox[0].text)
    page = requests.get(f"{server.url}/control/mails/{line['id']}/html", timeout=5)
    assert page.text == world.outbox[0].html
    assert {"default-src 'none'", "sandbox allow-same-origin"} <= set(
        page.headers["content-security-policy"].split("; ")
    )
    for path in ("1", "1/html"):
        assert requests.get(f"{server.url}/control/mails/{path}", timeout=5).status_code == 404


def test_what_the_pipeline_could_not_do_is_passed_on():
    since = datetime(2031, 6, 1, tzinfo=timezone.utc)
    refusal = Refusal("2031-individual-90001", "gather_guestlist: 12 revocations are due", False, since, 2)
    with SandboxServer(World(), ask_pipeline=lambda: [refusal]) as server:
        (told,) = desk(server)["refusals"]
    assert (told["text"], told["since"], told["times"]) == (refusal.text, since.isoformat(), 2)


def test_the_troubles_are_those_of_the_same_home_and_looking_leaves_nothing_behind(tmp_path):
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


def test_without_a_pipeline_nothing_is_known_of_refusals(server, world):
    assert desk(server)["refusals"] is None


# -- who may ask ----------------------------------------------------------------------------------------------


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
def test_another_sites_page_cannot_give_orders(server, world, event, headers):
    reply = requests.post(f"{server.url}/control/end_event", json={"event_id": event}, headers=headers, timeout=5)
    assert reply.status_code == 403
    assert world.kktix.events[event].ended_at is None


def test_the_pages_own_orders_are_taken(server, world, event):
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert requests.post(f"{server.url}/control/end_event", json={"event_id": event}, headers=headers, timeout=5).ok


@pytest.mark.parametrize("path", ["/", "/page.js", "/control/desk", "/control/state"])
@pytest.mark.parametrize("host", ["rebound.example.org", "rebound.example.org:80", "127.0.0.1.example.org", "[", ""])
def test_a_name_that_was_pointed_here_reads_nothing(server, world, path, host):
    assert answered(server, path, host) == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8031", "localhost", "[::1]:8031"])
def test_this_machine_is_answered_by_all_its_names(server, world, host):
    assert answered(server, "/control/desk", host) == 200


def answered(server: SandboxServer, path: str, host: str) -> int:
    """The status for a caller who believes to talk to ``host``."""
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_page_may_load_only_what_is_its_own(server, world):
    policy = requests.get(server.url, timeout=5).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_needs_no_other_machine_and_nothing_inline():
    for file in resources.files("pycontw_assets.sandbox").joinpath("page", "static").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?:|//[a-z]+\.[a-z]+|@import|innerHTML|\bon[a-z]+=|style=|<style|eval\(", text), file


@pytest.mark.parametrize("path", ["/nothing", "/..%2fserver.py", "/__init__.py", "/control/nothing"])
def test_only_the_page_is_served(server, world, path):
    assert requests.get(server.url + path, timeout=5).status_code == 404
