"""An erased person stays erased while KKTIX still lists them, and old orders are deleted."""

from __future__ import annotations

import pytest
from dagster import DagsterInstance, Definitions

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.trace import trace
from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.people import erasure_requests
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.erase import Erased, Erasure
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, call
from pycontw_assets_tests.pipeline.kill_points import KillPoint

ANNA, BEN, CARA, DORA = "anna@example.org", "ben@example.com", "cara@example.net", "dora@example.org"
DAY = 86_400


@pytest.fixture
def sold(pipeline: Pipeline, world: World, event: int) -> Pipeline:
    """Sell to three buyers, and invite them all."""
    for address in (ANNA, BEN, CARA):
        world.sell(event, address=address)
    pipeline.poll()
    return pipeline


def in_vault(pipeline: Pipeline) -> set[str | None]:
    found: set[str | None] = set()
    for partition in known_events(pipeline.ledger).values():
        snapshot = pipeline.root.vault.read(partition.key)
        found |= {contact_address(record.attendee) for record in snapshot.records.values()} if snapshot else set()
    return found


def erased(pipeline: Pipeline, address: str = ANNA) -> Erased:
    return pipeline.call(Erasure).run(f" {address.upper()} ")


def test_an_erased_person_is_gone_at_once_and_for_good(sold: Pipeline, world: World, event: int) -> None:
    result = erased(sold)
    assert result.problems == []
    assert in_vault(sold) == {BEN, CARA}
    assert len(sold.tables()["individual"]) == 2
    assert sold.guests() == sold.ticket_holders(event) == {BEN, CARA}
    assert ANNA not in "\n".join([*result.done, *result.remains])
    mark = sold.mark()
    sold.clock.advance(2 * DAY)
    for _ in range(2):
        assert sold.later_poll().ok
    assert in_vault(sold) == {BEN, CARA}
    assert sold.guests() == {BEN, CARA}
    assert sold.mailed(mark) == []
    assert sold.writes(mark) == []


@pytest.mark.long
def test_erasing_somebody_removes_nobody_with_an_unreadable_ticket(sold: Pipeline, world: World, event: int) -> None:
    """Ben changes his ticket to an event whose book shows nobody. Anna holds a ticket there."""
    other = world.add_event("PyCon TW 2031 Registration: Reserved")
    world.sell(other, address=ANNA)
    sold.until_quiet()
    world.kktix.switches.shown_per_book = {other: 0}
    [seat] = [ticket.attendee_id for ticket in world.kktix.tickets.values() if ticket.address == BEN]
    world.refund(seat)
    world.sell(other, address=BEN)
    for _ in range(3):
        sold.later_poll()
    [problem] = erased(sold).problems
    assert "not taken off the guest list" in problem
    assert BEN in sold.guests()
    world.kktix.switches.shown_per_book = {}
    sold.until_quiet()
    assert sold.guests() == {BEN, CARA}
    assert sold.mailed().count(BEN) == 1


@pytest.mark.slow
def test_erasing_twice_changes_nothing_and_says_what_remains(sold: Pipeline) -> None:
    erased(sold)
    mark = sold.mark()
    again = erased(sold)
    assert again.done == []
    assert sold.writes(mark) == []
    assert {line.split(":")[0] for line in again.remains} >= {"Klaviyo", "ledger", "KKTIX"}
    assert sold.call(Erasure).find("nobody@example.org").is_nothing


@pytest.mark.slow
def test_a_vault_that_was_lost_does_not_bring_them_back(sold: Pipeline) -> None:
    erased(sold)
    for file in (sold.home / "vault").glob("*.orders"):
        file.unlink()
    sold.clock.advance(2 * DAY)
    sold.later_poll()
    assert in_vault(sold) == {BEN, CARA}


@pytest.mark.slow
def test_an_erased_person_who_buys_again_is_a_new_buyer(sold: Pipeline, world: World, event: int) -> None:
    erased(sold)
    mark = sold.mark()
    world.sell(event, address=ANNA)
    sold.later_poll()
    assert sold.guests() == {ANNA, BEN, CARA}
    assert sold.mailed(mark) == [ANNA]


@pytest.mark.slow
def test_an_erasure_cut_short_by_an_outage_is_finished_by_the_next(sold: Pipeline, world: World, event: int) -> None:
    world.faults.add("gather", "status", times=None)
    assert [problem for problem in erased(sold).problems if "Gather" in problem]
    assert in_vault(sold) == {BEN, CARA}
    assert sold.ticket_holders(event) == {BEN, CARA}
    world.faults.clear()
    assert erased(sold).problems == []
    assert sold.guests() == {BEN, CARA}


@pytest.mark.long
def test_a_poll_finishes_an_erasure_that_was_cut_short(sold: Pipeline, world: World, event: int) -> None:
    world.faults.add("gather", "status", times=None)
    assert list(erased(sold).unfinished) == ["the guest list"]
    world.faults.clear()
    mark = sold.mark()
    assert sold.later_poll().ok
    assert sold.guests() == {BEN, CARA}
    assert erasure_requests(sold.ledger) == []
    assert sold.mailed(mark) == []


@pytest.mark.long
def test_a_ticket_of_somebody_erased_that_changes_hands_lets_the_new_holder_in(
    sold: Pipeline, world: World, event: int
) -> None:
    [seat] = [ticket.attendee_id for ticket in world.kktix.tickets.values() if ticket.address == ANNA]
    erased(sold)
    world.kktix.transfer(seat, DORA)
    sold.clock.advance(3_600)
    mark = sold.mark()
    sold.until_quiet()
    assert in_vault(sold) == sold.guests() == sold.ticket_holders(event) == {BEN, CARA, DORA}
    assert sold.mailed(mark) == [DORA]
    assert len(sold.tables()["individual"]) == 3


@pytest.mark.slow
def test_an_entry_of_somebody_else_stays_and_is_named(pipeline: Pipeline, world: World, event: int) -> None:
    world.add_guest(ANNA, {"affiliation": "Speaker"})
    for address in (ANNA, BEN):
        world.sell(event, address=address)
    pipeline.poll()
    assert any(line.startswith("Gather: an entry somebody else made") for line in erased(pipeline).remains)
    assert pipeline.guests() == {ANNA, BEN}


@pytest.mark.slow
def test_the_command_asks_first_and_never_names_anybody(
    server: SandboxServer, sold: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name, value in {**server.environment, "PYCONTW_HOME": str(sold.home)}.items():
        monkeypatch.setenv(name, value)
    assert main(["erase", ANNA]) == 2
    assert in_vault(sold) == {ANNA, BEN, CARA}
    assert main(["erase", "nobody@example.org", "--yes"]) == 1
    assert main(["erase", ANNA, "--yes"]) == 0
    printed = capsys.readouterr()
    assert "1 of these tickets are usable" in printed.out
    assert ANNA not in printed.out + printed.err
    assert in_vault(sold) == {BEN, CARA}


def _erase_anna(_definitions: Definitions, root: Composition, _instance: DagsterInstance) -> bool:
    return not call(root, Erasure).run(ANNA).problems


def _points(pipeline: Pipeline) -> list[KillPoint]:
    """Return the first and the last point of every kind."""
    exit_code, points = pipeline.run_in_child(command=_erase_anna)
    assert exit_code == 0
    return [KillPoint(kind, number) for kind, count in points.counts.items() for number in {1, count} if count]


def _die_and_try_again(pipeline: Pipeline, point: KillPoint) -> tuple[set[str | None], set[str], list[str]]:
    """Die, poll, and try again. The poll in between must not bring anybody back."""
    pipeline.run_in_child(point, _erase_anna)
    mark = pipeline.mark()
    pipeline.later_poll()
    assert erased(pipeline).problems == []
    pipeline.later_poll()
    return in_vault(pipeline), pipeline.guests(), pipeline.mailed(mark)


@pytest.mark.slow
def test_killed_anywhere_erasing_is_finished_by_the_next_try(sold: Pipeline) -> None:
    for point in sold.branch(_points).result():
        outcome = sold.branch(lambda pipeline, point=point: _die_and_try_again(pipeline, point)).result()
        assert outcome == ({BEN, CARA}, {BEN, CARA}, []), point


# -- retention --------------------------------------------------------------------------------------


def test_orders_leave_the_vault_long_after_their_event_and_nothing_else_changes(
    sold: Pipeline, world: World, event: int
) -> None:
    world.end_event(event)
    sold.clock.advance(100 * DAY)
    sold.later_poll()
    assert in_vault(sold) == {ANNA, BEN, CARA}
    sold.clock.advance(100 * DAY)
    mark = sold.mark()
    assert sold.later_poll().ok
    assert in_vault(sold) == {ANNA, BEN, CARA}, "a clock may be wrong for a while"
    sold.clock.advance(DAY)
    assert sold.later_poll().ok
    assert in_vault(sold) == set()
    assert sold.grep_home([ANNA]) == []
    assert sold.guests() == sold.ticket_holders(event) == {ANNA, BEN, CARA}
    assert len(sold.tables()["individual"]) == 3
    assert sold.writes(mark) == []
    assert sold.call(trace, ANNA, klaviyo=None).passages[0].guest_list.startswith("on it, by us")


@pytest.mark.slow
def test_an_event_that_is_listed_keeps_its_orders_however_old(install: Install, world: World, event: int) -> None:
    pipeline = install(retention_days=1)
    world.sell(event, address=ANNA)
    pipeline.poll()
    pipeline.clock.advance(30 * DAY)
    pipeline.later_poll()
    assert in_vault(pipeline) == {ANNA}


@pytest.mark.slow
def test_an_event_that_is_listed_again_is_read_again_and_nobody_is_mailed_twice(
    sold: Pipeline, world: World, event: int
) -> None:
    world.end_event(event)
    sold.clock.advance(200 * DAY)
    sold.later_poll()
    sold.clock.advance(DAY)
    sold.later_poll()
    world.kktix.events[event].ended_at = None
    mark = sold.mark()
    for _ in range(2):
        sold.later_poll()
    assert in_vault(sold) == {ANNA, BEN, CARA}
    assert sold.mailed(mark) == []
    assert sold.guests() == sold.ticket_holders(event) == {ANNA, BEN, CARA}
