"""Holders are the mailable contact addresses with a usable ticket, by the labels of the policy."""

import hashlib
from copy import copy
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.deidentify import holders as module
from pycontw_assets.deidentify.holders import Contacts, contact_address, count_unmailable, holders_of, usable_contacts
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.pseudonyms import Pseudonymizer, deliverable_address, normalise_address
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, Holder, OrderSnapshot
from pycontw_assets_tests.unit.test_deidentify_policy import KNOWN

SEEN = datetime(2031, 6, 1, tzinfo=timezone.utc)
PARTITION = EventPartition(90001, "2031", "individual")
LABEL = "聯絡人 Email"
# Each was typed or rendered a little differently from the label that KKTIX has today.
SPELLINGS = {
    "as KKTIX writes it": ("聯絡人 Email", "Contact Email"),
    "two blanks": ("聯絡人  Email", "Contact  Email"),
    "a full-width colon": ("聯絡人 Email：", "Contact Email："),
    "a colon": ("聯絡人 Email:", "Contact Email:"),
    "full-width": ("聯絡人　Ｅｍａｉｌ", "Ｃｏｎｔａｃｔ　Ｅｍａｉｌ"),
    "lower case and a blank": ("聯絡人 email ", "contact email "),
    "characters that show nothing": ("\ufeff聯絡人\u200b Em\u00adail", "Con\u2060tact Email\u200f\ufe0e"),
    "fillers that look like a blank": ("聯絡人\u3164Email", "Contact\u2800\u00a0Email"),
    "no blank": ("聯絡人Email", "ContactEmail"),
    "a full-width full stop": ("聯絡人 Email。", "Contact Email．"),
}


def attendee(*answers: tuple[str, Any], attendee_id: int = 1, is_paid: bool = True) -> Attendee:
    return Attendee(attendee_id=attendee_id, is_paid=is_paid, state="activated", answers=answers)


def record(attendee_id: int, *answers: tuple[str, Any], is_paid: bool = True) -> AttendeeRecord:
    return AttendeeRecord(attendee(*answers, attendee_id=attendee_id, is_paid=is_paid), SEEN)


def snapshot(*records: AttendeeRecord) -> OrderSnapshot:
    return OrderSnapshot(PARTITION, {item.attendee.attendee_id: item for item in records})


def holders(*records: AttendeeRecord) -> dict[str, Holder]:
    return holders_of(snapshot(*records), Pseudonymizer())


def email_sha256(*answers: tuple[str, Any]) -> str | None:
    digest = deidentify([record(1, *answers)], PARTITION, Pseudonymizer()).frame["email_sha256"].astype(object)[0]
    return digest if isinstance(digest, str) else None


@pytest.mark.parametrize("locale", [0, 1], ids=["Chinese", "English"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_everybody_with_an_email_digest_is_invited(spelling: str, locale: int) -> None:
    answer = (SPELLINGS[spelling][locale], " Buyer-One@example.org ")
    digest = hashlib.sha256(b"buyer-one@example.org").hexdigest()
    assert email_sha256(answer) == digest
    assert holders(record(1, answer)) == {digest: Holder(digest, "buyer-one@example.org", "Buyer-One@example.org")}
    assert count_unmailable(snapshot(record(1, answer))) == 0


@given(st.lists(st.tuples(st.sampled_from([label for label, _ in KNOWN]), st.text()), max_size=6))
def test_the_digest_is_that_of_the_contact_address(answers: list[tuple[str, str]]) -> None:
    address = contact_address(attendee(*answers))
    assert email_sha256(*answers) == (address and Pseudonymizer().digest(normalise_address(address) or address))


def test_each_label_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "load_policy", lambda: asked.append("") or load_policy())
    module._asks_for_contact_address.cache_clear()
    holders(*(record(number, ("Nickname / 暱稱", "Quokka"), (LABEL, f"b{number}@example.org")) for number in range(9)))
    assert len(asked) == 3, "two labels, and once for the orders as a whole"


@pytest.mark.parametrize("label", ["Email", "Contact Email Contact Name", "Would you like to receive an email?"])
def test_another_question_about_an_email_is_not_the_contact(label: str) -> None:
    form = ((label, "other@example.org"), ("Contact Email", "buyer-one@example.org"))
    assert contact_address(attendee(*form)) == "buyer-one@example.org"
    assert contact_address(attendee(form[0])) is None


@pytest.mark.parametrize("value", ["", "   ", None, 7, ["a@example.org"], {"a": 1}, True])
def test_an_empty_or_odd_contact_address_is_none(value: Any) -> None:
    assert contact_address(attendee((LABEL, value))) is None


def test_several_tickets_of_one_address_are_one_holder() -> None:
    spellings = ("Buyer@example.org", "buyer@example.org", "ｂｕｙｅｒ@example.org")
    found = holders(*(record(i, (LABEL, spelled)) for i, spelled in enumerate(spellings, 1)))
    (only,) = found.values()
    assert only.address == "buyer@example.org"
    assert only.spelled == "Buyer@example.org"
    assert found == {only.key: only}


def test_several_spellings_of_one_mailbox_are_one_holder_with_its_former_forms() -> None:
    spellings = ("Lin@例え.example.org", "lin@XN--R8JZ45G.example.org", "li\u200bn@例え。example.org.")
    (only,) = holders(*(record(i, (LABEL, spelled)) for i, spelled in enumerate(spellings, 1))).values()
    assert (only.address, only.spelled) == ("lin@xn--r8jz45g.example.org", "Lin@xn--r8jz45g.example.org")
    assert only.former == ("lin@例え.example.org", "li\u200bn@例え。example.org.")
    assert "lin" not in repr(only)
    assert email_sha256((LABEL, spellings[0])) == email_sha256((LABEL, spellings[2])) == only.key


def test_an_address_of_fillers_only_counts_as_missing() -> None:
    orders = snapshot(record(1, (LABEL, "\u200b\u3164")))
    assert contact_address(orders.records[1].attendee) is None
    assert count_unmailable(orders) == 1


def test_unpaid_gone_or_without_address_holds_nothing() -> None:
    unpaid = record(1, (LABEL, "unpaid@example.org"), is_paid=False)
    gone = AttendeeRecord(attendee((LABEL, "gone@example.org"), attendee_id=2), SEEN, gone_at=SEEN)
    assert holders(unpaid, gone, record(3), record(4, (LABEL, "no address"))) == {}


def test_usable_tickets_that_mail_cannot_reach_are_counted() -> None:
    orders = snapshot(
        record(1, (LABEL, "buyer-one@example.org")),
        record(2, (LABEL, "no address")),
        record(3),
        record(4, (LABEL, "no address"), is_paid=False),
    )
    assert count_unmailable(orders) == 2


def test_the_same_orders_are_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at, pseudonymizer = list[Attendee](), Pseudonymizer()
    look = module.contact_answer
    monkeypatch.setattr(module, "contact_answer", lambda item: looked_at.append(item) or look(item))
    orders = OrderSnapshot(PARTITION, {1: record(1, (LABEL, "one@example.org")), 2: record(2, (LABEL, "no address"))})
    first, again = (holders_of(orders, pseudonymizer) for _ in range(2))
    first.clear()
    assert [holder.address for holder in again.values()] == ["one@example.org"]
    assert count_unmailable(orders) == 1
    assert Contacts(pseudonymizer).unreachable(orders) == [2]
    assert len(looked_at) == 2
    assert holders_of(replace(orders, records={1: orders.records[1]}), pseudonymizer) == again
    assert len(looked_at) == 3, "other orders are looked through, too"


def test_another_key_or_policy_looks_through_the_same_orders_again(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = snapshot(record(1, (LABEL, "one@example.org")))
    (plain,), (keyed,) = holders_of(orders, Pseudonymizer()), holders_of(orders, Pseudonymizer("a key"))
    assert plain != keyed
    before = usable_contacts(orders)
    assert usable_contacts(orders) is before
    monkeypatch.setattr(module, "load_policy", lambda: copy(load_policy()))
    assert usable_contacts(orders) is not before


def test_tickets_that_mail_cannot_reach_are_the_unmailable_and_the_refused() -> None:
    orders = snapshot(
        record(1, (LABEL, "One@example.org")),
        record(2, (LABEL, "no address")),
        record(3),
        record(4, (LABEL, "no address"), is_paid=False),
        record(5, (LABEL, "five@example.org")),
    )
    refused = {Pseudonymizer().digest("one@example.org")}
    assert Contacts(Pseudonymizer(), refused).unreachable(orders) == [1, 2, 3]


@given(st.text() | st.text("@ .\u200b\u3164\u3000a\0"))
def test_an_answer_says_something_if_anything_of_it_is_left(answer: str) -> None:
    assert (contact_address(attendee((LABEL, answer))) is not None) == bool(deliverable_address(answer))


def test_the_oldest_ticket_comes_first_in_whatever_order_the_orders_were_read() -> None:
    bought = [record(number, (LABEL, f"buyer-{number}@example.org")) for number in (2, 10, 3, 1)]
    again = record(11, (LABEL, "Buyer-1@example.org"))
    first = holders(again, *bought)
    assert [holder.address for holder in first.values()] == [f"buyer-{number}@example.org" for number in (1, 2, 3, 10)]


def test_a_contact_shows_no_address() -> None:
    [contact] = usable_contacts(snapshot(record(1, (LABEL, "anna@example.org"))))
    assert contact.address == "anna@example.org"
    assert "@" not in repr(contact)
