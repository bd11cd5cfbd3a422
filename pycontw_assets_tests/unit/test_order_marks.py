"""Vault and ledger tell whether they are of the same time. A crash between their writes is no disagreement."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from pycontw_assets.ledger.batches import Batch, claim_batch, update_batch
from pycontw_assets.ledger.consistency.marks import KnownOrders, known_orders, record_orders
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import remember_erased
from pycontw_assets.ledger.restoration import begin, doubt, end_doubt, is_doubted
from pycontw_assets.pipeline.consistency.orders import AgreedOrders, OlderVault, compare
from pycontw_assets.records import Attendee, AttendeeRecord, OrderSnapshot
from pycontw_assets.send_email import names
from pycontw_assets.send_email.rebuild_from_klaviyo import count_unknown_campaigns
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import PARTITION, memory_ledger
from pycontw_assets_tests.unit.test_rebuild import campaign

KEY, EDITION = PARTITION.key, PARTITION.edition


def orders(mark: str | None, generation: int = 7) -> OrderSnapshot:
    return OrderSnapshot(PARTITION, mark=mark, generation=generation)


@pytest.mark.parametrize(
    ("known", "stored", "verdict"),
    [
        (None, orders(None), "same time"),  # both of an older version
        (None, orders("a"), "older ledger"),
        (KnownOrders("a", 7), orders("a"), "same time"),
        (KnownOrders("a", 6, "b"), orders("b"), "same time"),  # a crash after the write
        (KnownOrders("a", 7, "b"), orders("a"), "same time"),  # a crash before it
        (KnownOrders(None, 7, "b"), orders(None), "same time"),  # the first write of this version was cut off
        (KnownOrders("c", 9), orders("a"), "older vault"),
        (KnownOrders("c", 9), orders(None), "older vault"),  # a backup of an older version
        (KnownOrders("c", 7), orders("a"), "older vault"),  # as many writes, but others
        (KnownOrders("a", 5), orders("c"), "older ledger"),
        (KnownOrders("a", 5, "b"), orders("c"), "older ledger"),  # a backup taken in the middle of a poll
        (KnownOrders("a", 7, must_reread=True), orders("a"), "read again"),
    ],
)
def test_marks_tell_which_of_the_two_is_older(known: KnownOrders | None, stored: OrderSnapshot, verdict: str) -> None:
    assert compare(known, stored) == verdict


def record(number: int, *, is_gone: bool = False) -> AttendeeRecord:
    now = FakeClock()()
    attendee = Attendee(attendee_id=number, is_paid=True, state="activated", answers=())
    return AttendeeRecord(attendee, first_seen_at=now, gone_at=now if is_gone else None)


class Stores:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.vault = Vault(self.store, [Fernet.generate_key().decode()])
        self.ledger = memory_ledger(FakeClock())

    def orders(self, **options: bool) -> AgreedOrders:
        return AgreedOrders(self.vault, self.ledger, **options)

    def write(self, *records: AttendeeRecord) -> None:
        """Do what a poll does: read, then write."""
        made = self.orders()
        before = made.read(KEY) or OrderSnapshot(PARTITION)
        found = {item.attendee.attendee_id: item for item in records}
        made.write(OrderSnapshot(PARTITION, found, generation=before.generation, mark=before.mark))


def test_a_crash_anywhere_in_a_write_heals_by_itself() -> None:
    blows_at, was_killed = 0, True
    while was_killed:
        made, was_killed = Stores(), False
        made.write(record(1))
        fuse = Fuse(blows_at)
        ledger, vault = fused_ledger(made.ledger, fuse), Fused(made.vault, fuse)
        try:
            for number in (2, 3):  # a long poll writes several times
                dying = AgreedOrders(vault, ledger)
                stored = dying.read(KEY)
                assert stored is not None
                dying.write(OrderSnapshot(PARTITION, {number: record(number)}, generation=stored.generation))
        except Killed:
            was_killed = True
        assert made.orders().read(KEY) is not None
        made.write(record(4))
        made.write(record(5))
        blows_at += 1
    assert blows_at > 20


def test_an_older_vault_is_refused_and_started_over_by_an_override() -> None:
    made = Stores()
    made.write(record(1), record(2, is_gone=True))
    backup = dict(made.store.objects)
    made.write(record(1), record(3))
    made.store.objects = backup
    for read in (made.orders().read, made.orders(is_reading=True).read, made.orders().stream):
        with pytest.raises(OlderVault, match="poll --allow re-read"):
            read(KEY)
    restarted = made.orders(may_start_over=True)
    stored = restarted.read(KEY)
    assert stored is not None
    assert (set(stored.records), stored.rebuilding) == ({2}, True), "only who left for good is still known"
    with pytest.raises(OlderVault):
        made.orders().read(KEY)
    restarted.write(stored)
    assert made.orders().read(KEY) is not None


def test_orders_that_are_started_over_keep_the_numbers_to_ask_for_but_those_of_erased_people() -> None:
    made = Stores()
    made.write(record(1), record(2, is_gone=True), record(3))
    backup = dict(made.store.objects)
    made.write(record(1))
    made.store.objects = backup
    remember_erased(made.ledger, KEY, [3], "somebody")
    stored = made.orders(may_start_over=True).read(KEY)
    assert stored is not None
    assert set(stored.quarantine) == {1}


def test_an_older_ledger_is_refused_and_its_edition_doubted() -> None:
    made = Stores()
    made.write(record(1))
    known = known_orders(made.ledger, KEY)
    assert known is not None
    made.write(record(2))
    newer = known_orders(made.ledger, KEY)
    record_orders(made.ledger, KEY, known)
    with pytest.raises(LedgerError, match="rebuild-ledger"):
        made.orders(may_start_over=True).read(KEY)
    assert is_doubted(made.ledger, EDITION)
    assert newer is not None
    record_orders(made.ledger, KEY, newer)
    assert made.orders().read(KEY) is not None


def test_a_rebuilt_ledger_reads_again_and_stays_so_through_a_crash() -> None:
    made = Stores()
    made.write(record(1))
    record_orders(made.ledger, KEY, KnownOrders(must_reread=True))
    with pytest.raises(OlderVault, match="read again"):
        made.orders().read(KEY)
    reading = made.orders(is_reading=True)
    stored = reading.read(KEY)
    assert stored is not None
    assert (stored.records, stored.rebuilding) == ({}, True)
    fused = Fused(made.vault, Fuse(2))
    dying = AgreedOrders(fused, made.ledger, is_reading=True)
    dying.read(KEY)
    with pytest.raises(Killed):
        dying.write(stored)
    with pytest.raises(OlderVault, match="read again"):
        made.orders().read(KEY)


def test_a_doubt_ends_and_keeps_the_beginning(ledger: Ledger) -> None:
    begin(ledger, EDITION)
    assert not is_doubted(ledger, EDITION)
    doubt(ledger, EDITION)
    assert is_doubted(ledger, EDITION)
    end_doubt(ledger, EDITION)
    assert not is_doubted(ledger, EDITION)


# -- campaigns ----------------------------------------------------------------------------------------


class Campaigns:
    """The campaigns of an account, the newest first. ``read``: how many of them were asked for."""

    def __init__(self, *campaigns: tuple[str, str]) -> None:
        self.campaigns = campaigns
        self.read = 0

    def latest_campaigns(self, name_contains: str, *, archived: bool = False):  # type: ignore[no-untyped-def]
        for number, (name, status) in enumerate(() if archived else self.campaigns):
            self.read += 1
            yield campaign(status, name, campaign_id=f"C{number}")


def name(batch_key: str) -> str:
    return names.campaign(EDITION, FakeClock()(), batch_key)


def make_batch(ledger: Ledger, batch_key: str, *, is_intended: bool = True) -> None:
    now = FakeClock()()
    claim_batch(ledger, Batch(batch_key, EDITION, KEY, "poll", "open", name(batch_key), now), {})
    if is_intended:
        update_batch(ledger, batch_key, campaign_intended_at=now)


A, B, C = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"


@pytest.mark.parametrize(
    ("campaigns", "unknown"),
    [
        ([], 0),
        ([(name(A), "Sent")], 0),
        ([(name(C), "Sent"), (name(A), "Sent")], 1),
        ([(name(A), "Sent"), (name(C), "Sending")], 1),
        ([(name(C), "Draft")], 0),  # nobody was mailed
        ([(f"{name(C)} (clone)", "Sent")], 0),  # a person made it
        ([(name(B), "Sent")], 1),  # the ledger has the batch, and had not come to its campaign
        ([(name(C), "Cancelled: Billing Limit")], 1),
    ],
)
def test_campaigns_that_the_ledger_did_not_make_are_counted(
    ledger: Ledger, campaigns: list[tuple[str, str]], unknown: int
) -> None:
    make_batch(ledger, A)
    make_batch(ledger, B, is_intended=False)
    account = Campaigns(*campaigns)
    assert count_unknown_campaigns(account, ledger, EDITION) == unknown  # type: ignore[arg-type]


def test_a_page_is_read_whatever_the_number_of_campaigns(ledger: Ledger) -> None:
    make_batch(ledger, A)
    account = Campaigns((name(A), "Sent"), *[(name(C), "Sent")] * 500)
    count_unknown_campaigns(account, ledger, EDITION)  # type: ignore[arg-type]
    assert account.read == 100
