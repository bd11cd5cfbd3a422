"""Dry runs change nothing, masks hide addresses, output knows where it goes."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.authorize.gather_client import GuestList
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.poll import describe_poll
from pycontw_assets.extract.events import Discovery, Unmatched
from pycontw_assets.ledger.events import known_events, register_events
from pycontw_assets.ledger.grants import current_grants, intend_grants
from pycontw_assets.ledger.locks import LockName, lock, lock_owner
from pycontw_assets.ledger.reporting.sales import last_report_day, record_report
from pycontw_assets.orchestration.poll import PollReport, RunReport
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.dry_run import DryRun, DryRunGuestList, DryRunVault, dry_run
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.reconcile import Decision
from pycontw_assets.pseudonyms import masked
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot
from pycontw_assets.settings import load_settings
from pycontw_assets.vault.object_store import VaultError

PARTITION = EventPartition(90001, "2031", "individual")
KEPT = date(2031, 6, 1)
KEY = "2031-individual-90001"


class RealGather:
    def __init__(self, **entries: Any) -> None:
        self.entries = {name.replace("_", "@", 1): entry for name, entry in entries.items()}
        self.reads = 0

    def read(self) -> GuestList:
        self.reads += 1
        return GuestList(self.entries)

    def add(self, _entries: Any) -> None:
        raise AssertionError("a dry run wrote")

    overwrite = add


def root_in(home: Path) -> Composition:
    return Composition(lambda: load_settings(pycontw_home=home))


def copies_of(root: Composition) -> AbstractContextManager[DryRun]:
    return dry_run(
        settings=root.settings,
        clock=root.clock,
        pseudonymizer=root.pseudonymizer,
        gather=None,
        discord=None,
        vault=root.vault_to_read,
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("anna@example.org", "a…@example.org"),
        (" B@example.com ", "B…@example.com"),
        ("@example.org", "…@example.org"),
        ("no address", "…"),
    ],
)
def test_a_mask_shows_one_letter_and_the_domain(address: str, shown: str) -> None:
    assert masked(address) == shown


def test_a_dry_run_reads_the_list_once_and_keeps_its_own_writes() -> None:
    real = RealGather(**{"anna_example.org": {}})
    dry = DryRunGuestList(real)
    dry.add({"ben@example.com": {}})
    assert set(dry.read().entries) == {"anna@example.org", "ben@example.com"}
    dry.overwrite({"ben@example.com": {}})
    assert set(dry.read().entries) == {"ben@example.com"}
    assert (real.reads, set(real.entries)) == (1, {"anna@example.org"})


def test_orders_of_a_dry_run_hide_the_stored_ones_and_leave_them() -> None:
    stored = DryRunVault(None)
    stored.write(OrderSnapshot(PARTITION))
    dry = DryRunVault(stored)
    written = dry.write(OrderSnapshot(PARTITION, rebuilding=True, generation=1))
    assert dry.read(KEY) == written
    assert stored.read(KEY) == OrderSnapshot(PARTITION, generation=1)


def test_a_dry_run_streams_its_own_orders_then_the_stored() -> None:
    record = AttendeeRecord(
        Attendee(attendee_id=1, is_paid=True, state="activated", answers=()), datetime(2031, 6, 1, tzinfo=timezone.utc)
    )
    stored = DryRunVault(None)
    assert stored.stream(KEY) is None
    stored.write(OrderSnapshot(PARTITION, {1: record}))
    dry_run = DryRunVault(stored)
    opened = dry_run.stream(KEY)
    assert opened
    assert list(opened[1]) == [record]
    dry_run.write(OrderSnapshot(PARTITION, generation=1))
    newer = dry_run.stream(KEY)
    assert newer
    assert list(newer[1]) == []


def test_a_dry_run_refuses_orders_that_somebody_replaced() -> None:
    vault = DryRunVault(None)
    vault.write(OrderSnapshot(PARTITION))
    with pytest.raises(VaultError, match="changed"):
        vault.write(OrderSnapshot(PARTITION))


def test_a_dry_run_of_the_ledger_is_a_copy_that_is_forgotten(tmp_path: Path) -> None:
    root = root_in(tmp_path)
    register_events(root.ledger, [PARTITION])
    record_report(root.ledger, "sales", "a channel", KEPT)
    with copies_of(root) as copies:
        assert known_events(copies.ledger) == {90001: PARTITION}
        assert last_report_day(copies.ledger, "sales", "a channel") == KEPT
        record_report(copies.ledger, "sales", "a channel", KEPT + timedelta(days=1))
        intend_grants(copies.ledger, "2031", KEY, ["0" * 64], added_by_us=True)
    assert last_report_day(root.ledger, "sales", "a channel") == KEPT
    assert current_grants(root.ledger, "2031") == {}


def test_a_lock_on_the_original_does_not_hold_up_its_copy(tmp_path: Path) -> None:
    root, name = root_in(tmp_path), LockName.GUEST_LIST
    with lock(root.ledger, name), copies_of(root) as copies, lock(copies.ledger, name):
        assert lock_owner(copies.ledger, name)


def test_a_dry_run_of_nothing_makes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with copies_of(root_in(home)) as copies:
        assert copies.vault.read(KEY) is None
        assert known_events(copies.ledger) == {}
    assert not home.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert paint("ok", "green", Terminal()) == "\x1b[32mok\x1b[0m"
    assert paint("ok", "green", io.StringIO()) == "ok"
    monkeypatch.setenv("TERM", "dumb")
    assert paint("ok", "green", Terminal()) == "ok"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("ok", "green", Terminal()) == "ok"


def test_a_poll_prints_one_line_per_event_and_its_problems_below() -> None:
    dinner = Unmatched(event_id=7, name="A dinner", reason="its name does not say registration")
    tick = Tick(
        Discovery("2031", (PARTITION,), (dinner,)),
        ("a warning",),
        {},
        {KEY: Decision((), False, "due"), "2031-reserved-90002": Decision((), False, "3 attendees known, nothing new")},
        False,
    )
    runs = (
        RunReport("grant_access_job", KEY, True, (), ("a problem",), {"raw": {"attendees": 3, "new": 1, "gone": 0}}),
        RunReport("load_job", KEY, False, ("a failure",), (), {"table": {"dagster/partition_row_count": 3}}),
    )
    assert list(describe_poll(PollReport(tick, runs))) == [
        "edition 2031: 0 events, 2 runs",
        f"FAILED {KEY}: attendees 3, new 1, rows 3",
        "       a failure",
        "       ! a problem",
        "idle   2031-reserved-90002: 3 attendees known, nothing new",
        "left   event 7 (A dinner): its name does not say registration",
        "       ? a warning",
    ]
