"""After a change of the rules, rows are made again from the vault: only what changed, and whole after a crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from pycontw_assets.commands.reclassify import describe
from pycontw_assets.deidentify.policy import load_policy, use_policy_file
from pycontw_assets.ledger.database.tables import locks
from pycontw_assets.ledger.events import record_purge, register_events
from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.load.readers.view import DuckDBDialect, View
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import WarehouseError, check_frame
from pycontw_assets.pipeline.consistency.rules import Remade, reclassify
from pycontw_assets.pipeline.reconcile import EventFacts, decide, pause_base
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, memory_ledger, record_holders

if TYPE_CHECKING:
    import pandas as pd

OTHER_YEAR = EventPartition(80002, "2030", "corporate")
ANSWERED = ("Area of Interest / 興趣領域", "Quantum")
MORE = '- {column: areas_of_interest, choices: {"quantum": []}}'


class Tables:
    """A warehouse in memory that counts how often attendees are written. ``is_down``: it answers nothing."""

    def __init__(self) -> None:
        self.frames: dict[tuple[str, str], pd.DataFrame] = {}
        self.written = 0
        self.is_down = False

    def replace_partition(self, table: Table, partition_key: str, frame: pd.DataFrame, *, digest: str) -> str:
        if self.is_down:
            raise WarehouseError("the warehouse is down")
        check_frame(table, partition_key, frame)
        before = self.frames.get((table.name, partition_key))
        if before is not None and before.equals(frame):
            return "unchanged"
        self.frames[table.name, partition_key] = frame
        self.written += table.name.startswith("ods_kktix_ticket")
        return "written"

    def select(self, statement: str, *parameters: str, sources: Sequence[Table]) -> list[tuple[str, ...]]:
        return []

    dialect = DuckDBDialect("ods")

    def put_view(self, view: View) -> None:
        """Have no view: nobody reads it here."""

    def partition_rows(self, table: Table, partition_key: str) -> int:
        return len(self.frames.get((table.name, partition_key), ()))

    def state(self, table: Table, *, is_waiting: bool = True) -> str:
        return str(self.written)


class Installation:
    """Two events with orders, of which a poll was recorded, and tables that are made by the rules."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.vault = Vault(MemoryStore(), [Fernet.generate_key().decode()])
        self.warehouse = Tables()
        self.ledger = memory_ledger(clock)
        for partition in (PARTITION, OTHER_YEAR):
            register_events(self.ledger, [partition])
            record_holders(self.ledger, ["anna@example.org"], partition)
            attendee = Attendee(attendee_id=7, is_paid=True, state="activated", answers=(ANSWERED,))
            self.vault.write(OrderSnapshot(partition, {7: AttendeeRecord(attendee, first_seen_at=clock())}))

    def run(self, fuse: Fuse | None = None) -> list[Remade]:
        burning: Any = (lambda target: Fused(target, fuse)) if fuse else (lambda target: target)
        made: dict[str, Any] = {
            "vault": burning(self.vault),
            "warehouse": burning(self.warehouse),
            "ledger": fused_ledger(self.ledger, fuse) if fuse else self.ledger,
            "pseudonymizer": PSEUDONYMIZER,
            "waits": WaitPolicy(sleep=lambda seconds: None),
        }
        return list(reclassify(**made))

    def outcomes(self) -> list[str]:
        return [remade.outcome for remade in self.run()]

    def row(self, partition: EventPartition) -> dict[str, Any]:
        table = attendee_tables(load_policy().columns)[partition.family]
        return dict(self.warehouse.frames[table.name, partition.key].astype(object).iloc[0])

    def is_load_due(self, partition: EventPartition) -> bool:
        facts = EventFacts(partition, None, last_poll(self.ledger, partition.key), materialized=frozenset({"x"}))
        reason = decide(facts, self.ledger.clock(), pause_base(300)).reason
        return "is behind" in reason


@pytest.fixture
def made() -> Installation:
    installation = Installation()
    installation.run()
    return installation


@pytest.fixture
def rules(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "rules.yaml"
    file.write_text(MORE, encoding="utf-8")
    yield file
    use_policy_file(None)


def test_rows_of_every_year_follow_the_rules(made: Installation, rules: Path) -> None:
    before = made.row(OTHER_YEAR)
    use_policy_file(rules)
    assert made.outcomes() == ["made again", "made again"]
    for partition in (PARTITION, OTHER_YEAR):
        assert made.row(partition)["areas_of_interest"] == "quantum"
        assert made.row(partition)["policy_version"] == load_policy().version != before["policy_version"]


def test_rows_of_the_present_rules_are_left_alone(made: Installation, rules: Path) -> None:
    written = made.warehouse.written
    assert made.outcomes() == ["current", "current"]
    use_policy_file(rules)
    made.outcomes()
    assert made.outcomes() == ["current", "current"]
    assert made.warehouse.written == 2 * written == 4


def test_the_next_tick_finds_no_table_behind(made: Installation, rules: Path) -> None:
    """Otherwise an event that is not read any more would be loaded by every tick."""
    use_policy_file(rules)
    made.outcomes()
    assert not made.is_load_due(OTHER_YEAR)


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_a_crash_at_any_point_is_ended_by_running_it_again(rules: Path, step: int) -> None:
    blows_at, was_killed = 0, True
    while was_killed:
        use_policy_file(None)
        made = Installation()
        made.run()
        use_policy_file(rules)
        was_killed = False
        try:
            made.run(Fuse(blows_at))
        except Killed:
            was_killed = True
        with made.ledger.engine.begin() as db:
            db.execute(sa.delete(locks))  # a dead process holds none
        made.run()
        assert made.row(OTHER_YEAR)["areas_of_interest"] == made.row(PARTITION)["areas_of_interest"] == "quantum"
        assert made.outcomes() == ["current", "current"]
        assert not made.is_load_due(PARTITION)
        assert not made.is_load_due(OTHER_YEAR)
        blows_at += step
    assert blows_at > 30


def test_rows_whose_orders_left_the_vault_stay_and_are_named(made: Installation, rules: Path) -> None:
    before = made.row(OTHER_YEAR)
    made.vault.write(OrderSnapshot(OTHER_YEAR, rebuilding=True, generation=1))
    record_purge(made.ledger, OTHER_YEAR.key)
    use_policy_file(rules)
    first, second = made.run()
    assert (first.outcome, second.outcome) == ("refused", "made again")
    assert describe(first).startswith("2030-corporate-80002: not made again: its orders left the vault")
    assert made.row(OTHER_YEAR) == before


def test_orders_that_are_lost_are_refused_with_a_reason(made: Installation, rules: Path) -> None:
    before = made.row(OTHER_YEAR)
    made.vault.write(OrderSnapshot(OTHER_YEAR, rebuilding=True, generation=1))
    use_policy_file(rules)
    assert made.outcomes() == ["refused", "made again"]
    assert made.row(OTHER_YEAR) == before


def test_a_warehouse_that_is_down_leaves_it_to_the_next_time(made: Installation, rules: Path) -> None:
    use_policy_file(rules)
    made.warehouse.is_down = True
    assert [remade.reason for remade in made.run()] == ["the warehouse is down"] * 2
    made.warehouse.is_down = False
    assert made.outcomes() == ["made again", "made again"]


def test_an_event_that_a_poll_works_on_is_left_to_the_next_time(made: Installation, rules: Path) -> None:
    use_policy_file(rules)
    with lock(made.ledger, LockName.ORDERS, OTHER_YEAR.key):
        assert made.outcomes() == ["refused", "made again"]
    assert made.outcomes() == ["made again", "current"]


def test_an_event_that_was_never_polled_has_no_rows(made: Installation) -> None:
    register_events(made.ledger, [EventPartition(90009, "2031", "reserved")])
    assert made.outcomes() == ["current", "current", "empty"]
