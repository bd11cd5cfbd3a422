"""One walk through the sandbox for all tests of this folder. The tests change copies of its answers."""

from __future__ import annotations

import pytest

from pycontw_assets.pipeline.contract.exchanges import Exchange
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.contract.world import a_world, send_an_invitation, walk


class Walked:
    """A sandbox, the exchanges of a walk through it, and the calls that the walk made."""

    def __init__(self) -> None:
        self.world: World = a_world()
        with SandboxServer(self.world) as server:
            self.url = server.url
            send_an_invitation(self.world, server)
            mark = self.world.calls.mark()
            self.exchanges: list[Exchange] = walk(server)
            self.calls = self.world.calls.find(since=mark)


@pytest.fixture(scope="session")
def walked() -> Walked:
    return Walked()


@pytest.fixture
def exchanges(walked: Walked) -> list[Exchange]:
    return walked.exchanges
