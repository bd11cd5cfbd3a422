"""The shared limiter against a service that counts: several pipelines at once meet no 429."""

from __future__ import annotations

import threading
from pathlib import Path

from pycontw_assets.ledger_engine import open_engine
from pycontw_assets.rate_limits import SharedRateLimiter
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS, KlaviyoClient

CALLS = 7  # each; together more than two seconds of what Klaviyo allows


def test_three_clients_of_one_ledger_meet_no_429(tmp_path: Path) -> None:
    world = World()
    with SandboxServer(world) as server:

        def work() -> None:
            engine = open_engine(f"sqlite:///{tmp_path}/ledger.sqlite")  # of its own, as in another process
            limiter = SharedRateLimiter(lambda: engine, "Klaviyo", RATE_LIMITS)
            client = KlaviyoClient(f"{server.url}/klaviyo", keys.KLAVIYO_KEY, limiter=limiter)
            for _ in range(CALLS):
                client.find_campaigns("Invitation")
            engine.dispose()

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert [record.status for record in world.calls.find()] == [200] * 3 * CALLS
