"""An import lets nobody in and mails nobody: the decisions say so themselves. It is stored, replaced and forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from pycontw_assets.api.log import log_step
from pycontw_assets.deidentify.holders import holders_of
from pycontw_assets.extract.events import live_edition
from pycontw_assets.extract.exports.reading import File, read_export
from pycontw_assets.extract.exports.sheet import ExportError
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.batches import Batch, claim_batch, find_newcomers
from pycontw_assets.ledger.database.tables import entitlements, metadata
from pycontw_assets.ledger.events import is_purged, known_events, record_purge, register_events
from pycontw_assets.ledger.grants import grants_without_ticket, holders_to_let_in, intend_grants
from pycontw_assets.ledger.history.imports import known_imports, record_import
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import remember_erased, request_erasure
from pycontw_assets.ledger.polls import Poll, record_poll
from pycontw_assets.pipeline.consistency.orders import AgreedOrders
from pycontw_assets.pipeline.consistency.renaming import partition_named
from pycontw_assets.pipeline.history.importing import Imported, import_export
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, EventFacts, decide
from pycontw_assets.pipeline.retention import expired_events, purge_expired
from pycontw_assets.pipeline.steps import (
    campaign_step,
    partition_of,
    read_orders,
    stored_orders,
    stored_snapshots,
    sync_holder_list,
)
from pycontw_assets.records import EventPartition, ImportedPartition, OrderSnapshot
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings
from pycontw_assets.vault.vault import Vault, VaultError
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, keys
from pycontw_assets_tests.unit.history.exports import attendee, attendees_csv

ANNA, BERT = "anna@example.org", "bert@example.org"
# Of a former edition, and of the one that is live: people buy tickets of events of 2031 in these tests.
IMPORTS = [EventPartition.imported("2019", "individual"), EventPartition.imported("2031", "individual")]
NOW = datetime(2031, 6, 1, tzinfo=timezone.utc)


@pytest.fixture
def vault() -> Vault:
    return Vault(MemoryStore(), [Fernet.generate_key().decode()])


def importing(
    ledger: Ledger, vault: Vault, rows: Any, *, partition: EventPartition = IMPORTS[0], may_shrink: bool = False
) -> Imported:
    export = read_export(File("x.csv", attendees_csv(rows)), edition=partition.edition, family=partition.family)
    return import_export(
        partition,
        export,
        vault=vault,
        ledger=ledger,
        pseudonymizer=PSEUDONYMIZER,
        waits=WaitPolicy(),
        may_shrink=may_shrink,
    )


# -- nobody is let in or mailed -----------------------------------------------------------------------


def entitle(ledger: Ledger, partition: EventPartition, *addresses: str) -> None:
    """Write what no code writes: that an import entitles somebody."""
    rows = [
        {"partition_key": partition.key, "address_key": key, "edition": partition.edition} for key in keys(*addresses)
    ]
    with ledger.engine.begin() as db:
        db.execute(sa.insert(entitlements), rows)


@pytest.mark.parametrize("partition", IMPORTS, ids=lambda partition: str(partition.key))
def test_tickets_of_an_import_make_nobody_a_holder(partition: EventPartition, ledger: Ledger, vault: Vault) -> None:
    importing(ledger, vault, [attendee(year=int(partition.edition))], partition=partition)
    snapshot = stored_orders(vault, ledger, partition)
    assert [record.is_usable for record in snapshot.records.values()] == [True]
    assert holders_of(snapshot, PSEUDONYMIZER) == {}
    assert holders_of(replace(snapshot, partition=PARTITION), PSEUDONYMIZER).keys() == keys(ANNA)


@pytest.mark.parametrize("partition", IMPORTS, ids=lambda partition: str(partition.key))
def test_nobody_is_to_be_let_in_because_of_an_import(partition: EventPartition, ledger: Ledger) -> None:
    entitle(ledger, partition, ANNA)
    assert holders_to_let_in(ledger, partition.key, partition.edition, done=()) == {}
    with pytest.raises(ImportedPartition):
        intend_grants(ledger, partition.edition, partition.key, keys(ANNA), added_by_us=True)
    assert grants_without_ticket(ledger, partition.edition) == {}


@pytest.mark.parametrize("partition", IMPORTS, ids=lambda partition: str(partition.key))
def test_nobody_is_a_newcomer_because_of_an_import(partition: EventPartition, ledger: Ledger) -> None:
    """Not even somebody who was let in with a ticket of an event of the same edition."""
    intend_grants(ledger, partition.edition, PARTITION.key, keys(ANNA), added_by_us=True, state="granted")
    entitle(ledger, partition, ANNA)
    assert find_newcomers(ledger, partition.key, partition.edition) == {}
    batch = Batch("b1", partition.edition, partition.key, "poll", "open", "campaign", NOW)
    with pytest.raises(ImportedPartition):
        claim_batch(ledger, batch, dict.fromkeys(keys(ANNA), 1))


@pytest.mark.parametrize("partition", IMPORTS, ids=lambda partition: str(partition.key))
def test_no_poll_of_an_import_is_ever_recorded(partition: EventPartition, ledger: Ledger) -> None:
    with pytest.raises(ImportedPartition):
        record_poll(ledger, partition.edition, Poll(partition.key, NOW, "d", 1, 0, None, "c"), keys(ANNA))


@pytest.mark.parametrize("partition", IMPORTS, ids=lambda partition: str(partition.key))
def test_no_step_towards_access_or_mail_is_ever_due_for_an_import(partition: EventPartition) -> None:
    poll = Poll(partition.key, NOW, "another digest", 1, 1, NOW, "c", "c")
    facts = EventFacts(
        partition,
        BookReading(frozenset({1, 2})),
        poll,
        guest_list_open=1,
        list_open=1,
        campaign_open=1,
        unreachable=1,
        requested=1,
    )
    assert decide(facts, NOW, timedelta(0)).access == ()
    assert decide(replace(facts, partition=PARTITION), NOW, timedelta(0)).access == ACCESS_CHAIN


@pytest.mark.parametrize("step", [read_orders, sync_holder_list, campaign_step])
def test_a_step_for_an_import_is_refused_before_it_asks_anybody(step: Any, ledger: Ledger) -> None:
    nothing = dict.fromkeys(step.__kwdefaults__ or {}) | dict.fromkeys(
        [name for name in step.__annotations__ if name not in ("partition", "return")]
    )
    with pytest.raises(ImportedPartition):
        step(IMPORTS[1], **nothing)


def test_an_import_is_no_event_and_begins_no_edition(ledger: Ledger, vault: Vault) -> None:
    importing(ledger, vault, [attendee(year=2031)], partition=IMPORTS[1])
    assert known_events(ledger) == {}
    assert live_edition(None, known_events(ledger), {}) is None
    assert list(known_imports(ledger)) == ["2031-individual-import"]
    assert list(stored_snapshots(ledger, vault)) == []


def test_nothing_but_the_table_of_imports_knows_an_import(ledger: Ledger, vault: Vault) -> None:
    importing(ledger, vault, [attendee()])
    with ledger.engine.begin() as db:
        rows = {name: db.scalar(sa.select(sa.func.count()).select_from(t)) for name, t in metadata.tables.items()}
    of_every_ledger = {"counted_changes", "meta"}
    assert {name for name, number in rows.items() if number} == {"imports", *of_every_ledger}


# -- its key ------------------------------------------------------------------------------------------


def test_every_import_has_a_number_and_a_key_of_its_own() -> None:
    partitions = [
        EventPartition.imported(str(year), family)
        for year in range(2012, 2032)
        for family in ("corporate", "individual", "reserved")
    ]
    assert len({partition.event_id for partition in partitions}) == len({p.key for p in partitions}) == 60
    assert all(partition.event_id < 0 for partition in partitions)
    assert IMPORTS[0].key == "2019-individual-import"
    assert not PARTITION.is_imported


def test_no_event_is_renamed_to_an_import() -> None:
    for key in ("2019-individual-import", "2019-individual--20192"):
        with pytest.raises(InvalidSettings):
            partition_named(key)


def test_a_log_line_may_name_an_import() -> None:
    log_step("export_imported", step="import", partition=IMPORTS[0].key)


# -- storing ------------------------------------------------------------------------------------------


def test_the_same_file_again_changes_nothing(ledger: Ledger, vault: Vault, clock: FakeClock) -> None:
    rows = [attendee(1), attendee(2, BERT)]
    assert importing(ledger, vault, rows).outcome == "new"
    before = vault.read(IMPORTS[0].key)
    clock.advance(days=1)
    assert importing(ledger, vault, rows[::-1]).outcome == "unchanged"
    assert vault.read(IMPORTS[0].key) == before


def test_an_import_that_was_cut_off_is_known_and_ended_by_importing_again(
    ledger: Ledger, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(MemoryStore, "write", lambda *_: False)
        with pytest.raises(VaultError):
            importing(ledger, vault, [attendee()])
    assert list(known_imports(ledger)) == [IMPORTS[0].key]
    assert importing(ledger, vault, [attendee()]).outcome == "changed"
    assert len(stored_orders(vault, ledger, IMPORTS[0]).records) == 1


def test_another_file_replaces_the_import_before(ledger: Ledger, vault: Vault, clock: FakeClock) -> None:
    importing(ledger, vault, [attendee(1), attendee(2, BERT), attendee(3)])
    first_seen_at = clock()
    clock.advance(days=1)
    imported = importing(ledger, vault, [attendee(1), attendee(2, ANNA), attendee(4)])
    assert (imported.outcome, imported.attendees, imported.gone) == ("changed", 3, 1)
    records = stored_orders(vault, ledger, IMPORTS[0]).records
    assert {number % 100: record.first_seen_at == first_seen_at for number, record in records.items()} == {
        1: True,
        2: True,
        4: False,
    }


def test_a_much_smaller_file_needs_a_word(ledger: Ledger, vault: Vault) -> None:
    rows = [attendee(number) for number in range(1, 21)]
    importing(ledger, vault, rows)
    with pytest.raises(ExportError, match="lacks 10 of the 20 attendees"):
        importing(ledger, vault, rows[:10])
    assert len(stored_orders(vault, ledger, IMPORTS[0]).records) == 20
    assert importing(ledger, vault, rows[:10], may_shrink=True).gone == 10


def test_one_file_is_not_imported_as_two_families(ledger: Ledger, vault: Vault) -> None:
    rows = [attendee(number) for number in range(1, 4)]
    importing(ledger, vault, rows)
    with pytest.raises(ExportError, match=r"row 2: .* 2 more of the file are in 2019-individual-import already"):
        importing(ledger, vault, rows, partition=EventPartition.imported("2019", "corporate"))
    numbers_by_chance = [attendee(number, BERT) for number in range(1, 4)]
    importing(ledger, vault, numbers_by_chance, partition=EventPartition.imported("2019", "corporate"))


def test_attendees_whom_polls_have_read_are_not_imported_once_more(ledger: Ledger, vault: Vault) -> None:
    partition = EventPartition(90001, "2019", "individual")
    importing(ledger, vault, [attendee(1), attendee(2)])
    records = {
        number: replace(record, attendee=replace(record.attendee, ticket_id=5, answers=()))
        for number, record in stored_orders(vault, ledger, IMPORTS[0]).records.items()
    }
    register_events(ledger, [partition])
    vault.write(OrderSnapshot(partition, records=records))
    with pytest.raises(ExportError, match="are in 2019-individual-90001 already"):
        importing(ledger, vault, [attendee(1), attendee(2)])


def test_an_import_has_no_mark_and_survives_a_lost_ledger(ledger: Ledger, vault: Vault) -> None:
    importing(ledger, vault, [attendee(1)])
    with ledger.engine.begin() as db:
        db.exec_driver_sql("delete from imports")
    assert importing(ledger, vault, [attendee(1), attendee(2)]).attendees == 2
    snapshot = AgreedOrders(vault, ledger).read(IMPORTS[0].key)
    assert snapshot is not None
    assert snapshot.mark is None
    assert AgreedOrders(vault, ledger).write(snapshot).mark is None


def test_a_partition_is_found_by_its_key(ledger: Ledger) -> None:
    record_import(ledger, IMPORTS[0])
    assert partition_of(ledger, "2019-individual-import") == IMPORTS[0]


# -- forgetting ---------------------------------------------------------------------------------------


def test_an_import_brings_nobody_back_who_asked_to_be_forgotten(ledger: Ledger, vault: Vault) -> None:
    rows = [attendee(1, ANNA), attendee(2, " Anna@EXAMPLE.org"), attendee(3, BERT), attendee(4)]
    request_erasure(ledger, PSEUDONYMIZER.address(ANNA), ["the vault"], {})
    remember_erased(ledger, IMPORTS[0].key, [30_000_004], PSEUDONYMIZER.address("someone@example.org"))
    imported = importing(ledger, vault, rows)
    assert (imported.attendees, imported.left_out) == (1, 3)
    assert importing(ledger, vault, rows).outcome == "unchanged"


def test_the_orders_of_an_import_leave_the_vault_when_their_time_is_over(
    ledger: Ledger, vault: Vault, clock: FakeClock
) -> None:
    importing(ledger, vault, [attendee()])
    clock.advance(days=9)
    assert expired_events(ledger, retention_days=10) == []
    clock.advance(days=2)
    assert expired_events(ledger, retention_days=10) == [IMPORTS[0]]
    for _ in range(2):  # what is due leaves a day after the first tick that found it
        purge_expired((), ledger=ledger, vault=vault, waits=WaitPolicy(), retention_days=10)
        assert not is_purged(ledger, IMPORTS[0].key)
        clock.advance(hours=13)
    purge_expired((), ledger=ledger, vault=vault, waits=WaitPolicy(), retention_days=10)
    assert is_purged(ledger, IMPORTS[0].key)
    assert expired_events(ledger, retention_days=10) == []
    with pytest.raises(VaultError, match="nothing is done without them"):
        stored_orders(vault, ledger, IMPORTS[0])
    assert importing(ledger, vault, [attendee()]).outcome == "new"
    assert not is_purged(ledger, IMPORTS[0].key)


def test_the_purge_of_an_event_and_that_of_an_import_are_two_things(ledger: Ledger) -> None:
    register_events(ledger, [PARTITION])
    record_import(ledger, IMPORTS[1])
    record_purge(ledger, IMPORTS[1].key)
    assert (is_purged(ledger, PARTITION.key), is_purged(ledger, IMPORTS[1].key)) == (False, True)
