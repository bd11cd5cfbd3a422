"""The shared rate limiter against a service that counts calls: several pipelines at once get no 429.

The clients take turns on one clock, so the load of the machine does not matter. ``test_rate_limits`` covers threads
and processes.
"""

from __future__ import annotations

from pathlib import Path

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.rate_slots import SharedRateLimiter
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS, KlaviyoClient
from pycontw_assets_tests.fakes.clock import FakeClock

CALLS = 60  # each; together more than Klaviyo allows in a minute


def test_clients_of_one_ledger_get_no_429(tmp_path: Path) -> None:
    clock = FakeClock()
    world = World(clock)

    def now() -> float:
        return clock.now.timestamp()

    with SandboxServer(world) as server:
        clients = []
        for _ in range(3):
            ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")  # of its own, as in another process
            limiter = SharedRateLimiter(lambda ledger=ledger: ledger, "Klaviyo", RATE_LIMITS, clock=now)
            url = f"{server.url}/klaviyo"
            clients.append(KlaviyoClient(url, keys.KLAVIYO_KEY, limiter=limiter, clock=now, sleep=clock.sleep))
        for client in CALLS * clients:
            client.find_campaigns("Invitation")
    assert [record.status for record in world.calls.find()] == [200] * 3 * CALLS
    assert clock.slept
