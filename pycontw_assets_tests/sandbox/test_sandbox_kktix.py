"""The simulated box office follows the contract of KKTIX."""

from __future__ import annotations

import pytest
import requests

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.kktix.box_office import MISSING

NAME = "PyCon TW 2031 Registration: Individual"


def book_ids(kktix, event):
    return [book["id"] for book in kktix.get(f"/{event}/attendance_books").json()]


def listed(kktix, event):
    rows = [kktix.get(f"/{event}/attendance_books/{book}").json()["signin_status"] for book in book_ids(kktix, event)]
    return [{row[0] for row in book} for book in rows]


def test_a_wrong_token_is_refused(kktix):
    assert kktix.get(token="wrong").status_code == 401


def test_the_flag_hides_ended_events(world, kktix):
    event = world.add_event(NAME)
    world.end_event(event)
    assert kktix.get("?only_not_ended_event=true").json() == {"data": []}
    assert kktix.get().json() == {"data": [{"id": event, "name": NAME}]}


def test_all_books_together_list_every_attendee(world, kktix):
    event = world.add_event(NAME, books=2)
    first, second = world.sell(event, books=[0]) + world.sell(event, books=[1])
    assert listed(kktix, event) == [{first}, {second}]


def test_an_event_may_have_no_book(world, kktix):
    event = world.add_event(NAME, books=0)
    world.sell(event)
    assert kktix.get(f"/{event}/attendance_books").json() == []


def test_an_attendee_has_the_fields_of_the_contract(world, kktix):
    event = world.add_event(NAME)
    number = world.sell(event, address="buyer@example.org")[0]
    payload = kktix.get(f"/{event}/attendees/{number}").json()
    assert payload["is_paid"] is True
    assert payload["state"] == "activated"
    assert isinstance(payload["updated_at"], float)
    assert ["聯絡人 Email", "buyer@example.org"] in payload["data"]
    assert payload["data"][-1] == ["標籤", ""]
    assert len(payload["qrcode"]) == 32
    assert {"kyc", "id_number", "search_string", "slot", "order_no", "reg_no", "ticket_id"} <= payload.keys()


def test_forms_are_as_odd_as_real_forms(world, kktix):
    event = world.add_event(NAME)
    answers = [pair for n in world.sell(event, 20) for pair in kktix.get(f"/{event}/attendees/{n}").json()["data"]]
    assert max(len(label) for label, _ in answers) == 200
    assert {type(value) for _, value in answers} >= {str, int, list, bool}
    reserved = world.add_event("PyCon TW 2031 Registration: Reserved", locale="en")
    number = world.sell(reserved)[0]
    labels = [label for label, _ in kktix.get(f"/{reserved}/attendees/{number}").json()["data"]]
    assert len(labels) > len(set(labels))
    assert {"Email", "Contact Email"} <= set(labels)


@pytest.mark.parametrize("action", ["cancel", "refund"])
def test_a_cancelled_ticket_leaves_its_books(world, kktix, action):
    event = world.add_event(NAME)
    gone, stays = world.sell(event, 2)
    getattr(world, action)(gone)
    assert listed(kktix, event) == [{stays}]
    assert kktix.get(f"/{event}/attendees/{gone}").status_code == 404
    world.kktix.switches.vanished_attendee = "payload"
    assert kktix.get(f"/{event}/attendees/{gone}").json()["state"] == "cancelled"


@pytest.mark.parametrize("moves", [True, False])
def test_a_switch_lets_payments_move_updated_at(world, kktix, clock, moves):
    world.kktix.switches.payment_moves_updated_at = moves
    event = world.add_event(NAME)
    number = world.sell(event, paid=False)[0]
    before = kktix.get(f"/{event}/attendees/{number}").json()
    clock.advance(60)
    world.pay(number)
    after = kktix.get(f"/{event}/attendees/{number}").json()
    assert (before["is_paid"], after["is_paid"]) == (False, True)
    assert (after["updated_at"] > before["updated_at"]) is moves


def test_a_transfer_changes_only_the_contact_address(world, kktix):
    event = world.add_event("PyCon TW 2031 Registration: Reserved")
    number = world.sell(event)[0]
    world.transfer(number, "new@example.org")
    answers = kktix.get(f"/{event}/attendees/{number}").json()["data"]
    assert ["聯絡人 Email", "new@example.org"] in answers
    assert ["Email", "badge-desk@example.net"] in answers


def test_false_payloads_do_not_change_the_ticket(world, kktix):
    event = world.add_event(NAME)
    first, second = world.sell(event, 2)
    world.kktix.switches.shown_per_book[event] = 1
    world.kktix.override(first, is_paid=MISSING, price="free")
    payload = kktix.get(f"/{event}/attendees/{first}").json()
    assert listed(kktix, event) == [{first}]
    assert "is_paid" not in payload
    assert payload["price"] == "free"
    assert world.kktix.tickets[first].is_usable
    assert world.kktix.tickets[second].is_usable


def test_a_switch_leaves_valid_attendees_out_of_every_book(world, kktix):
    event = world.add_event(NAME, books=2)
    first, second = world.sell(event, 2)
    world.kktix.switches.left_out = {first}
    assert listed(kktix, event) == [{second}, {second}]
    assert kktix.get(f"/{event}/attendees/{first}").json()["is_paid"]
    assert world.kktix.tickets[first].is_usable


def test_switches_change_the_form_of_answers(world, kktix):
    event = world.add_event(NAME)
    number = world.sell(event)[0]
    switches = world.kktix.switches
    switches.repeats_rows = switches.ids_as_text = switches.names_next_page = True
    listing = kktix.get("").json()
    assert [row["id"] for row in listing["data"]] == [str(event)] * 2
    assert listing["links"]["next"]
    books = kktix.get(f"/{event}/attendance_books").json()
    assert len(books) == 2
    book = kktix.get(f"/{event}/attendance_books/{books[0]['id']}").json()
    assert book["signin_status"] == [[str(number), None]] * 2
    assert book["links"]["next"]
    assert kktix.get(f"/{event}/attendees/{number}").json()["id"] == str(number)


def test_unknown_ids_and_writes_are_refused(world, kktix):
    event = world.add_event(NAME)
    paths = ("/1/attendance_books", f"/{event}/attendance_books/1", f"/{event}/attendees/1", f"/{event}/attendees/x")
    assert [kktix.get(path).status_code for path in paths] == [404] * 4
    headers = {"Authorization": f"bearer {keys.KKTIX_TOKEN}"}
    assert requests.post(kktix.prefix, headers=headers, timeout=5).status_code == 405


def test_a_rename_keeps_edition_and_family(world):
    event = world.add_event(NAME)
    world.rename_event(event, "Something else")
    assert (world.kktix.events[event].edition, world.kktix.events[event].family) == ("2031", "individual")
    party = world.add_event("PyCon TW 2031 Volunteer Party")
    assert world.kktix.events[party].family is None
