"""An idle tick costs a constant number of requests and opens no orders, also with problems to report."""

from __future__ import annotations

import pytest

from pycontw_assets.records import OrderSnapshot
from pycontw_assets.sandbox.world import World
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION


class CountingVault(Vault):
    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.opened: list[str] = []

    def read(self, key: str) -> OrderSnapshot | None:
        self.opened.append(key)
        return self._vault.read(key)


@pytest.mark.parametrize("missing", [0, 1], ids=["all can be mailed", "one buyer cannot be mailed"])
def test_an_idle_poll_opens_no_orders_and_asks_for_three_answers(install: Install, world: World, missing: int) -> None:
    pipeline = install()
    event = world.add_event(f"PyCon TW {EDITION} Registration: Individual")
    world.sell(event, 3)
    if missing:
        world.sell(event, kind="missing")
    for _ in range(2):
        pipeline.later_poll()
    vault = CountingVault(pipeline.root.vault)
    pipeline.restart(overrides={"vault": vault})
    mark = pipeline.mark()
    assert pipeline.later_poll().runs == ()
    assert vault.opened == []
    assert pipeline.requests(mark) == 3
