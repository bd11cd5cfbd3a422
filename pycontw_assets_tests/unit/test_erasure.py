"""An erasure is remembered until every place has confirmed it, and its last words are true."""

from __future__ import annotations

import copy
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from pycontw_assets.api.client import Misconfigured, Unavailable
from pycontw_assets.authorize.guest_list import entry
from pycontw_assets.commands.erase import describe_found, last_words
from pycontw_assets.deidentify.holders import holders_of
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.consistency.renaming import rename
from pycontw_assets.ledger.database.tables import erased_attendees
from pycontw_assets.ledger.events import record_purge, register_events
from pycontw_assets.ledger.grants import current_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import reserve_pool_list
from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.ledger.people import entitlements_of, erased_attendees_of, erased_ids, erasure_requests
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.pipeline.erase import PLACES, Erased, Erasure, finish_erasures
from pycontw_assets.pipeline.steps import guest_list_step, load_rows, read_orders
from pycontw_assets.records import EventPartition, Leftovers, OrderSnapshot
from pycontw_assets.send_email.names import ticket_holder_list
from pycontw_assets.send_email.ticket_holders import sync_ticket_holders
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed
from pycontw_assets_tests.fakes.gather import FakeGather
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION, PSEUDONYMIZER, memory_ledger

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"
ANNAS = PSEUDONYMIZER.address(ANNA)
EMAIL = "聯絡人 Email"
HOUR = timedelta(hours=1)
VAULT_KEY = Fernet.generate_key().decode()
RENAMED = EventPartition(PARTITION.event_id, PARTITION.edition, "reserved")
TABLES = attendee_tables(load_policy().columns)


def payload(number: int, address: str, **members: Any) -> dict[str, Any]:
    return {"id": number, "is_paid": True, "state": "activated", "data": [[EMAIL, address]], **members}


@dataclass
class Kktix:
    """Attendees by number, and the numbers that were read."""

    payloads: dict[int, dict[str, Any]] = field(default_factory=dict)
    read: list[int] = field(default_factory=list)

    def fetch_attendees(self, _event_id: int, ids: Any) -> Iterator[tuple[int, Any]]:
        for number in ids:
            self.read.append(number)
            yield number, self.payloads[number]


@dataclass
class Installation:
    """One event with attendees 1 (Anna) and 2 (Ben) that went all the way, with real stores and services in memory."""

    ledger: Ledger
    clock: FakeClock
    warehouse: DuckDBWarehouse
    gather: FakeGather
    klaviyo: FakeKlaviyo
    path: Path
    vault: Vault
    kktix: Kktix = field(default_factory=Kktix)
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))

    @property
    def waits(self) -> WaitPolicy:
        return WaitPolicy(sleep=self.clock.sleep, lock=1)

    @property
    def parts(self) -> dict[str, Any]:
        names = ("gather", "klaviyo", "vault", "warehouse", "ledger", "waits", "settings")
        return {**{name: getattr(self, name) for name in names}, "pseudonymizer": PSEUDONYMIZER}

    def erase(self, address: str = ANNA) -> Erased:
        return Erasure(**self.parts).run(address)

    def tick(self) -> list[str]:
        """Finish erasures as a tick does."""
        self.clock.advance(minutes=1)
        return list(finish_erasures(**self.parts))

    def sell(self, partition: EventPartition, seats: dict[int, str]) -> None:
        self.kktix.payloads |= {number: payload(number, address) for number, address in seats.items()}
        register_events(self.ledger, [partition])
        self.poll(partition)
        self.load(partition)
        holders = holders_of(self.orders(partition), PSEUDONYMIZER)
        step = guest_list_step(
            gather=self.gather,
            ledger=self.ledger,
            pseudonymizer=PSEUDONYMIZER,
            waits=self.waits,
            revoke_limit=None,
            poll_id="poll",
        )
        step.run(partition, holders)
        sync_ticket_holders(
            client=self.klaviyo,
            ledger=self.ledger,
            waits=self.waits,
            exclusive=nullcontext,
            partition=partition,
            holders=holders,
        )

    def poll(self, partition: EventPartition = PARTITION) -> None:
        read_orders(
            partition,
            kktix=self.kktix,
            vault=self.vault,
            ledger=self.ledger,
            pseudonymizer=PSEUDONYMIZER,
            waits=self.waits,
            refresh=HOUR,
            book=BookReading(frozenset(self.kktix.payloads)),
        )

    def load(self, partition: EventPartition = PARTITION) -> None:
        records = self.orders(partition).records.values()
        load_rows(partition, records, warehouse=self.warehouse, ledger=self.ledger, pseudonymizer=PSEUDONYMIZER)

    def orders(self, partition: EventPartition = PARTITION) -> OrderSnapshot:
        return self.vault.read(partition.key) or OrderSnapshot(partition)

    def places_of_anna(self) -> set[str]:
        """Return the places that still know Anna, looked up without the code under test."""
        rows = self.path.read_bytes().count(ANNAS.encode()) if self.path.exists() else 0
        found = {
            "vault": any(ANNA in str(record.attendee.answers) for record in self.orders().records.values()),
            "tables": rows > 0,
            "guest list": ANNA in self.gather.entries,
            "mailing lists": ANNA in self.klaviyo.members(ticket_holder_list(PARTITION)),
        }
        return {place for place, is_there in found.items() if is_there}


def warehouse_in(path: Path, clock: FakeClock) -> DuckDBWarehouse:
    return DuckDBWarehouse(path, clock=clock, patience_seconds=0.05)


@pytest.fixture(scope="module")
def first_sold(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Set up the installation that each test gets a copy of: to sell takes as long as an erasure."""
    path, clock = tmp_path_factory.mktemp("sold") / "warehouse.duckdb", FakeClock()
    vault = Vault(MemoryStore(), [VAULT_KEY])
    klaviyo = FakeKlaviyo(clock)
    one = Installation(memory_ledger(clock), clock, warehouse_in(path, clock), FakeGather(), klaviyo, path, vault)
    one.sell(PARTITION, {1: ANNA, 2: BEN})
    assert one.places_of_anna() == {"vault", "tables", "guest list", "mailing lists"}
    return one


@pytest.fixture
def sold(first_sold: Installation, ledger: Ledger, clock: FakeClock, tmp_path: Path) -> Installation:
    path = tmp_path / "warehouse.duckdb"
    shutil.copy(first_sold.path, path)
    copy_ledger(first_sold.ledger, ledger)
    clock.now = first_sold.clock.now
    same_clock = {id(first_sold.clock): clock}
    parts = (first_sold.gather, first_sold.klaviyo, first_sold.vault, first_sold.kktix)
    gather, klaviyo, vault, kktix = copy.deepcopy(parts, same_clock)
    return Installation(ledger, clock, warehouse_in(path, clock), gather, klaviyo, path, vault, kktix)


def copy_ledger(source: Ledger, target: Ledger) -> None:
    with closing(source.engine.raw_connection()) as old, closing(target.engine.raw_connection()) as new:
        assert isinstance(old.driver_connection, sqlite3.Connection)
        assert isinstance(new.driver_connection, sqlite3.Connection)
        old.driver_connection.backup(new.driver_connection)


@contextmanager
def opened_by_an_analyst(path: Path) -> Iterator[None]:
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as analyst:
        assert analyst.stdout
        analyst.stdout.readline()
        yield
        analyst.communicate()


def test_an_erasure_leaves_no_place_and_no_byte_of_the_row(sold: Installation) -> None:
    result = sold.erase(f" {ANNA.upper()}")
    assert result.problems == []
    assert sold.places_of_anna() == set()
    assert erasure_requests(sold.ledger) == []
    assert len(sold.orders().records) == 1
    rows_of_ben = 2  # of the attendees, and of the editions
    assert sold.path.read_bytes().count(PSEUDONYMIZER.address(BEN).encode()) == rows_of_ben


def test_a_file_held_by_an_analyst_is_named_remembered_and_erased_by_a_later_tick(sold: Installation) -> None:
    with opened_by_an_analyst(sold.path):
        result = sold.erase()
        assert list(result.unfinished) == ["the tables"]
        assert "is it open in another program" in result.unfinished["the tables"]
        assert sold.places_of_anna() == {"tables"}
        words = last_words("a…@example.org", result)
        assert words.startswith(
            "a…@example.org is gone now from the vault, the guest list and the mailing lists; not yet from the tables, "
            "which every poll tries again"
        )
        found = Erasure(**sold.parts).find(ANNA)
        assert not found.is_nothing
        assert any("that is not finished" in line for line in describe_found(found))
        assert list(sold.erase().unfinished) == ["the tables"], "repeated, it is not done either"
        assert sold.tick() == [], "whoever asked for it knows"
        sold.clock.advance(minutes=15)
        [line] = sold.tick()
        assert line.startswith("an erasure of 2031-06-01 02:00 UTC is not finished: the tables: DuckDB could not")
    assert sold.tick() == []
    assert sold.places_of_anna() == set()
    assert erasure_requests(sold.ledger) == []


def test_orders_at_work_elsewhere_are_erased_by_a_later_tick(sold: Installation) -> None:
    with lock(sold.ledger, LockName.ORDERS, PARTITION.key):
        result = sold.erase()
        assert "is at work on it" in result.unfinished["the vault"]
        assert erased_ids(sold.ledger, PARTITION.key) == {1}, "she is not read again from now on"
        sold.tick()
        assert "the vault" in erasure_requests(sold.ledger)[0].places
    assert sold.places_of_anna() == {"vault", "tables", "guest list", "mailing lists"} - {"mailing lists"}
    assert sold.tick() == []
    assert sold.places_of_anna() == set()
    assert entitlements_of(sold.ledger, ANNAS) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "place"),
    [
        (lambda s: s.gather.faults.fail("read", Unavailable("Gather", "read", "is down"), times=9), "the guest list"),
        (lambda s: s.klaviyo.faults.fail("remove_from_list", Unavailable("Klaviyo", "x", "down")), "the mailing lists"),
    ],
)
def test_a_service_that_is_down_is_left_to_a_later_tick(sold: Installation, break_it: Any, place: str) -> None:
    break_it(sold)
    assert list(sold.erase().unfinished) == [place]
    sold.gather.faults.mend()
    assert sold.tick() == []
    assert sold.places_of_anna() == set()


class StubbornGather(FakeGather):
    """It answers "done" and changes nothing."""

    def _overwrite(self, entries: Mapping[str, Any]) -> None:
        """Take no notice."""


@pytest.mark.slow
def test_a_guest_who_still_shows_is_not_called_gone(sold: Installation) -> None:
    sold.gather = StubbornGather(sold.gather.entries)
    assert list(sold.erase().unfinished) == ["the guest list"]
    sold.gather = FakeGather(sold.gather.entries)
    assert sold.tick() == []
    assert sold.places_of_anna() == set()
    assert ANNAS not in current_grants(sold.ledger, PARTITION.edition)


@pytest.mark.slow
def test_an_entry_that_somebody_else_made_is_left_to_a_person(sold: Installation) -> None:
    sold.erase()
    sold.gather.entries[ANNA] = {**entry(), "affiliation": "Speaker"}
    result = sold.erase()
    assert result.problems == []
    assert "remove the entry in Gather that somebody else made" in last_words("a…", result)


@pytest.mark.slow
def test_a_dry_run_leaves_the_lists_to_a_real_poll(sold: Installation) -> None:
    real = sold.settings
    sold.settings = real.model_copy(update={"pycontw_dry_run": True})
    assert list(sold.erase().unfinished) == ["the guest list", "the mailing lists"]
    assert sold.tick() == []
    assert sold.places_of_anna() == {"guest list", "mailing lists"}
    sold.settings = real
    assert sold.tick() == []
    assert sold.places_of_anna() == set()


@pytest.mark.slow
def test_an_event_whose_orders_cannot_be_read_holds_up_no_other(sold: Installation) -> None:
    sold.sell(OTHER_PARTITION, {1: ANNA, 2: BEN})
    store: MemoryStore = sold.vault._store  # type: ignore[assignment]
    name = f"{OTHER_PARTITION.key}.orders"
    kept, store.objects[name] = store.objects[name], b"damaged"
    assert OTHER_PARTITION.key in sold.erase().unfinished["the vault"]
    assert sold.places_of_anna() == {"tables", "guest list"}
    store.objects[name] = kept
    assert sold.tick() == []
    assert sold.places_of_anna() == set()
    assert len(sold.orders(OTHER_PARTITION).records) == 1


@pytest.mark.slow
def test_rows_of_an_event_whose_orders_left_the_vault_go_too(sold: Installation) -> None:
    sold.vault.write(OrderSnapshot(PARTITION, rebuilding=True, generation=sold.orders().generation))
    record_purge(sold.ledger, PARTITION.key)
    found = Erasure(**sold.parts).find(ANNA)
    assert found.rows == 2, "of the attendees, and of attendee_editions"
    assert sold.erase().problems == []
    assert sold.places_of_anna() == set()
    assert sold.warehouse.partition_rows(TABLES["individual"], PARTITION.key) == 1


@pytest.mark.slow
def test_who_buys_again_before_the_erasure_is_finished_is_a_new_buyer(sold: Installation) -> None:
    with opened_by_an_analyst(sold.path):
        sold.erase()
        sold.clock.advance(minutes=1)
        sold.kktix.payloads[3] = payload(3, ANNA)
        sold.poll()
    assert sold.tick() == []
    assert set(sold.orders().records) == {2, 3}
    sold.load()
    assert list(sold.warehouse.read(TABLES["individual"])["attendee_id"]) == [2, 3]


# -- whose ticket it is -------------------------------------------------------------------------------


def test_an_erased_person_is_looked_at_and_never_kept(sold: Installation) -> None:
    sold.erase()
    for _ in range(30):
        sold.clock.advance(hours=1)
        sold.poll()
    assert set(sold.orders().records) == {2}
    assert 5 <= sold.kktix.read.count(1) <= 12, "as rarely as any other ticket"


def test_an_erased_ticket_of_somebody_else_is_read_again(sold: Installation) -> None:
    sold.erase()
    sold.kktix.payloads[1] = payload(1, CARA)
    sold.clock.advance(hours=1)
    sold.poll()
    assert set(sold.orders().records) == {1, 2}
    assert set(holders_of(sold.orders(), PSEUDONYMIZER)) == {PSEUDONYMIZER.address(a) for a in (BEN, CARA)}
    assert erased_ids(sold.ledger, PARTITION.key) == frozenset()


@pytest.mark.slow
@pytest.mark.parametrize("answer", [payload(1, ""), payload(1, "nobody"), {"id": 1}, payload(1, f" {ANNA.upper()}")])
def test_in_doubt_a_ticket_stays_erased(sold: Installation, answer: dict[str, Any]) -> None:
    sold.erase()
    sold.kktix.payloads[1] = answer
    sold.clock.advance(hours=1)
    sold.poll()
    assert set(sold.orders().records) == {2}
    assert erased_ids(sold.ledger, PARTITION.key) == {1}


@pytest.mark.slow
def test_an_erasure_of_an_older_version_learns_whose_ticket_it_is(sold: Installation) -> None:
    """It noted numbers only. The first look notes the owner, and a later transfer is seen."""
    sold.erase()
    with sold.ledger.engine.begin() as db:
        db.exec_driver_sql("UPDATE erased_attendees SET address_key = NULL, erased_at = NULL, checked_at = NULL")
    sold.poll()
    assert set(sold.orders().records) == {2}
    sold.kktix.payloads[1] = payload(1, CARA)
    sold.clock.advance(hours=1)
    sold.poll()
    assert set(sold.orders().records) == {1, 2}


def test_an_erased_person_under_an_older_pseudonym_stays_erased(sold: Installation) -> None:
    """Her orders were gone when the normal form changed, so the ledger could not know her by today's pseudonym."""
    odd = "An\u200bna@example.org"
    [old, *_] = [key for key in PSEUDONYMIZER.former_keys(odd) if key != ANNAS]
    sold.erase()
    with sold.ledger.engine.begin() as db:
        db.execute(sa.update(erased_attendees).values(address_key=old))
    sold.kktix.payloads[1] = payload(1, odd)
    for _ in range(3):
        sold.clock.advance(hours=1)
        sold.poll()
    assert set(sold.orders().records) == {2}
    assert erased_attendees_of(sold.ledger, PARTITION.key)[0].address_key == ANNAS
    sold.kktix.payloads[1] = payload(1, CARA)
    sold.clock.advance(days=1)
    sold.poll()
    assert set(sold.orders().records) == {1, 2}


def test_after_a_renaming_an_erased_ticket_is_still_whose_it_was(sold: Installation) -> None:
    sold.erase()
    rename(sold.ledger, PARTITION, RENAMED, list_names=("old", "new"))
    for _ in range(2):
        sold.clock.advance(hours=1)
        sold.poll(RENAMED)
    assert set(sold.orders(RENAMED).records) == {2}
    sold.kktix.payloads[1] = payload(1, CARA)
    sold.clock.advance(days=1)
    sold.poll(RENAMED)
    assert set(sold.orders(RENAMED).records) == {1, 2}
    assert ANNAS not in holders_of(sold.orders(RENAMED), PSEUDONYMIZER)


def test_orders_that_a_renaming_left_under_the_old_key_are_erased_too(sold: Installation) -> None:
    """The ledger has moved, and no load has emptied the old copy yet."""
    sold.vault.write(replace(sold.orders(), partition=RENAMED, generation=0))
    rename(sold.ledger, PARTITION, RENAMED, list_names=("old", "new"))
    assert sold.erase().problems == []
    assert sold.orders(PARTITION).records == {}
    assert set(sold.orders(RENAMED).records) == {2}


# -- the last words -----------------------------------------------------------------------------------


def test_the_last_words_say_what_goes_when_and_what_is_left_to_a_person(sold: Installation) -> None:
    sold.warehouse.leftovers = Leftovers("tables: kept a while", goes="the warehouse drops them after 14 days")
    result = sold.erase()
    [profile] = sorted(result.profiles)
    assert last_words("a…@example.org", result) == (
        "a…@example.org is gone now from the vault, the tables, the guest list and the mailing lists; the warehouse "
        "drops them after 14 days; your own backups go when they expire; you have to delete the profile "
        f"{profile} in Klaviyo and ask KKTIX to delete the order."
    )


def test_the_last_words_never_claim_what_is_not_gone() -> None:
    nothing = Erased(unfinished=dict.fromkeys(PLACES, "down"))
    assert last_words("a…", nothing) == (
        "a… is gone from nowhere yet; not yet from the vault, the tables, the guest list and the mailing lists, which "
        "every poll tries again, with an alarm if it lasts."
    )


@pytest.mark.slow
def test_forms_of_others_that_name_the_person_are_left_to_a_person(sold: Installation) -> None:
    sold.kktix.payloads[4] = payload(4, CARA, data=[[EMAIL, CARA], ["同行者", ANNA]])
    sold.poll()
    assert "correct the forms of attendees 4 in KKTIX" in last_words("a…", sold.erase())


# -- in Klaviyo ---------------------------------------------------------------------------------------


def deleting(installation: Installation) -> Installation:
    """Let ``erase`` delete profiles."""
    installation.settings = installation.settings.model_copy(update={"klaviyo_delete_profiles": True})
    return installation


def profiles_of(installation: Installation, address: str) -> set[str]:
    """Return the profiles that Klaviyo shows, looked up without the code under test."""
    klaviyo = installation.klaviyo
    return {i for i, spelled in klaviyo.addresses.items() if spelled == address} - klaviyo.deletions.keys()


def test_without_the_setting_the_profile_stays_and_its_way_out_is_named(sold: Installation) -> None:
    result = sold.erase()
    assert profiles_of(sold, ANNA)
    assert not sold.klaviyo.calls["delete_profile"]
    assert any("KLAVIYO_DELETE_PROFILES=1" in line and "data-privacy:write" in line for line in result.remains)
    assert "you have to delete the profile" in last_words("a…", result)


def test_with_the_setting_the_profile_is_deleted_and_nobody_elses(sold: Installation) -> None:
    result = deleting(sold).erase()
    assert result.problems == []
    assert not profiles_of(sold, ANNA)
    assert profiles_of(sold, BEN)
    words = last_words("a…", result)
    assert "the mailing lists and Klaviyo's profiles" in words
    assert "delete the profile" not in words
    assert erasure_requests(sold.ledger) == []


@pytest.mark.slow
def test_a_profile_is_deleted_afterwards_by_erasing_again(sold: Installation) -> None:
    sold.erase()
    deleting(sold).erase()
    assert not profiles_of(sold, ANNA)


def test_a_deletion_that_takes_long_is_confirmed_by_a_later_tick(sold: Installation) -> None:
    sold.klaviyo.deletion_lag = 10_000
    assert list(deleting(sold).erase().unfinished) == ["Klaviyo's profiles"]
    assert erasure_requests(sold.ledger)[0].places == {"Klaviyo's profiles"}
    sold.klaviyo.deletions = dict.fromkeys(sold.klaviyo.deletions, 0)
    assert sold.tick() == []
    assert erasure_requests(sold.ledger) == []


@pytest.mark.slow
def test_a_profile_known_by_the_lists_only_is_deleted_by_a_later_tick(sold: Installation) -> None:
    """The ticket-holder list forgets her before the profile goes, and the ledger knows no address."""
    sold.klaviyo.faults.fail("delete_profile", Unavailable("Klaviyo", "delete profile", "answered 503"))
    assert list(deleting(sold).erase().unfinished) == ["Klaviyo's profiles"]
    assert profiles_of(sold, ANNA)
    assert sold.tick() == []
    assert not profiles_of(sold, ANNA)


@pytest.mark.slow
def test_a_key_without_the_scope_is_told_from_a_service_that_is_down(sold: Installation) -> None:
    refusal = Misconfigured("Klaviyo", "delete profile", "answered 403", status=403)
    sold.klaviyo.faults.fail("delete_profile", refusal, times=9)
    [reason] = deleting(sold).erase().unfinished.values()
    assert "data-privacy:write" in reason


@pytest.mark.slow
def test_the_setting_taken_back_leaves_a_way_out(sold: Installation) -> None:
    sold.klaviyo.deletion_lag = 10_000
    deleting(sold).erase()
    sold.settings = sold.settings.model_copy(update={"klaviyo_delete_profiles": False})
    sold.clock.advance(hours=1)
    [line] = sold.tick()
    assert "KLAVIYO_DELETE_PROFILES is not set any more" in line
    assert sold.erase().problems == []
    assert sold.tick() == []


def test_whoever_buys_again_keeps_the_profile(sold: Installation) -> None:
    sold.klaviyo.faults.fail("delete_profile", Unavailable("Klaviyo", "delete profile", "answered 503"))
    deleting(sold).erase()
    sold.clock.advance(minutes=1)
    sold.kktix.payloads[3] = payload(3, ANNA)
    sold.poll()
    assert sold.tick() == []
    assert profiles_of(sold, ANNA)


def test_she_leaves_the_lists_of_batches_too(sold: Installation) -> None:
    [name] = [x.name for x in sold.klaviyo.lists.values()]
    [hers] = profiles_of(sold, ANNA)
    batch_list = sold.klaviyo.create_list("pycontw-2031-invitations-01").list_id
    sold.klaviyo.add_to_list(batch_list, [hers, *profiles_of(sold, BEN)])
    reserve_pool_list(sold.ledger, "batch", ["pycontw-2031-invitations-01"], sold.clock.now)
    record_remote_id(sold.ledger, "list", "pycontw-2031-invitations-01", batch_list)
    result = sold.erase()
    assert sold.klaviyo.members("pycontw-2031-invitations-01") == {BEN}
    assert sold.klaviyo.members(name) == {BEN}
    assert "off the lists of batches in Klaviyo (1)" in result.done


def test_killed_at_any_moment_her_profile_goes_all_the_same(sold: Installation) -> None:
    """Vault, tables and guest list are done. Every tick gets one call further, and dies."""
    sold.klaviyo.faults.fail("list_member_ids", Unavailable("Klaviyo", "read members", "answered 503"))
    assert list(deleting(sold).erase().unfinished) == ["the mailing lists", "Klaviyo's profiles"]
    real, moment, is_over = sold.klaviyo, 0, False
    while not is_over:
        sold.klaviyo = Fused(real, Fuse(moment))  # type: ignore[assignment]
        try:
            sold.tick()
            is_over = True
        except Killed:
            moment += 1
        finally:
            sold.klaviyo = real
    assert moment >= 6
    assert not profiles_of(sold, ANNA)
    assert sold.places_of_anna() == set()
    assert erasure_requests(sold.ledger) == []
