"""An idle tick costs a constant number of requests and opens no orders, also with problems to report."""

from __future__ import annotations

import pytest

from pycontw_assets.records import OrderSnapshot
from pycontw_assets.sandbox.world import World
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION

pytestmark = pytest.mark.thorough  # says little about tables


class CountingVault(Vault):
    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.opened: list[str] = []

    def read(self, key: str) -> OrderSnapshot | None:
        self.opened.append(key)
        return self._vault.read(key)


@pytest.mark.long
def test_an_idle_poll_opens_no_orders_and_asks_for_three_answers(install: Install, world: World) -> None:
    pipeline = install()
    event = world.add_event(f"PyCon TW {EDITION} Registration: Individual")
    world.sell(event, 3)
    for _ in range(2):
        pipeline.later_poll()
    vault = CountingVault(pipeline.root.vault)
    pipeline.restart(overrides={"vault": vault})
    mark = pipeline.mark()
    assert pipeline.later_poll().runs == ()
    assert vault.opened == []
    assert pipeline.requests(mark) == 3


def test_a_buyer_that_mail_cannot_reach_costs_one_request(install: Install, world: World) -> None:
    """The ticket is read again by every poll, so that a corrected address is seen by the next one."""
    pipeline = install()
    event = world.add_event(f"PyCon TW {EDITION} Registration: Individual")
    world.sell(event, 3)
    [unreachable] = world.sell(event, kind="missing")
    for _ in range(2):
        pipeline.later_poll()
    mark = pipeline.mark()
    [run] = pipeline.later_poll().runs
    assert run.ok
    read = [call.path for call in world.calls.find("kktix", since=mark.calls) if "/attendees/" in call.path]
    assert [path.rpartition("/")[2] for path in read] == [str(unreachable)]
    assert pipeline.requests(mark) == 4
