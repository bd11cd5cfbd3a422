"""The table of daily sales equals the truth of the box office to the dollar, also after a season of everything."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pycontw_assets.load.readers.daily_sales import read_sales
from pycontw_assets.orchestration.reporting.daily_sales import NAME
from pycontw_assets_tests.pipeline.harness import Pipeline

NAMES = {
    family: f"PyCon TW 2031 Registration: {family.capitalize()}" for family in ("corporate", "individual", "reserved")
}


@dataclass
class TillRoll:
    """Write down sale by sale the money that the box office took. It knows nothing of the pipeline."""

    pipeline: Pipeline
    chance: random.Random
    paid: Counter[str] = field(default_factory=Counter)
    refunded: Counter[str] = field(default_factory=Counter)
    took: Counter[str] = field(default_factory=Counter)
    gave_back: Counter[str] = field(default_factory=Counter)
    family_of: dict[int, str] = field(default_factory=dict)
    price_of: dict[int, float] = field(default_factory=dict)
    valid: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.events = {family: self.pipeline.world.add_event(name) for family, name in NAMES.items()}

    def sell(self, family: str, seats: int = 1, *, price: float = 2500, paid: bool = True, **buyer: str) -> list[int]:
        ids = self.pipeline.world.sell(self.events[family], seats, paid=paid, price=price, **buyer)  # type: ignore[arg-type]
        for number in ids:
            self.family_of[number], self.price_of[number] = family, price
            self._take(number) if paid else self.waiting.add(number)
        return ids

    def _take(self, number: int) -> None:
        self.valid.add(number)
        self.paid[self.family_of[number]] += 1
        self.took[self.family_of[number]] += self.price_of[number]  # type: ignore[assignment]

    def pay(self, number: int) -> None:
        self.pipeline.world.pay(number)
        self.waiting.discard(number)
        self._take(number)

    def refund(self, number: int) -> None:
        self.pipeline.world.refund(number)
        self.valid.discard(number)
        self.refunded[self.family_of[number]] += 1
        self.gave_back[self.family_of[number]] += self.price_of[number]  # type: ignore[assignment]

    def check(self) -> None:
        days = read_sales(self.pipeline.root.warehouse)
        for family in NAMES:
            found = [day for day in days if day.family == family]
            assert sum(day.tickets_paid for day in found) == self.paid[family]
            assert sum(day.tickets_refunded for day in found) == self.refunded[family]
            assert sum(day.revenue for day in found) == self.took[family]
            assert sum(day.refunds for day in found) == self.gave_back[family]


@pytest.mark.long
def test_money_is_right_after_refunds_transfers_and_buying_again(pipeline: Pipeline) -> None:
    till = TillRoll(pipeline, random.Random(1))
    pair = till.sell("individual", 2, address="anna@example.org")
    [late] = till.sell("individual", price=1999.5, paid=False)
    [moved] = till.sell("corporate", price=5200)
    till.sell("individual", address="anna@example.org", price=3000)  # a second order of the same address
    till.sell("reserved", price=0)
    pipeline.until_quiet()
    till.check()
    till.pay(late)
    till.refund(pair[0])
    pipeline.world.transfer(moved, "ben@example.org")
    pipeline.until_quiet()
    till.sell("individual", address="anna@example.org", price=2700)
    pipeline.until_quiet()
    till.check()
    before, mark = read_sales(pipeline.root.warehouse), pipeline.mark()
    shown = pipeline.instance.get_latest_materialization_event(_key())
    pipeline.later_poll()
    assert (read_sales(pipeline.root.warehouse), pipeline.writes(mark)) == (before, [])
    assert pipeline.instance.get_latest_materialization_event(_key()) == shown
    assert shown
    assert shown.asset_materialization
    assert "data:image/svg+xml" in str(shown.asset_materialization.metadata["curve"].value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_money_is_right_after_a_season_of_everything(pipeline: Pipeline, seed: int) -> None:
    chance = random.Random(seed)
    till = TillRoll(pipeline, chance)
    for _ in range(25):
        seen = sorted(till.valid)  # a ticket that is paid and refunded between two polls is known to nobody
        for _ in range(chance.randint(0, 6)):
            family, price = chance.choice(list(NAMES)), chance.choice((0, 1200, 2500.5, 4200))
            till.sell(family, chance.randint(1, 3), price=price, paid=chance.random() < 0.7)
        for number in sorted(till.waiting):
            if chance.random() < 0.3:
                till.pay(number)
        for number in seen:
            if chance.random() < 0.05:
                till.refund(number)
            elif chance.random() < 0.03:
                pipeline.world.transfer(number, f"person-{chance.randint(1, 99)}@example.org")
        pipeline.clock.advance(chance.choice((300, 3600, 86_400)))
        pipeline.poll("revoke")
    pipeline.until_quiet()
    till.check()


def _key():
    from dagster import AssetKey

    return AssetKey(NAME)
