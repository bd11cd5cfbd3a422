"""The funnel in whole polls: right to the person, written only when something changed, and no mail's trouble."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from pycontw_assets.commands.trace import trace
from pycontw_assets.load.reporting.invitation_funnel import INVITATION_FUNNEL
from pycontw_assets.pipeline.reporting.funnel import FunnelRow, read_funnel
from pycontw_assets.sandbox.klaviyo.reactions.reactions import Habits
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline

pytestmark = pytest.mark.thorough

ANNA, BEN, CARA, DORA = (f"{name}@example.org" for name in ("anna", "ben", "cara", "dora"))
HOUR, DAY = 3600.0, 86_400.0
FUNNEL_JOB = "invitation_funnel_job"


def rows(pipeline: Pipeline) -> dict[str, FunnelRow]:
    return {row.family: row for row in pipeline.call(read_funnel, EDITION)}


def table(pipeline: Pipeline) -> list[dict[str, Any]]:
    frame = pipeline.root.warehouse.read(INVITATION_FUNNEL)
    return [dict(row) for row in frame.sort_values("partition_key").astype(object).to_dict("records")]


def funnel_runs(report: Any) -> int:
    return sum(run.job == FUNNEL_JOB for run in report.runs)


def reports(world: World) -> int:
    return sum(call.path == "/api/campaign-values-reports" for call in world.calls.find("klaviyo"))


@pytest.mark.slow
def test_the_funnel_is_written_once_the_report_shows_the_mails_and_then_rests(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.klaviyo.switches.bouncing_addresses = {BEN}
    world.sell(event, 2, address=ANNA)
    world.sell(event, address=BEN)
    world.sell(event, address=CARA, paid=False)
    quiet = pipeline.until_quiet()
    assert funnel_runs(quiet) == 0
    assert table(pipeline) == []
    pipeline.clock.advance(HOUR)
    written = pipeline.poll()
    assert (written.ok, funnel_runs(written)) == (True, 1)
    [row] = table(pipeline)
    assert row["partition_key"] == f"{EDITION}-individual"
    steps = ("tickets_ordered", "tickets_paid", "let_in", "invited", "delivered")
    assert [row[name] for name in steps] == [4, 3, 2, 2, 1]
    assert row["bounced"] is None or row["bounced"] != row["bounced"], "one person: hidden"
    for _ in range(2):
        pipeline.clock.advance(HOUR)
        assert funnel_runs(pipeline.poll()) == 0, "nothing changed"
    live = pipeline.call(trace, ANNA, is_live=True).live
    assert live[-1].endswith(": delivered")
    assert ANNA not in "".join(live)


@pytest.mark.slow
def test_a_429_of_the_report_costs_the_report_and_no_invitation(pipeline: Pipeline, world: World, event: int) -> None:
    """Another user of the account has used the report's day up: the answer asks to wait until midnight."""
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    world.faults.add("klaviyo", "status", status=429, retry_after=20 * 3600, path="campaign-values-reports", times=None)
    world.sell(event, address=BEN)
    before = reports(world)
    pipeline.clock.advance(2 * HOUR)
    assert pipeline.poll().ok
    assert sorted(pipeline.mailed()) == [ANNA, BEN]
    assert reports(world) - before <= 2, "the comparison and the report, each once"
    assert rows(pipeline)["individual"].delivered is None
    world.faults.clear()
    pipeline.clock.advance(HOUR)
    pipeline.poll()
    assert rows(pipeline)["individual"].delivered == 2


# -- a season -----------------------------------------------------------------------------------------


class Season:
    """A sale of two families over some days, and what really happened in it."""

    def __init__(self, world: World, events: dict[str, int], seed: int) -> None:
        self.world, self.events, self.chance = world, events, random.Random(seed)
        self.paid: Counter[str] = Counter()
        self.ordered: Counter[str] = Counter()
        self.usable: list[tuple[str, int]] = []
        self.people = 0

    def step(self) -> None:
        """Refund a ticket or pass one on, then sell some, also to people who come back.

        In this order: no poll can know of a seat that came and went between two.
        """
        if len(self.usable) > 4 and self.chance.random() < 0.7:
            self.world.refund(self.usable.pop(self.chance.randrange(len(self.usable)))[1])
        if len(self.usable) > 4 and self.chance.random() < 0.5:
            self.people += 1
            self.world.transfer(self.chance.choice(self.usable)[1], f"buyer{self.people}@example.org")
        for family, event in self.events.items():
            for _ in range(self.chance.randint(1, 3)):
                self.people += 1
                known = [f"buyer{number}@example.org" for number in range(1, self.people)]
                again = self.chance.random() < 0.15 and known
                address = self.chance.choice(known) if again else f"buyer{self.people}@example.org"
                self._sell(family, event, address)

    def _sell(self, family: str, event: int, address: str) -> None:
        seats, is_paid = self.chance.choice((1, 1, 2, 3)), self.chance.random() < 0.8
        numbers = self.world.sell(event, seats, address=address, paid=is_paid)
        self.ordered[family] += seats
        if is_paid:
            self.paid[family] += seats
            self.usable += [(family, number) for number in numbers]

    def let_in(self) -> int:
        """Return how often somebody came onto the guest list."""
        return sum(fact.listed and not fact.by_hand for fact in self.world.gather.history)

    def count(self, *kinds: str) -> int:
        """Return how many people one of these things happened to, each once per campaign."""
        truths = self.world.klaviyo.reactions.truth.values()
        return sum(len(set().union(*(getattr(truth, kind) for kind in kinds))) for truth in truths)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_season_is_right_to_the_person(install: Install, world: World, seed: int) -> None:
    events = {
        family: world.add_event(f"PyCon TW {EDITION} Registration: {family.capitalize()}")
        for family in ("individual", "corporate")
    }
    world.klaviyo.switches.habits = Habits(unsubscribed=0.05, comes_back_late=0.05)
    world.klaviyo.switches.report_delay = 2 * HOUR
    world.klaviyo.switches.bouncing_addresses = {f"buyer{number}@example.org" for number in range(7, 60, 11)}
    season, pipeline = Season(world, events, seed), install(invite_limit=500, revoke_limit=100)
    most_reports, before = 0, 0
    for step in range(8):
        season.step()
        for _ in range(2):  # a refund takes two
            pipeline.later_poll()
        if step == 3:
            world.klaviyo.switches.report_delay = 30 * HOUR  # a late report
        if step == 5:
            world.klaviyo.switches.report_delay = 2 * HOUR
        pipeline.clock.advance(4 * HOUR)
        most_reports, before = max(most_reports, reports(world) - before), reports(world)
    pipeline.until_quiet()
    for _ in range(2):
        pipeline.clock.advance(2 * DAY)
        pipeline.poll()
    pipeline.clock.advance(2 * DAY)
    pipeline.poll()
    counted = rows(pipeline)
    for family, row in counted.items():
        assert (row.tickets_ordered, row.tickets_paid) == (season.ordered[family], season.paid[family])

    def total(name: str) -> int:
        return sum(getattr(row, name) for row in counted.values())

    assert total("let_in") == season.let_in()
    assert total("invited") == season.count("mailed")
    assert {name: total(name) for name in ("delivered", "bounced", "clicked", "unsubscribed")} == {
        name: season.count(name) for name in ("delivered", "bounced", "clicked", "unsubscribed")
    }
    assert total("opened") == season.count("opened", "opened_by_program") > season.count("opened")
    assert min(season.count(name) for name in ("bounced", "clicked")) > 0, "else this proves little"
    assert most_reports <= 4
    shown = table(pipeline)
    pipeline.clock.advance(2 * DAY)
    again = pipeline.poll()
    assert funnel_runs(again) == 0
    assert table(pipeline) == shown, "reading again changes nothing"
    assert pipeline.verdict(settled=False) == [], "for the oracle, a mail that came back is none"
