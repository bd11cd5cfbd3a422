"""``poll``: one tick in this process, told to a person or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pycontw_assets.alerts.heartbeat import beat
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import checked_services

if TYPE_CHECKING:
    from pycontw_assets.orchestration.poll import PollReport, RunReport

OVERRIDES = ("book", "guest-list", "invite", "revoke")
# What a line about an event tells, of the counts that its assets give.
_TOLD = {
    "attendees": "attendees",
    "usable": "usable",
    "pending": "unpaid",
    "new": "new",
    "quarantined": "quarantined",
    "granted": "let in",
    "on_the_list_before_us": "let in by others",
    "unconfirmed": "not confirmed",
    "revoked": "taken off",
    "revocations_waiting": "revocations waiting",
    "invited": "invited",
    "waiting": "waiting",
    "unreachable": "unreachable",
    "dagster/partition_row_count": "rows",
}


def add_to(commands: Commands) -> None:
    poll = commands.add_parser("poll", help="one tick: what the sensor would do now, in this process")
    poll.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    add_overrides(poll)
    poll.set_defaults(run=_poll)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=OVERRIDES,
        help="a person's word for this poll: what it refuses to do by itself is right",
    )


def _poll(parsed: argparse.Namespace) -> int:
    from pycontw_assets.definitions import build_definitions
    from pycontw_assets.orchestration.instance import open_instance
    from pycontw_assets.orchestration.poll import poll

    services = checked_services()
    with open_instance(services.settings.dagster_folder) as instance:
        report = poll(build_definitions(services), services, instance, overrides=parsed.allow)
    document = json.dumps(as_document(report), ensure_ascii=False, indent=2)
    print(document if parsed.json else "\n".join(describe_poll(report)))
    if report.ok:
        beat(services.settings.heartbeat_url)
    return FINE if report.ok else FAILED


def describe_poll(report: PollReport) -> Iterator[str]:
    """One line per event, its failures and problems below it; then what was left alone or could not be read."""
    tick = report.tick
    yield f"edition {tick.discovery.edition or 'none'}: {len(tick.facts)} events, {len(report.runs)} runs"
    for run in report.runs:
        if run.partition_key is None:
            yield from _run_lines(run.job, "", [run])
    for key, decision in sorted(tick.decisions.items()):
        yield from _run_lines(key, decision.reason, [run for run in report.runs if run.partition_key == key])
    yield from (f"left   event {e.event_id} ({e.name}): {e.reason}" for e in tick.discovery.unmatched)
    yield from (paint(f"       ! {problem}", "yellow") for problem in tick.problems)
    yield from (f"       ? {warning}" for warning in tick.warnings)


def _run_lines(subject: str, reason: str, runs: Sequence[RunReport]) -> Iterator[str]:
    yield _event_line(subject, reason, runs)
    yield from (paint(f"       {failure}", "red") for run in runs for failure in run.failures)
    yield from (paint(f"       ! {problem}", "yellow") for run in runs for problem in run.problems)


def _event_line(key: str, reason: str, runs: Sequence[RunReport]) -> str:
    if not runs:
        return f"{paint('idle  ', 'dim')} {key}: {reason}"
    is_ok = all(run.ok for run in runs)
    counts = {name: number for run in runs for asset in run.counts.values() for name, number in asset.items()}
    told = [f"{word} {counts[name]}" for name, word in _TOLD.items() if counts.get(name)]
    return f"{paint('ok    ', 'green') if is_ok else paint('FAILED', 'red')} {key}: {', '.join(told) or 'done'}"


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
