"""Orders that are gone, damaged or of another time than the ledger are said to be unread, and never shown as fine."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from pycontw_assets.alerts.unreachable import unserved_attendees
from pycontw_assets.commands.status import Status, describe_status, look_up
from pycontw_assets.commands.trace import describe_trace, trace
from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.ledger.consistency.marks import known_orders, record_orders
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.grants import intend_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Poll, record_poll
from pycontw_assets.pipeline.consistency.orders import AgreedOrders
from pycontw_assets.pipeline.maintenance import _figures
from pycontw_assets.pipeline.reconcile import RunHistory
from pycontw_assets.records import Attendee, AttendeeRecord, OrderSnapshot
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION, PSEUDONYMIZER, keys

ANNA = "anna@example.org"
EMAIL = "聯絡人 Email"
KEY = PARTITION.key


def record(ledger: Ledger, number: int, *, address: str = ANNA) -> AttendeeRecord:
    answers = ((EMAIL, address),)
    attendee = Attendee(attendee_id=number, is_paid=True, state="activated", answers=answers)
    return AttendeeRecord(attendee, first_seen_at=ledger.clock(), read_at=ledger.clock())


class Installation:
    """One event with Anna's ticket, stored and polled; its vault can be spoilt."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.store = MemoryStore()
        self.vault = Vault(self.store, [Fernet.generate_key().decode()])
        register_events(ledger, [PARTITION])
        self.orders().write(OrderSnapshot(PARTITION, {1: record(ledger, 1)}))
        poll = Poll(KEY, ledger.clock(), "digest", 1, 0, None, "content", without_address=1)
        record_poll(ledger, PARTITION.edition, poll, keys(ANNA))

    def orders(self) -> AgreedOrders:
        return AgreedOrders(self.vault, self.ledger, is_reading=True)

    def status(self) -> Status:
        settings = Settings(_env_file=None, edition="2031")
        return look_up(vault=self.vault, ledger=self.ledger, settings=settings, history=RunHistory())

    def screen(self) -> str:
        return "\n".join(describe_status(self.status()))

    def traced(self, buyer: str = ANNA) -> str:
        return "\n".join(
            describe_trace(trace(buyer, vault=self.vault, ledger=self.ledger, pseudonymizer=PSEUDONYMIZER))
        )

    # -- ways to spoil it

    def restore_an_older_vault(self) -> None:
        older = dict(self.store.objects)
        orders = self.orders()
        snapshot = orders.read(KEY)
        assert snapshot
        orders.write(replace(snapshot, rotated_at=self.ledger.clock()))
        self.store.objects = older

    def restore_an_older_ledger(self) -> None:
        older = known_orders(self.ledger, KEY)
        assert older
        orders = self.orders()
        snapshot = orders.read(KEY)
        assert snapshot
        orders.write(replace(snapshot, rotated_at=self.ledger.clock()))
        record_orders(self.ledger, KEY, older)

    def lose_the_vault(self) -> None:
        self.store.objects.clear()

    def damage_the_vault(self) -> None:
        self.store.objects = dict.fromkeys(self.store.objects, b"damaged")

    def demand_reading(self) -> None:
        known = known_orders(self.ledger, KEY)
        assert known
        record_orders(self.ledger, KEY, replace(known, must_reread=True))


WAYS = ["restore_an_older_vault", "restore_an_older_ledger", "lose_the_vault", "damage_the_vault", "demand_reading"]


@pytest.fixture
def one(ledger: Ledger) -> Installation:
    return Installation(ledger)


def test_orders_of_the_ledgers_time_are_shown(one: Installation) -> None:
    assert one.status().unread == []
    assert one.status().events[0].counts["attendees"] == 1
    assert "no open problems" in one.screen()
    assert "could not be read" not in one.screen() + one.traced()
    assert "attendee 1: usable" in one.traced()


@pytest.mark.parametrize("way", WAYS)
def test_status_counts_nothing_of_orders_that_it_could_not_read(one: Installation, way: str) -> None:
    getattr(one, way)()
    [event] = one.status().events
    assert event.counts["attendees"] is event.counts["usable"] is None
    screen = one.screen()
    assert "! could not be read: " in screen
    assert "no open problems" not in screen
    assert ANNA not in screen


@pytest.mark.parametrize("way", WAYS)
def test_trace_says_what_it_could_not_read_and_promises_nothing(one: Installation, way: str) -> None:
    record_poll(one.ledger, PARTITION.edition, Poll(KEY, one.ledger.clock(), "d", 1, 0, None, "c"), keys(ANNA))
    getattr(one, way)()
    shown = one.traced()
    assert shown.startswith("! ")
    assert "usable" not in shown
    assert ANNA not in shown


def test_trace_of_somebody_with_access_does_not_say_that_there_is_no_ticket(one: Installation) -> None:
    intend_grants(one.ledger, PARTITION.edition, KEY, keys(ANNA), added_by_us=True, state="granted")
    one.restore_an_older_vault()
    shown = one.traced()
    assert f"next    not known: the orders of {KEY} could not be read" in shown
    assert "there is no usable ticket" not in shown
    assert "removes them from the guest list" not in shown


def test_one_event_that_cannot_be_read_hides_no_other(one: Installation, ledger: Ledger) -> None:
    register_events(ledger, [OTHER_PARTITION])
    one.orders().write(OrderSnapshot(OTHER_PARTITION, {2: record(ledger, 2)}))
    one.store.objects[f"{KEY}.orders"] = b"damaged"
    assert "attendee 2: usable" in one.traced()
    assert one.traced().startswith("! ")


def test_orders_that_are_being_read_again_are_shown_with_a_note(one: Installation) -> None:
    orders = one.orders()
    snapshot = orders.read(KEY)
    assert snapshot
    orders.write(replace(snapshot, rebuilding=True))
    assert "are being read again" in one.screen()
    assert "are being read again" in one.traced()


@pytest.mark.parametrize("way", WAYS)
def test_no_sales_are_reported_of_orders_that_could_not_be_read(one: Installation, way: str) -> None:
    getattr(one, way)()
    poll = Poll(KEY, one.ledger.clock(), "d", 1, 0, None, "c")
    tick: Any = SimpleNamespace(facts={KEY: SimpleNamespace(partition=PARTITION, poll=poll, book=object())})
    figures: Any = None
    with suppress(LedgerError):  # of an older ledger
        figures = _figures(tick, ledger=one.ledger, vault=one.vault)
    assert figures is None


@pytest.mark.parametrize("way", WAYS)
def test_nobody_counts_as_served_because_nothing_could_be_read(one: Installation, way: str) -> None:
    def search(content: str) -> list[str]:
        poll = Poll(KEY, one.ledger.clock(), "d", 1, 0, None, content, without_address=1)
        return list(
            unserved_attendees(
                [(PARTITION, poll)],
                ledger=one.ledger,
                vault=AgreedOrders(one.vault, one.ledger),
                pseudonymizer=PSEUDONYMIZER,
                contact_address=contact_address,
            )
        )

    orders = one.orders()
    snapshot = orders.read(KEY)
    assert snapshot
    orders.write(replace(snapshot, records={7: record(one.ledger, 7, address="no address")}))
    [named] = search("content")
    assert "attendee 7 gave no address" in named
    getattr(one, way)()
    unread, still_named = search("other content")
    assert "could not be looked up" in unread
    assert still_named == named


def test_events_that_were_never_polled_are_no_problem(ledger: Ledger) -> None:
    register_events(ledger, [PARTITION])
    settings = Settings(_env_file=None, edition="2031")
    vault = Vault(MemoryStore(), [Fernet.generate_key().decode()])
    assert look_up(vault=vault, ledger=ledger, settings=settings, history=RunHistory()).unread == []
