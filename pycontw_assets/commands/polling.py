"""``poll``: one tick in this process, told to a person or as JSON."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from pycontw_assets.commands.exits import FAILED, FINE
from pycontw_assets.commands.instance import checked_services, open_instance

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands
    from pycontw_assets.orchestration.poll import PollReport, RunReport

CONSENTS = ("book", "guest-list", "invite", "revoke")


def add_to(commands: Commands) -> None:
    poll = commands.add_parser("poll", help="one tick: what the sensor would do now, in this process")
    poll.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    poll.add_argument(
        "--consent",
        action="append",
        default=[],
        choices=CONSENTS,
        help="a person's word for this poll: what it refuses to do by itself is right",
    )
    poll.set_defaults(run=_poll)


def _poll(parsed: argparse.Namespace) -> int:
    services = checked_services()
    from pycontw_assets.definitions import build_definitions
    from pycontw_assets.orchestration.heartbeat import beat
    from pycontw_assets.orchestration.poll import poll

    with open_instance(services.settings) as instance:
        say = (lambda report: None) if parsed.json else (lambda report: print(describe_run(report), flush=True))
        report = poll(build_definitions(services), services, instance, consents=parsed.consent, on_run=say)
    print(json.dumps(as_document(report), ensure_ascii=False, indent=2) if parsed.json else describe_tick(report))
    if report.ok:
        beat(services.settings.heartbeat_url)
    return FINE if report.ok else FAILED


def describe_run(report: RunReport) -> str:
    """One run, one line, and one more per failure or problem."""
    counts = [
        f"{name.replace('_', ' ')} {number}"
        for asset in report.counts.values()
        for name, number in asset.items()
        if number and "/" not in name
    ]
    lines = [
        f"{'ok    ' if report.ok else 'FAILED'} {report.partition_key or report.job}: {', '.join(counts) or 'done'}"
    ]
    lines += [f"       {failure}" for failure in report.failures]
    lines += [f"       ! {problem}" for problem in report.problems]
    return "\n".join(lines)


def describe_tick(report: PollReport) -> str:
    """What was seen: one line per event, the events left alone, and problems of the reading."""
    tick = report.tick
    ran = {run.partition_key for run in report.runs}
    lines = [f"edition {tick.discovery.edition or 'none'}: {len(tick.facts)} events, {len(report.runs)} runs"]
    lines += [f"idle   {key}: {decision.reason}" for key, decision in sorted(tick.decisions.items()) if key not in ran]
    lines += [f"left   event {e.event_id} ({e.name}): {e.reason}" for e in tick.discovery.unmatched]
    lines += [f"       ! {problem}" for problem in tick.problems]
    lines += [f"       ? {warning}" for warning in tick.warnings]
    return "\n".join(lines)


def as_document(report: PollReport) -> dict[str, Any]:
    tick = report.tick
    return {
        "ok": report.ok,
        "edition": tick.discovery.edition,
        "events": {
            key: {
                "in_the_book": len(tick.facts[key].book.ids) if tick.facts[key].book else None,  # type: ignore[union-attr]
                "decision": decision.reason,
                "next_attempt_at": decision.next_attempt_at.isoformat() if decision.next_attempt_at else None,
            }
            for key, decision in tick.decisions.items()
        },
        "left_alone": [
            {"event_id": event.event_id, "name": event.name, "reason": event.reason}
            for event in tick.discovery.unmatched
        ],
        "runs": [
            {
                "job": run.job,
                "partition": run.partition_key,
                "ok": run.ok,
                "failures": run.failures,
                "problems": run.problems,
                "counts": run.counts,
            }
            for run in report.runs
        ],
        "problems": tick.problems,
        "warnings": tick.warnings,
    }
