"""Play an hour of sale at accelerated time, with a poll every five minutes, and measure how long buyers wait."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.services import slow_down
from pycontw_assets.pipeline.waiting_times import spread
from pycontw_assets.play.drill.alarms import AlarmChannel
from pycontw_assets.play.drill.play import Drill
from pycontw_assets.play.drill.sale import Pay, Sale, Sell
from pycontw_assets.play.drill.script import write_script
from pycontw_assets.play.drill.waits import both
from pycontw_assets.play.scratch_installation import scratch_installation


def sale(orders: int, latency: float) -> dict[str, Any]:
    """Return the seconds from payment to access and to the accepted invitation, for all tickets of the sale.

    Waits for the next poll are skipped, and the work of the pipeline is real. The clock counts both.
    """
    script = [step for step in write_script(orders, seed=0) if isinstance(step, Sell | Pay)]
    with scratch_installation() as installation, AlarmChannel() as steady, AlarmChannel() as other:
        slow_down(installation.world, latency)
        drill = Drill(installation, Sale(installation, script, seed=0, steady_channel=steady, broken_channel=other))
        drill.run()
        drill.judge()
        if not drill.passed:
            raise SystemExit("an invariant did not hold; play it with: pycontw-assets drill")
        waited = drill.waited()
    found = {what: spread(seconds) for what, seconds in both(waited).items()}
    return {what: asdict(seconds) for what, seconds in found.items() if seconds}
