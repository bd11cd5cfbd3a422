"""Several spaces in whole polls: nobody moves when they are added, and every mail leads to the reader's space."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, describe

pytestmark = pytest.mark.thorough  # says little about tables

NORTH, SOUTH = keys.GATHER_SPACE_ID, "SandboxSpace0002\\South Wing"
EAST = "SandboxSpace0003\\East Wing"
PLACES = {"north": NORTH, "south": SOUTH, "east": EAST}
LINKS = {"invitation_venue_url": "https://venue.example/app/{space}"}
ANNA, BEN, CARA, DORA = (f"{name}@example.org" for name in ("anna", "ben", "cara", "dora"))


def links(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return, by address, the spaces that the mails lead to."""
    found: dict[str, list[str]] = {}
    parts = {
        "SandboxSpace0001/Py%20Venue": "north",
        "SandboxSpace0002/South%20Wing": "south",
        "SandboxSpace0003/East%20Wing": "east",
    }
    for mail in pipeline.world.outbox:
        named = [name for part, name in parts.items() if f"https://venue.example/app/{part}" in mail.html]
        found.setdefault(mail.address, []).extend(named)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", ["campaign", pytest.param("event", marks=pytest.mark.slow)])
def test_a_second_space_takes_the_newcomers_and_moves_or_mails_nobody_else(
    install: Install, world: World, event: int, way: str
) -> None:
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = install(invite_via=way, **LINKS)
    [anna] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    world.gather.open_space(SOUTH)
    pipeline.restart(gather_space_id=f"{NORTH}:2,{SOUTH}:1")
    assert pipeline.until_quiet().ok
    world.sell(event, address=CARA)
    pipeline.until_quiet()
    world.sell(event, address=DORA)
    assert "1 holders wait for a place" in describe(pipeline.later_poll())
    assert DORA not in pipeline.mailed()
    world.refund(anna)
    pipeline.until_quiet()
    assert [set(world.gather.guests_of(space)) for space in (NORTH, SOUTH)] == [{BEN, DORA}, {CARA}]
    assert links(pipeline) == {ANNA: ["north"], BEN: ["north"], CARA: ["south"], DORA: ["north"]}
    assert pipeline.verdict() == []
    pipeline.restart(gather_space_id=SOUTH)
    with pytest.raises(LedgerError, match="GATHER_SPACE_ID does not name any more"):
        pipeline.later_poll()


@pytest.mark.slow
def test_a_space_that_gather_does_not_have_keeps_nobody_from_the_others(
    install: Install, world: World, event: int
) -> None:
    world.gather.open_space(EAST)
    pipeline = install(gather_space_id=f"{NORTH}:1,{SOUTH}:5,{EAST}:5", **LINKS)
    world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    report = pipeline.later_poll()
    assert "Gather does not have space 2 of GATHER_SPACE_ID" in describe(report)
    assert links(pipeline) == {ANNA: ["north"], BEN: ["east"]}
    world.gather.open_space(SOUTH)
    world.sell(event, address=CARA)
    assert pipeline.until_quiet().ok
    assert links(pipeline) == {ANNA: ["north"], BEN: ["east"], CARA: ["south"]}
    assert pipeline.verdict() == []


class Season:
    """1,200 holders of three events. Some give their money back, some of those buy again."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self._chance = random.Random(seed)
        families = ("Individual", "Corporate", "Reserved")
        self._events = [world.add_event(f"PyCon TW 2031 Registration: {family}") for family in families]
        self._left: list[str] = []
        self.tickets: dict[str, list[int]] = {}
        self.periods: dict[str, int] = {}
        for number in range(1200):
            self.buy(f"buyer-{number}@example.org")
        for address in self._chance.sample(sorted(self.tickets), 100):
            self._order(address)  # a second ticket, maybe of another event

    def buy(self, address: str) -> None:
        self.tickets[address] = []
        self.periods[address] = self.periods.get(address, 0) + 1
        self._order(address)

    def _order(self, address: str) -> None:
        self.tickets[address] += self.world.sell(self._chance.choice(self._events), address=address)

    def turn(self, number: int) -> set[str]:
        """Refund 50 people entirely, and sell to 50: earlier ones once more, and new ones. Return the buyers."""
        leaving = self._chance.sample(sorted(self.tickets), 50)
        for address in leaving:
            for ticket in self.tickets.pop(address):
                self.world.refund(ticket)
        again = self._left[:25]
        self._left = [*self._left[25:], *leaving]
        joining = {*again, *(f"late-{number}-{one}@example.org" for one in range(50 - len(again)))}
        for address in sorted(joining):
            self.buy(address)
        return joining


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_1200_holders_over_three_spaces_of_500_in_whole_polls(install: Install, world: World, seed: int) -> None:
    """Nobody is in two spaces, nobody is without one, whoever stays is not moved, and every mail leads there."""
    for space in (SOUTH, EAST):
        world.gather.open_space(space)
    for number in range(20):
        world.add_guest(f"staff-{number}@example.org")
    season = Season(world, seed)
    pipeline = install(gather_space_id=f"{NORTH}:500,{SOUTH}:500,{EAST}:500", **LINKS)
    before: Mapping[str, str] = {}
    joining = set(season.tickets)
    for number in range(5):
        assert pipeline.until_quiet().ok
        spaces = {name: set(world.gather.guests_of(space)) for name, space in PLACES.items()}
        guests = [guest for one in spaces.values() for guest in one if not guest.startswith("staff")]
        assert (len(guests), set(guests)) == (1200, set(season.tickets)), "nobody in two, nobody without"
        assert max(map(len, spaces.values())) <= 500
        place = {guest: name for name, one in spaces.items() for guest in one}
        assert {guest for guest in place if before.get(guest, place[guest]) != place[guest]} <= joining
        mailed = links(pipeline)
        assert {address: len(found) for address, found in mailed.items()} == season.periods
        assert {address: mailed[address][-1] for address in season.tickets} == {
            address: place[address] for address in season.tickets
        }
        assert pipeline.verdict() == []
        print(f"round {number}: {dict(sorted((name, len(one)) for name, one in spaces.items()))}, {len(mailed)} people")
        before, joining = place, season.turn(number)
    assert sum(guest.startswith("staff") for guest in spaces["north"]) == 20
