"""What is measured, each in a process of its own: ``python -m benchmarks.job <what> …`` prints counts as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def poll() -> dict[str, Any]:
    """``pycontw-assets poll``, and what it asked for."""
    from pycontw_assets.commands.instance import checked_services, open_instance

    services = checked_services()
    from pycontw_assets.definitions import build_definitions
    from pycontw_assets.orchestration.poll import poll

    with open_instance(services.settings) as instance:
        report = poll(build_definitions(services), services, instance)
    requests = _requests_sent(services)
    granted = sum(run.counts.get("gather_guestlist", {}).get("granted", 0) for run in report.runs)
    invited = sum(run.counts.get("klaviyo_campaign", {}).get("invited", 0) for run in report.runs)
    return {
        "requests": sum(requests.values()),
        "by_service": requests,
        "runs": len(report.runs),
        "ok": report.ok,
        "granted": granted,
        "invited": invited,
        "problems": [problem for run in report.runs for problem in (*run.failures, *run.problems)],
    }


def ticks(number: int) -> dict[str, Any]:
    """Evaluations of the sensor by a process that lives on, as the daemon's does: CPU seconds of the later ones."""
    from dagster import SensorDefinition, build_sensor_context

    from pycontw_assets.commands.instance import checked_services, open_instance
    from pycontw_assets.definitions import build_definitions

    services = checked_services()
    definitions = build_definitions(services)
    sensor = definitions.resolve_sensor_def("kktix_orders_sensor")
    assert isinstance(sensor, SensorDefinition)
    seconds = []
    with open_instance(services.settings) as instance:
        for _ in range(number):
            started = time.process_time()
            with build_sensor_context(
                instance=instance,
                instance_ref=instance.get_ref(),
                definitions=definitions,
                resources={"services": services},
            ) as context:
                told = sensor.evaluate_tick(context)
            seconds.append(time.process_time() - started)
    return {"cpu": min(seconds[1:]), "asked_for": len(told.run_requests or []), "skipped": told.skip_message or ""}


def naive() -> dict[str, Any]:
    from benchmarks.naive import NaiveWay

    way = NaiveWay()
    way.poll()
    return {"requests": way.requests_sent, "seconds": way.seconds}


def stages(attendees: int) -> dict[str, Any]:
    from benchmarks.stages import stages

    return stages(attendees)


def _requests_sent(services: Any) -> dict[str, int]:
    built = {name: services.__dict__.get(name) for name in ("kktix", "gather", "klaviyo")}
    return {name: client.api.requests_sent for name, client in built.items() if client is not None}


JOBS: dict[str, Callable[..., dict[str, Any]]] = {"poll": poll, "ticks": ticks, "naive": naive, "stages": stages}

if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    print(json.dumps(JOBS[what](*map(int, numbers))))
