"""An event recorded under a wrong key moves whole. Nobody is invited again by it, and a crash leaves it whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from dagster import DagsterInstance

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.ledger.batches import Batch, accept_batch, claim_batch, find_newcomers, get_batch, invitations_in
from pycontw_assets.ledger.consistency.renaming import expect_key, other_keys, rename
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import invitations, locks, metadata
from pycontw_assets.ledger.events import known_events, record_purge, register_events
from pycontw_assets.ledger.grants import current_grants, intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import remember_erased
from pycontw_assets.ledger.polls import last_poll, record_load, recorded_holders
from pycontw_assets.ledger.remote_ids import record_remote_id, remembered_id
from pycontw_assets.ledger.restoration import mark_invited
from pycontw_assets.load.readers.view import DuckDBDialect, View
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import check_frame
from pycontw_assets.orchestration.observations import forget_partition
from pycontw_assets.pipeline.consistency.renaming import Renaming, partition_named
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings, Settings
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import (
    OTHER_PARTITION,
    PARTITION,
    PSEUDONYMIZER,
    HoldTickets,
    keys,
    memory_ledger,
    record_holders,
)

if TYPE_CHECKING:
    import pandas as pd

WRONG_FAMILY = PARTITION
RIGHT_FAMILY = EventPartition(PARTITION.event_id, "2031", "corporate")
WRONG_YEAR = EventPartition(PARTITION.event_id, "2032", "individual")
ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"
LISTS = ("old list", "new list")


def key_of(address: str) -> str:
    [key] = keys(address)
    return key


def invite(ledger: Ledger, partition: EventPartition, address: str, *, period: int = 1, is_sent: bool = True) -> str:
    """Let somebody in, and invite them in a batch of their own; return its key."""
    intend_grants(ledger, partition.edition, partition.key, [key_of(address)], added_by_us=True, state="granted")
    batch_key = f"{partition.edition}-{address[:4]}-{period}"
    batch = Batch(batch_key, partition.edition, partition.key, "poll", "open", f"campaign {batch_key}", FakeClock()())
    claim_batch(ledger, batch, {key_of(address): period})
    if is_sent:
        accept_batch(ledger, batch_key)
    return batch_key


def invited(ledger: Ledger, edition: str) -> dict[str, list[tuple[int, str]]]:
    """Return period and state of every invitation of the edition, by address."""
    names = {key_of(address): address for address in (ANNA, BEN, CARA)}
    found: dict[str, list[tuple[int, str]]] = {}
    with ledger.engine.begin() as db:
        for row in db.execute(sa.select(invitations).where(invitations.c.edition == edition)):
            found.setdefault(names[row.address_key], []).append((row.period, row.state))
    return {address: sorted(items) for address, items in found.items()}


# -- the ledger ---------------------------------------------------------------------------------------


def test_every_fact_of_an_event_moves_to_the_right_family(ledger: Ledger, hold_tickets: HoldTickets) -> None:
    register_events(ledger, [WRONG_FAMILY])
    hold_tickets([ANNA, BEN])
    record_load(ledger, WRONG_FAMILY.key, "loaded")
    remember_erased(ledger, WRONG_FAMILY.key, [7], key_of(ANNA))
    record_remote_id(ledger, "list", LISTS[0], "L1")
    batch_key = invite(ledger, WRONG_FAMILY, ANNA)
    rename(ledger, WRONG_FAMILY, RIGHT_FAMILY, list_names=LISTS)
    assert known_events(ledger) == {PARTITION.event_id: RIGHT_FAMILY}
    assert recorded_holders(ledger, RIGHT_FAMILY.key) == keys(ANNA, BEN)
    poll = last_poll(ledger, RIGHT_FAMILY.key)
    assert poll is not None
    assert (poll.content_digest, poll.loaded_digest) == ("content", None), "its table is due"
    assert get_batch(ledger, batch_key).partition_key == RIGHT_FAMILY.key
    assert {grant.partition_key for grant in current_grants(ledger, "2031").values()} == {RIGHT_FAMILY.key}
    assert find_newcomers(ledger, RIGHT_FAMILY.key, "2031") == {}, "who was invited stays so"
    assert (remembered_id(ledger, "list", LISTS[1]), remembered_id(ledger, "list", LISTS[0])) == ("L1", None)
    assert other_keys(ledger, PARTITION.event_id) == {WRONG_FAMILY.key}
    assert not list(mentions(ledger, WRONG_FAMILY.key))


def mentions(ledger: Ledger, key: str) -> list[str]:
    """Return the tables with a row under the key, but for the one that remembers it."""
    with ledger.engine.begin() as db:
        return [
            table.name
            for table in metadata.sorted_tables
            if "partition_key" in table.c and table.name not in ("former_keys", "locks")
            if db.execute(sa.select(table).where(table.c.partition_key == key)).first()
        ]


def test_people_mailed_under_a_wrong_year_count_as_invited_under_the_right_one(
    ledger: Ledger, hold_tickets: HoldTickets
) -> None:
    register_events(ledger, [WRONG_YEAR])
    hold_tickets([ANNA, BEN, CARA], WRONG_YEAR)
    invite(ledger, WRONG_YEAR, ANNA)
    intend_grants(ledger, "2032", WRONG_YEAR.key, keys(BEN), added_by_us=True, state="granted")
    rename(ledger, WRONG_YEAR, PARTITION, list_names=LISTS)
    assert invited(ledger, "2031") == {ANNA: [(1, "accepted")]}
    assert find_newcomers(ledger, PARTITION.key, "2031") == {key_of(BEN): 1}
    assert set(current_grants(ledger, "2031")) == keys(ANNA, BEN)
    assert current_grants(ledger, "2032") == {}, "next year they are new"
    assert invited(ledger, "2032") == {}


@pytest.mark.parametrize("is_revoked", [False, True])
def test_who_has_access_periods_in_both_years_is_invited_once_more_only_after_a_refund(
    ledger: Ledger, hold_tickets: HoldTickets, is_revoked: bool
) -> None:
    register_events(ledger, [WRONG_YEAR, OTHER_PARTITION])
    hold_tickets([ANNA, BEN], WRONG_YEAR)
    invite(ledger, WRONG_YEAR, ANNA)
    intend_grants(ledger, "2032", WRONG_YEAR.key, keys(BEN), added_by_us=True, state="granted")
    invite(ledger, OTHER_PARTITION, BEN)
    invite(ledger, OTHER_PARTITION, ANNA)
    if is_revoked:
        set_grants(ledger, "2031", keys(ANNA, BEN), "revoked")
    rename(ledger, WRONG_YEAR, PARTITION, list_names=LISTS)
    newcomers = find_newcomers(ledger, PARTITION.key, "2031")
    assert newcomers == ({key_of(BEN): 2} if is_revoked else {}), "Anna's second period has the mail of the other year"
    assert len(current_grants(ledger, "2031")) == 2


def test_who_holds_a_ticket_of_the_other_year_elsewhere_is_known_in_both(
    ledger: Ledger, hold_tickets: HoldTickets
) -> None:
    genuine = EventPartition(90007, "2032", "reserved")
    register_events(ledger, [WRONG_YEAR, genuine])
    hold_tickets([ANNA, BEN], WRONG_YEAR)
    hold_tickets([ANNA, BEN], genuine)
    invite(ledger, WRONG_YEAR, ANNA)
    unsent = invite(ledger, WRONG_YEAR, BEN, is_sent=False)
    rename(ledger, WRONG_YEAR, PARTITION, list_names=LISTS)
    assert invited(ledger, "2032") == {ANNA: [(1, "accepted")]}
    assert invited(ledger, "2031") == {ANNA: [(1, "marked")], BEN: [(1, "claimed")]}
    assert [item.period for item in invitations_in(ledger, unsent)] == [1], "its campaign goes on in the right year"
    assert find_newcomers(ledger, genuine.key, "2032") == {key_of(BEN): 1}
    assert {grant.partition_key for grant in current_grants(ledger, "2032").values()} == {genuine.key}


def test_people_marked_before_they_held_a_ticket_stay_marked(ledger: Ledger, hold_tickets: HoldTickets) -> None:
    register_events(ledger, [WRONG_YEAR])
    mark_invited(ledger, "2032", keys(ANNA))
    hold_tickets([ANNA], WRONG_YEAR)
    rename(ledger, WRONG_YEAR, PARTITION, list_names=LISTS)
    intend_grants(ledger, "2031", PARTITION.key, keys(ANNA), added_by_us=True, state="granted")
    assert find_newcomers(ledger, PARTITION.key, "2031") == {}


# -- vault, ledger and tables -------------------------------------------------------------------------


class Tables:
    """A warehouse that only counts rows."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], int] = {}

    def replace_partition(self, table: Table, partition_key: str, frame: pd.DataFrame, *, digest: str) -> str:
        check_frame(table, partition_key, frame)
        self.rows[table.name, partition_key] = len(frame)
        return "written"

    def partition_rows(self, table: Table, partition_key: str) -> int:
        return self.rows.get((table.name, partition_key), 0)

    def select(self, statement: str, *parameters: str, sources: Sequence[Table]) -> list[tuple[str, ...]]:
        return []

    dialect = DuckDBDialect("ods")

    def put_view(self, view: View) -> None:
        """Have no view: nobody reads it here."""

    def state(self, table: Table, *, is_waiting: bool = True) -> str:
        return str(sorted(self.rows.items())) if is_waiting or self.rows else ""


class Installation:
    """An event with orders, rows and a recorded poll, and a renaming of it."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.store = MemoryStore()
        self.vault = Vault(self.store, [Fernet.generate_key().decode()])
        self.warehouse = Tables()
        self.ledger = memory_ledger(clock)
        register_events(self.ledger, [WRONG_FAMILY, OTHER_PARTITION])
        record_holders(self.ledger, [ANNA], WRONG_FAMILY)
        attendee = Attendee(attendee_id=7, is_paid=True, state="activated", answers=(("Email", ANNA),))
        record = AttendeeRecord(attendee, first_seen_at=clock())
        self.vault.write(OrderSnapshot(WRONG_FAMILY, {7: record}))
        self.renaming().run(WRONG_FAMILY.key, WRONG_FAMILY)  # loads its rows

    def renaming(self, fuse: Fuse | None = None) -> Renaming:
        burning: Any = (lambda target: Fused(target, fuse)) if fuse else (lambda target: target)
        made: dict[str, Any] = {
            "vault": burning(self.vault),
            "warehouse": burning(self.warehouse),
            "ledger": fused_ledger(self.ledger, fuse) if fuse else self.ledger,
            "pseudonymizer": PSEUDONYMIZER,
            "waits": WaitPolicy(sleep=lambda seconds: None),
            "settings": Settings(_env_file=None),
        }
        return Renaming(**made)

    def rows(self, partition: EventPartition) -> int:
        table = attendee_tables(load_policy().columns)[partition.family]
        return self.warehouse.partition_rows(table, partition.key)

    def attendees(self, partition: EventPartition) -> int:
        snapshot = self.vault.read(partition.key)
        return len(snapshot.records) if snapshot else 0


def test_orders_rows_and_ledger_move_together() -> None:
    made = Installation()
    assert (made.rows(WRONG_FAMILY), made.attendees(WRONG_FAMILY)) == (1, 1)
    renamed = made.renaming().run(str(PARTITION.event_id), RIGHT_FAMILY)
    assert (renamed.before, renamed.key, renamed.rows) == (WRONG_FAMILY.key, RIGHT_FAMILY.key, 1)
    check_moved(made)
    assert made.renaming().run(RIGHT_FAMILY.key, RIGHT_FAMILY).rows == 1, "it may be repeated"
    assert made.renaming().run(RIGHT_FAMILY.key, WRONG_FAMILY).rows == 1, "and taken back"
    assert (made.rows(RIGHT_FAMILY), made.attendees(RIGHT_FAMILY)) == (0, 0)


def check_moved(made: Installation) -> None:
    assert known_events(made.ledger)[PARTITION.event_id] == RIGHT_FAMILY
    assert (made.rows(RIGHT_FAMILY), made.attendees(RIGHT_FAMILY)) == (1, 1)
    assert (made.rows(WRONG_FAMILY), made.attendees(WRONG_FAMILY)) == (0, 0)
    assert other_keys(made.ledger, PARTITION.event_id) == set()


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_crash_at_any_point_is_ended_by_running_it_again(step: int) -> None:
    blows_at, was_killed = 0, True
    while was_killed:
        made, was_killed = Installation(), False
        try:
            made.renaming(Fuse(blows_at)).run(WRONG_FAMILY.key, RIGHT_FAMILY)
        except Killed:
            was_killed = True
        with made.ledger.engine.begin() as db:
            db.execute(sa.delete(locks))  # a dead process holds none
        key = known_events(made.ledger)[PARTITION.event_id]
        assert made.attendees(key) == 1, "the orders are under the recorded key"
        made.renaming().run(str(PARTITION.event_id), RIGHT_FAMILY)
        check_moved(made)
        blows_at += step
    assert blows_at > 50


def test_an_abandoned_attempt_leaves_no_orders_under_the_other_key() -> None:
    """The next load of the event clears them."""
    made = Installation()
    expect_key(made.ledger, RIGHT_FAMILY)
    stored = made.vault.read(WRONG_FAMILY.key)
    assert stored is not None
    made.vault.write(OrderSnapshot(RIGHT_FAMILY, stored.records))
    made.renaming().clear_other_keys(WRONG_FAMILY)
    assert (made.attendees(WRONG_FAMILY), made.attendees(RIGHT_FAMILY)) == (1, 0)
    assert made.rows(WRONG_FAMILY) == 1


@pytest.mark.parametrize(
    ("event", "new", "reason"),
    [
        ("90009", EventPartition(90009, "2031", "corporate"), "no event is recorded"),
        (OTHER_PARTITION.key, RIGHT_FAMILY, "NEW_KEY has another number"),
        ("2030-individual-90001", RIGHT_FAMILY, "no event is recorded"),
    ],
)
def test_an_event_that_is_not_recorded_so_is_not_renamed(event: str, new: EventPartition, reason: str) -> None:
    made = Installation()
    with pytest.raises(LedgerError, match=f"{reason}.*nothing was changed"):
        made.renaming().run(event, new)
    assert made.rows(WRONG_FAMILY) == made.attendees(WRONG_FAMILY) == 1


def test_an_event_without_its_orders_is_not_renamed() -> None:
    """Its rows cannot be made again under the new key."""
    made = Installation()
    record_purge(made.ledger, WRONG_FAMILY.key)
    with pytest.raises(LedgerError, match="its orders left the vault"):
        made.renaming().run(WRONG_FAMILY.key, RIGHT_FAMILY)
    made = Installation()
    made.store.objects.clear()
    with pytest.raises(LedgerError, match="not all in the vault"):
        made.renaming().run(WRONG_FAMILY.key, RIGHT_FAMILY)
    assert made.rows(WRONG_FAMILY) == 1


@pytest.mark.parametrize("text", ["90001", "2031-speakers-90001", "1931-individual-90001", "2031-individual-9x", ""])
def test_a_key_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="NEW_KEY"):
        partition_named(text)


def test_dagster_forgets_the_keys_that_the_event_had_before() -> None:
    with DagsterInstance.ephemeral() as instance:
        everything = {"kktix_events": [WRONG_FAMILY, RIGHT_FAMILY, OTHER_PARTITION]}
        everything |= {"kktix_individual_events": [WRONG_FAMILY], "kktix_corporate_events": [OTHER_PARTITION]}
        for name, partitions in everything.items():
            instance.add_dynamic_partitions(name, [partition.key for partition in partitions])
        forget_partition(instance, RIGHT_FAMILY)
        left = {name: set(instance.get_dynamic_partitions(name)) for name in everything}
    assert left == {
        "kktix_events": {RIGHT_FAMILY.key, OTHER_PARTITION.key},
        "kktix_individual_events": set(),
        "kktix_corporate_events": {OTHER_PARTITION.key},
    }
