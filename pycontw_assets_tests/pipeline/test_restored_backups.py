"""A vault or ledger from a backup lets nobody in or out, mails nobody again, and says the way out."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.pipeline.rebuild import rebuild_ledger
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline, describe

pytestmark = [pytest.mark.long, pytest.mark.embedded]

OLD = [f"old-{number}@example.org" for number in range(4)]
NEW = [f"new-{number}@example.org" for number in range(4)]
Seats = dict[str, int]


def back_up(pipeline: Pipeline) -> Callable[[str], None]:
    """Copy the home, and return what puts parts of the copy back: files whose names begin so."""
    copy = Path(f"{pipeline.home}-backup")
    shutil.copytree(pipeline.home, copy)

    def restore(*names: str) -> None:
        for name in names:
            for path in pipeline.home.glob(f"{name}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path in copy.glob(f"{name}*"):
                target = pipeline.home / path.name
                shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)
        pipeline.restart()

    return restore


@pytest.fixture
def sold(pipeline: Pipeline, world: World, event: int) -> tuple[Callable[..., None], set[str]]:
    """Play a sale with a backup in its middle; return what restores it, and everybody who is in afterwards.

    After the backup some are refunded, one passes the ticket on, and others buy.
    """
    seats = {address: world.sell(event, address=address)[0] for address in OLD}
    pipeline.until_quiet()
    restore = back_up(pipeline)
    world.refund(seats[OLD[0]])
    world.transfer(seats[OLD[1]], "heir@example.org")
    for address in NEW:
        world.sell(event, address=address)
    pipeline.clock.advance(7200)
    pipeline.until_quiet()
    inside = {*OLD[2:], *NEW, "heir@example.org"}
    assert pipeline.guests() == inside
    assert max(Counter(pipeline.mailed()).values()) == 1
    return restore, inside


def settle(pipeline: Pipeline, inside: set[str]) -> None:
    pipeline.until_quiet()
    assert pipeline.guests() == inside
    assert max(Counter(pipeline.mailed()).values()) == 1
    assert pipeline.verdict() == []


def test_an_older_vault_stops_its_event_until_everybody_is_read_again(
    pipeline: Pipeline, world: World, event: int, sold: tuple[Callable[..., None], set[str]]
) -> None:
    restore, inside = sold
    restore("vault")
    world.sell(event, address="late@example.org")
    mark = pipeline.mark()
    for _ in range(3):
        report = pipeline.later_poll()
        assert not report.ok
        assert "poll --allow re-read" in describe(report) or "next attempt" in describe(report)
    assert pipeline.writes(mark) == []
    assert pipeline.guests() == inside
    pipeline.later_poll("re-read")
    settle(pipeline, inside | {"late@example.org"})


def test_an_older_vault_without_news_is_noticed_and_harmless_when_the_right_one_comes_back(
    pipeline: Pipeline, sold: tuple[Callable[..., None], set[str]]
) -> None:
    restore, inside = sold
    keep = Path(f"{pipeline.home}-now")
    shutil.copytree(pipeline.home / "vault", keep)
    restore("vault")
    pipeline.clock.advance(7200)
    assert not pipeline.later_poll().ok
    shutil.rmtree(pipeline.home / "vault")
    shutil.copytree(keep, pipeline.home / "vault")
    pipeline.clock.advance(3600)
    settle(pipeline, inside)


@pytest.mark.parametrize("parts", [("ledger",), ("ledger", "vault"), ("ledger", "vault", "warehouse")], ids="+".join)
def test_an_older_ledger_mails_nobody_again_and_is_rebuilt(
    pipeline: Pipeline, world: World, event: int, sold: tuple[Callable[..., None], set[str]], parts: tuple[str, ...]
) -> None:
    restore, inside = sold
    restore(*parts)
    world.sell(event, address="late@example.org")
    mails = pipeline.mark()
    assert not pipeline.later_poll().ok
    with pytest.raises(LedgerError, match="rebuild-ledger"):
        pipeline.later_poll()
    assert pipeline.mailed(mails) == []
    pipeline.call(rebuild_ledger)
    settle(pipeline, inside | {"late@example.org"})


def test_an_older_ledger_goes_on_when_the_newer_one_is_put_back(
    pipeline: Pipeline, world: World, event: int, sold: tuple[Callable[..., None], set[str]]
) -> None:
    restore, inside = sold
    back_to_now = Path(f"{pipeline.home}-now")
    shutil.copytree(pipeline.home, back_to_now)
    restore("ledger")
    world.sell(event, address="late@example.org")
    assert not pipeline.later_poll().ok
    for path in pipeline.home.glob("ledger*"):
        path.unlink()
    for path in back_to_now.glob("ledger*"):
        shutil.copy2(path, pipeline.home / path.name)
    pipeline.restart()
    settle(pipeline, inside | {"late@example.org"})


def test_guests_whom_an_older_ledger_and_vault_do_not_know_are_left_to_a_person(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """No campaign left since the backup, so nothing else shows that the two are of another time."""
    world.sell(event, address=OLD[0])
    pipeline.until_quiet()
    restore = back_up(pipeline)
    [refunded] = world.sell(event, address=NEW[0])
    world.faults.add("klaviyo", "status", times=None, status=503)
    pipeline.later_poll()
    world.faults.clear()
    world.refund(refunded)
    restore("ledger", "vault")
    world.sell(event, address=NEW[1])
    pipeline.until_quiet()
    assert pipeline.guests() == {OLD[0], NEW[0], NEW[1]}
    [text] = [problem.text for problem in open_problems(pipeline.ledger) if "program had let them in" in problem.text]
    assert text.startswith("1 guests")
    assert sorted(pipeline.mailed()) == sorted([OLD[0], NEW[1]])
    world.remove_guest(NEW[0])
    world.sell(event, address=NEW[2])
    pipeline.until_quiet()
    assert text not in [problem.text for problem in open_problems(pipeline.ledger)]
    assert pipeline.verdict() == []


def test_an_older_warehouse_is_filled_again(pipeline: Pipeline, sold: tuple[Callable[..., None], set[str]]) -> None:
    restore, inside = sold
    before = [row["attendee_id"] for row in pipeline.tables()["individual"]]
    restore("warehouse")
    pipeline.later_poll()
    assert [row["attendee_id"] for row in pipeline.tables()["individual"]] == before
    settle(pipeline, inside)
