"""Run one measurement in this process: ``python -m benchmarks.job NAME …`` prints its counts as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


def poll() -> dict[str, Any]:
    """Run ``pycontw-assets poll``, and count its requests."""
    from pycontw_assets.commands.instance import compose_checked
    from pycontw_assets.orchestration.graph.build import build_definitions
    from pycontw_assets.orchestration.instance import open_instance
    from pycontw_assets.orchestration.poll import poll

    root = compose_checked()
    with open_instance(root.settings.dagster_folder) as instance:
        report = poll(
            lambda books: build_definitions(root, books=books),
            instance,
            kktix=root.kktix,
            gather=root.gather,
            klaviyo=root.klaviyo,
            vault=root.vault,
            ledger=root.ledger,
            alerts=root.alerts,
            pseudonymizer=root.pseudonymizer,
            waits=root.waits,
            settings=root.settings,
            warehouse=root.warehouse,
            stop=root.stop,
        )
    return _summary(root, report.runs)


def _summary(root: Any, runs: Sequence[Any]) -> dict[str, Any]:
    return {
        "requests": _requests_sent(root),
        "runs": len(runs),
        "granted": _count(runs, "gather_guestlist", "granted"),
        "invited": _count(runs, "klaviyo_campaign", "invited"),
        "problems": [problem for run in runs for problem in (*run.failures, *run.problems)],
    }


def _count(runs: Sequence[Any], asset: str, name: str) -> int:
    return sum(run.counts.get(asset, {}).get(name, 0) for run in runs)


def ticks(number: int) -> dict[str, Any]:
    """Evaluate the sensor several times in one process, as the daemon does. Return the CPU seconds of a later tick.

    It uses only what the programs of all commits have: their definitions.
    """
    from dagster import DagsterInstance, SensorDefinition, build_sensor_context

    from pycontw_assets.definitions import defs

    sensor = defs.resolve_sensor_def("kktix_orders_sensor")
    assert isinstance(sensor, SensorDefinition)
    resources = defs.get_repository_def().get_top_level_resources()
    seconds = []
    with DagsterInstance.get() as instance:
        for _ in range(number):
            started = time.process_time()
            with build_sensor_context(
                instance=instance, instance_ref=instance.get_ref(), definitions=defs, resources=resources
            ) as context:
                result = sensor.evaluate_tick(context)
            seconds.append(time.process_time() - started)
    return {"cpu": min(seconds[1:]), "asked_for": len(result.run_requests or []), "skipped": result.skip_message or ""}


def naive() -> dict[str, Any]:
    from benchmarks.naive import NaiveWay

    way = NaiveWay()
    way.poll()
    return {"requests": way.requests_sent, "seconds": way.seconds}


def stages(attendees: int) -> dict[str, Any]:
    from benchmarks.stages import stages

    return stages(attendees)


def sale(orders: int, latency_ms: int) -> dict[str, Any]:
    from benchmarks.sale import sale

    return sale(orders, latency_ms / 1000)


def hinted_sale(orders: int, latency_ms: int) -> dict[str, Any]:
    from benchmarks.hinted import hinted_sale

    return hinted_sale(orders, latency_ms / 1000)


def _requests_sent(root: Any) -> int:
    clients = (root.__dict__.get(name) for name in ("kktix", "gather", "klaviyo"))
    return sum(client.api.requests_sent for client in clients if client is not None)


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    job.__name__: job for job in (poll, ticks, naive, stages, sale, hinted_sale)
}

if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    print(json.dumps(JOBS[what](*map(int, numbers))))
