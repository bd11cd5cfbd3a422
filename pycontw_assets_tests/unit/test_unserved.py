"""An alert about a person ends when this person is served, whomever the next attempts are about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pycontw_assets.alerts.alerting import send_alerts
from pycontw_assets.alerts.problems import by_cause
from pycontw_assets.alerts.unreachable import unserved_attendees
from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.ledger.database.tables import batches, invitations
from pycontw_assets.ledger.grants import set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import intend_members
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.ledger.reporting.problems import record_findings
from pycontw_assets.ledger.restoration import mark_invited
from pycontw_assets.pipeline.consistency.orders import OlderVault
from pycontw_assets.records import AttendeeRecord, OrderSnapshot
from pycontw_assets_tests.fakes.channels import Channels
from pycontw_assets_tests.fakes.gather import FakeGather
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, keys, record_holders
from pycontw_assets_tests.unit.test_guest_list import EDITION, ONE, THREE, TWO, run
from pycontw_assets_tests.unit.test_holders import LABEL, record

KEY = PARTITION.key
SEARCH = "the search for unreachable buyers"


class Sale:
    """One event: its orders, its guest list, and what people are sent about it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.gather, self.channels = ledger, FakeGather(), Channels()
        self.records: dict[int, AttendeeRecord] = {}
        self.reads = 0
        self.are_lost = self.are_older = False

    def sell(self, **addresses: str) -> None:
        """``a7="…"`` sells attendee 7."""
        for name, address in addresses.items():
            self.records[int(name[1:])] = record(int(name[1:]), (LABEL, address))

    def read(self, key: str) -> OrderSnapshot | None:
        self.reads += 1
        if self.are_older:
            raise OlderVault("vault: restored from a backup")
        return None if self.are_lost else OrderSnapshot(PARTITION, self.records)

    def lines(self, *, is_mailed: bool = True) -> list[str]:
        return list(
            unserved_attendees(
                [(PARTITION, last_poll(self.ledger, KEY))],
                ledger=self.ledger,
                vault=self,
                pseudonymizer=PSEUDONYMIZER,
                contact_address=contact_address,
                is_mailed=is_mailed,
            )
        )

    def poll(self) -> None:
        """Poll an hour later: the step for all usable tickets, the search, the alerts."""
        self.ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
        usable = [contact_address(item.attendee) for item in self.records.values() if item.is_usable]
        outcome = run(self.gather, self.ledger, *(address for address in usable if address))
        record_findings(self.ledger, KEY, "gather_guestlist", by_cause("gather_guestlist", outcome.lasting))
        record_findings(self.ledger, "", SEARCH, by_cause(SEARCH, self.lines()))
        send_alerts([KEY], ledger=self.ledger, alerts=self.channels)

    @property
    def titles(self) -> list[str]:
        return self.channels.titles


@pytest.fixture
def sale(ledger: Ledger) -> Sale:
    return Sale(ledger)


def refuse(gather: FakeGather, address: str) -> None:
    gather.refused = {address}


def drop(gather: FakeGather, address: str) -> None:
    gather.ignored = {address}


@pytest.mark.parametrize("harm", [refuse, drop])
def test_a_guest_whom_gather_does_not_take_is_reported_by_number_until_let_in(sale: Sale, harm: Any) -> None:
    sale.sell(a1=ONE, a2=TWO)
    harm(sale.gather, TWO)
    sale.poll()
    [title] = sale.titles
    assert title.startswith(f"{KEY}: attendee 2 could not be put on Gather's list: ")
    sale.sell(a3=THREE)
    for _ in range(3):
        sale.poll()
    assert len(sale.titles) == 1, "the next sale ended nothing"
    sale.gather.refused = sale.gather.ignored = set()
    sale.ledger.clock.advance(hours=24)  # type: ignore[attr-defined]
    sale.poll()
    assert sale.titles[1:] == [f"over: {sale.titles[0]}"]
    assert TWO not in str(sale.channels.taken)


def test_a_corrected_address_ends_the_alert(sale: Sale) -> None:
    sale.sell(a1=ONE, a2=TWO)
    refuse(sale.gather, TWO)
    sale.poll()
    sale.sell(a2=THREE)
    sale.poll()
    assert sale.titles[1:] == [f"over: {sale.titles[0]}"]


@pytest.mark.parametrize("harm", ["are_older", "are_lost"])
def test_a_vault_of_another_time_clears_nobody(sale: Sale, harm: str) -> None:
    """Others are refused meanwhile, so the orders are searched again, and do not name anybody."""
    sale.sell(a1=ONE, a2=TWO)
    refuse(sale.gather, TWO)
    sale.poll()
    setattr(sale, harm, True)
    before = sale.reads
    sale.sell(a3=THREE)
    sale.gather.refused = {TWO, THREE}
    sale.poll()
    assert sale.reads > before
    assert [line for line in sale.lines() if "attendee 2 " in line]
    setattr(sale, harm, False)
    assert [line for line in sale.lines() if "attendee 3 " in line]


def test_another_guest_who_is_refused_later_is_reported_too(sale: Sale) -> None:
    sale.sell(a1=ONE, a2=TWO)
    refuse(sale.gather, TWO)
    sale.poll()
    sale.sell(a3=THREE)
    sale.gather.refused = {TWO, THREE}
    sale.poll()
    sale.poll()
    assert sale.titles[1].startswith(f"{KEY}: 2 attendees could not be put on Gather's list: ")
    assert "attendee 3" in sale.channels.taken[1][2]


def test_a_refused_invitation_is_reported_until_the_person_has_another_address(sale: Sale) -> None:
    sale.sell(a1=ONE, a2=TWO)
    sale.poll()
    with sale.ledger.engine.begin() as db:
        now = sale.ledger.clock()
        named = {"batch_key": "b", "edition": EDITION, "partition_key": KEY, "poll_id": "p", "campaign_name": "c"}
        db.execute(batches.insert().values(**named, state="sent", created_at=now))
        [key] = keys(TWO)
        row = {"edition": EDITION, "address_key": key, "period": 1, "batch_key": "b", "state": "unreachable"}
        db.execute(invitations.insert().values(**row, reason="UNSUBSCRIBED"))
    sale.poll()
    sale.sell(a3=THREE)
    sale.poll()
    [title] = sale.titles
    assert title.startswith(f"{KEY}: attendee 2 cannot be mailed by Klaviyo (UNSUBSCRIBED)")


def test_a_guest_without_a_ticket_whose_entry_is_not_ours_is_reported_until_gone(sale: Sale) -> None:
    sale.sell(a1=ONE, a2=TWO)
    sale.poll()
    sale.gather.entries[TWO] = {"name": "", "role": "guest", "affiliation": "Speaker"}
    sale.records[2] = replace(sale.records[2], gone_at=sale.ledger.clock())
    sale.poll()
    assert [title.partition(":")[2] for title in sale.titles] == [
        " attendee 2 kept access without a ticket: somebody edited the entry in Gather by hand. Remove it there if "
        "they should leave"
    ]
    sale.sell(a3=THREE)
    sale.poll()
    assert len(sale.titles) == 1
    del sale.gather.entries[TWO]
    sale.sell(a4="buyer-4@example.org")
    sale.poll()
    assert sale.titles[1:] == [f"over: {sale.titles[0]}"]


def test_a_ceded_guest_whose_ticket_passed_on_is_reported_without_a_number(sale: Sale) -> None:
    sale.sell(a1=ONE, a2=TWO)
    sale.poll()
    sale.gather.entries[TWO] = {"name": "", "role": "guest", "affiliation": "Speaker"}
    sale.sell(a2=THREE)
    sale.poll()
    [line] = sale.lines()
    assert line.startswith(f"{KEY}: guests without a ticket stay on the guest list, whose tickets passed to others")


def test_orders_are_opened_only_when_something_changed(sale: Sale) -> None:
    sale.sell(a1=ONE)
    sale.poll()
    assert sale.reads == 0
    refuse(sale.gather, TWO)
    sale.sell(a2=TWO)
    for _ in range(3):
        sale.poll()
    assert sale.reads == 1


def test_a_guest_whose_first_attempt_is_under_way_is_not_reported(sale: Sale) -> None:
    sale.sell(a1=ONE)
    sale.poll()
    set_grants(sale.ledger, EDITION, keys(ONE), "intended")
    assert sale.lines() == []


def test_somebody_marked_as_invited_whom_klaviyo_refuses_is_named_until_the_address_is_corrected(sale: Sale) -> None:
    sale.sell(a1=ONE, a2=TWO, a3=THREE)
    mark_invited(sale.ledger, EDITION, keys(ONE, TWO))
    sale.poll()
    record_holders(sale.ledger, [ONE, TWO, THREE])
    intend_members(sale.ledger, KEY, {**dict.fromkeys(keys(TWO, THREE)), **dict.fromkeys(keys(ONE), "P1")})
    [line] = sale.lines()  # of the third, who is not marked, the campaign says it
    assert line.startswith(f"{KEY}: attendee 2 cannot be mailed by Klaviyo (Klaviyo refused the address)")
    assert sale.lines(is_mailed=False) == [], "mail that is switched off reaches nobody, and that is no alarm"
    record_holders(sale.ledger, [ONE])
    assert sale.lines() == []
