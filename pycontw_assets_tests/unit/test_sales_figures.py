"""The day's figures are counted from whole orders of the ledger's time, or not yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from pycontw_assets.extract.events import Discovery
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.consistency.marks import KnownOrders, record_orders
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.ledger.reporting.sales import Figures, sales_by_day
from pycontw_assets.pipeline.maintenance import report_sales
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.reconcile import EventFacts
from pycontw_assets.records import OrderSnapshot
from pycontw_assets_tests.fakes.channels import Channels
from pycontw_assets_tests.unit.conftest import PARTITION, record_holders
from pycontw_assets_tests.unit.test_holders import LABEL, record

KEY, BUYERS = PARTITION.key, ("anna@example.org", "ben@example.org")
WHOLE = OrderSnapshot(
    PARTITION,
    {number: record(number, (LABEL, address)) for number, address in enumerate(BUYERS)},
    generation=7,
    mark="of-now",
)


@dataclass
class Sale:
    """One event whose orders are ``stored``, and the figures of the day."""

    ledger: Ledger
    stored: OrderSnapshot | None = WHOLE
    channels: Channels = field(default_factory=Channels)

    def __post_init__(self) -> None:
        record_holders(self.ledger, BUYERS)
        record_orders(self.ledger, KEY, KnownOrders("of-now", 7))

    def read(self, key: str) -> OrderSnapshot | None:
        return self.stored

    def figures(self) -> list[Figures]:
        """Return the figures of every counted day."""
        event = EventFacts(PARTITION, BookReading(frozenset({0, 1})), last_poll(self.ledger, KEY))
        tick = Tick(Discovery("2031", (PARTITION,), ()), (), {KEY: event}, {}, template_due=False)
        report_sales(tick, ledger=self.ledger, vault=self, alerts=self.channels)  # type: ignore[arg-type]
        return list(sales_by_day(self.ledger, "2031").values())


def sold(figures: Figures) -> int:
    return sum(counts.sold for counts in figures.values())


def test_whole_orders_of_the_ledgers_time_are_counted(ledger: Ledger) -> None:
    [figures] = Sale(ledger).figures()
    assert sold(figures) == len(BUYERS)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(replace(WHOLE, generation=3, mark="of-before", records={}), id="of a backup"),
        pytest.param(None, id="lost"),
        pytest.param(replace(WHOLE, rebuilding=True, records={}), id="being read again"),
    ],
)
def test_orders_that_are_read_again_wait_for_it(ledger: Ledger, stored: OrderSnapshot | None) -> None:
    sale = Sale(ledger, stored)
    assert sale.figures() == []
    assert sale.channels.taken == []
    sale.stored = WHOLE
    [figures] = sale.figures()
    assert sold(figures) == len(BUYERS), "with the next tick of the same day"
