"""``poll``: run one poll in this process, and print how it went for people or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pycontw_assets.alerts.heartbeat import beat
from pycontw_assets.api.garbage_collection import collect_rarely
from pycontw_assets.api.stopping import OF_THIS_PROCESS, Stop
from pycontw_assets.commands.console import paint, show_log
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import compose_checked
from pycontw_assets.commands.interrupts import run_until_stopped
from pycontw_assets.ledger.polls import Paused
from pycontw_assets.pipeline.checks import long_pause
from pycontw_assets.pipeline.polling.idle import idle_poll, warehouse_stamp
from pycontw_assets.pipeline.polling.remembered import note_tick, read_remembered
from pycontw_assets.pipeline.polling.report import PollReport, RunReport
from pycontw_assets.records import TICKET_STATES
from pycontw_assets.settings import Settings

if TYPE_CHECKING:
    from dagster import Definitions

    from pycontw_assets.pipeline.observe import Tick

OVERRIDES = ("account", "book", "guest-list", "invite", "re-read", "revoke")
# Counts of the assets -> the word for each in the line of an event. Zeros are left out.
_WORDS = {
    "attendees": "attendees",
    **{state.replace(" ", "_"): state for state in TICKET_STATES},
    "new": "new",
    "quarantined": "quarantined",
    "withheld_answers": "answers withheld",
    "granted": "let in",
    "on_the_list_before_us": "on the list already",
    "unconfirmed": "not confirmed",
    "revoked": "removed",
    "revocations_waiting": "removals waiting",
    "invited": "invited",
    "waiting": "waiting",
    "unreachable": "unreachable",
    "dagster/partition_row_count": "rows",
}


_SYSTEMS = ("kktix", "gather", "klaviyo", "vault", "ledger", "warehouse")
PARTS = (*_SYSTEMS, "alerts", "pseudonymizer", "waits", "settings", "stop")


def add_to(commands: Commands) -> None:
    """Register the command."""
    poll = commands.add_parser(
        "poll",
        help="run one poll now, in this process",
        description="Run one poll in this process: what the sensor would do now. It is recorded in Dagster's history, "
        "so a timer (cron, systemd) can run it instead of the daemon.",
        epilog="Exit 0: all is well, or polls are paused for less than a day. 1: something failed and will be tried "
        "again, or waits for a person. 2: the configuration is wrong. 130, 143, 129: a signal (INT, TERM, HUP) stopped "
        "it. The call under way was finished, and nothing counts as failed.",
    )
    poll.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    add_overrides(poll, "override a refusal for this poll only; docs/runbook.md says when that is right")
    poll.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="also print a line per step and decision to standard error; -vv prints more",
    )
    poll.set_defaults(run=_run)


def add_overrides(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add ``--allow``. Its old name still works, and is not shown."""
    for name, text in (("--allow", meaning), ("--consent", argparse.SUPPRESS)):
        parser.add_argument(name, dest="allow", action="append", default=[], choices=OVERRIDES, help=text)


def _run(parsed: argparse.Namespace) -> int:
    show_log(parsed.verbose)
    return run_until_stopped(lambda: _poll(parsed), OF_THIS_PROCESS)


def _poll(parsed: argparse.Namespace) -> int:
    root = compose_checked(accepts_account="account" in parsed.allow)

    def define(books: Any) -> Definitions:
        from pycontw_assets.orchestration.graph.build import build_definitions

        return build_definitions(root, books=books)

    try:
        report = run_poll({name: getattr(root, name) for name in PARTS}, parsed.allow, define)
    except Paused as paused:
        is_fine = not long_pause(paused.since, root.clock())
        document = json.dumps({"ok": is_fine, "paused_since": paused.since.isoformat()}, indent=2)
        print(document if parsed.json else paused)
        return _conclude(is_fine, root.settings, root.stop, is_good=is_fine)
    document = json.dumps(as_document(report), ensure_ascii=False, indent=2)
    print(document if parsed.json else "\n".join(describe_poll(report)))
    return _conclude(report.ok, root.settings, root.stop, is_good=report.is_good)


def run_poll(parts: dict[str, Any], overrides: Sequence[str], define: Callable[[Any], Definitions]) -> PollReport:
    """Poll without loading Dagster where nothing is due and its history is known, and with it otherwise.

    ``parts`` are the systems that a poll works with, by name.
    """
    folder, now, tick = parts["settings"].dagster_folder, parts["ledger"].clock, None
    if not overrides and (remembered := read_remembered(folder, now())):
        outcome = idle_poll(remembered, **parts)
        if isinstance(outcome, PollReport):
            note_tick(folder, remembered, now())
            return outcome
        tick = outcome
    return _poll_with_dagster(parts, overrides, define, tick)


def _poll_with_dagster(
    parts: dict[str, Any], overrides: Sequence[str], define: Callable[[Any], Definitions], tick: Tick | None
) -> PollReport:
    from pycontw_assets.orchestration.instance import open_instance
    from pycontw_assets.orchestration.poll import poll, remember_poll

    collect_rarely()  # Dagster is there by now
    settings = parts["settings"]
    before = warehouse_stamp(settings)
    with open_instance(settings.dagster_folder) as instance:
        report = poll(define, instance, overrides=overrides, tick=tick, **parts)
        remember_poll(report, instance, before=before, ledger=parts["ledger"], settings=settings)
    return report


def _conclude(is_fine: bool, settings: Settings, stop: Stop, *, is_good: bool) -> int:
    if is_good:
        stop.check()
        beat(settings.heartbeat_url)
    return FINE if is_fine else FAILED


def describe_poll(report: PollReport) -> Iterator[str]:
    """Yield a line per event, its failures and problems below it, then the events that were left alone."""
    tick = report.tick
    yield f"edition {tick.discovery.edition or 'none'}: {len(tick.facts)} events, {len(report.runs)} runs"
    if report.paused_since:
        yield paint(f"stopped here: {Paused(report.paused_since)}", "yellow")
    for run in report.runs:
        if run.partition_key is None:
            yield from _run_lines(run.job, "", [run])
    for key, decision in sorted(tick.decisions.items()):
        yield from _run_lines(key, decision.reason, [run for run in report.runs if run.partition_key == key])
    yield from (f"left   event {e.event_id} ({e.name}): {e.reason}" for e in tick.discovery.unmatched)
    problems = (*tick.problems, *report.late, *report.reach.problems)
    yield from (paint(f"       ! {problem}", "yellow") for problem in problems)
    yield from (f"       ? {warning}" for warning in tick.warnings)


def _run_lines(subject: str, reason: str, runs: Sequence[RunReport]) -> Iterator[str]:
    yield _event_line(subject, reason, runs)
    yield from (paint(f"       {failure}", "red") for run in runs for failure in run.failures)
    yield from (paint(f"       ! {problem}", "yellow") for run in runs for problem in run.problems)
    yield from (f"       ? {warning}" for run in runs for warning in run.warnings)


def _event_line(key: str, reason: str, runs: Sequence[RunReport]) -> str:
    if not runs:
        return f"{paint('idle  ', 'dim')} {key}: {reason}"
    is_ok = all(run.ok for run in runs)
    counts = {name: number for run in runs for asset in run.counts.values() for name, number in asset.items()}
    words = [f"{word} {counts[name]}" for name, word in _WORDS.items() if counts.get(name)]
    return f"{paint('ok    ', 'green') if is_ok else paint('FAILED', 'red')} {key}: {', '.join(words) or 'done'}"


def as_document(report: PollReport) -> dict[str, Any]:
    """Return the report as ``--json`` prints it."""
    tick = report.tick
    return {
        "ok": report.ok,
        "paused_since": report.paused_since.isoformat() if report.paused_since else None,
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
                "warnings": run.warnings,
                "counts": run.counts,
            }
            for run in report.runs
        ],
        "problems": (*tick.problems, *report.late, *report.reach.problems),
        "warnings": tick.warnings,
    }
