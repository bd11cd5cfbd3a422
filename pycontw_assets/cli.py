"""The ``pycontw-assets`` commands, thin: parse, build, call, print. Personal data is never printed."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycontw_assets.api_client import ServiceError
from pycontw_assets.ledger import LedgerError
from pycontw_assets.settings import SANDBOX_PORT, InvalidSettings, Settings, load_settings
from pycontw_assets.vault import VaultError

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from pycontw_assets.orchestration.poll import PollReport, RunReport
    from pycontw_assets.orchestration.resources import Services

FINE, FAILED, MISCONFIGURED = 0, 1, 2
CONSENTS = ("book", "guest-list", "invite", "revoke")

# Run monitoring and limits keep a dead machine from blocking an event; retention keeps the storage bounded.
INSTANCE_CONFIG = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_monitoring: {enabled: true, max_runtime_seconds: 3600}
concurrency:
  runs:
    max_concurrent_runs: 4
    tag_concurrency_limits:
      - {key: dagster/partition, limit: 1, value: {applyLimitPerUniqueValue: true}}
# The runs print nothing, and capturing it costs two processes each; what happened is in the event log.
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
retention:
  sensor: {purge_after_days: {skipped: 7, started: 30, success: 30, failure: 30}}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 all fine, 1 something failed and will be retried, 2 configuration."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except InvalidSettings as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    except (LedgerError, VaultError) as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    except ServiceError as error:
        print(f"{error}. Nothing was changed; the next poll tries again.", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FINE
    except Exception as error:  # noqa: BLE001  # the boundary: a traceback quotes whatever a library put into its text
        from pycontw_assets.orchestration.safety import explain

        print(f"{explain(error)}. The next poll tries again.", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pycontw-assets", description="KKTIX tickets to access, every five minutes.")
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser("demo", help="play the whole main job against a sandbox and judge the outcome")
    demo.set_defaults(run=_demo)

    dev = commands.add_parser("dev", help="sandbox page, Dagster UI and daemon with the sensor running")
    dev.add_argument("--port", type=int, default=3000, help="of the Dagster UI")
    dev.add_argument("--sandbox-port", type=int, default=SANDBOX_PORT)
    dev.set_defaults(run=_dev)

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

    rebuild = commands.add_parser("rebuild-ledger", help="write a lost ledger again from Klaviyo, Gather and KKTIX")
    rebuild.set_defaults(run=_rebuild_ledger)

    adopt = commands.add_parser("adopt", help="people already invited by other means: let in, not mailed")
    adopt.add_argument("file", help="one address per line; - for standard input")
    adopt.add_argument("--edition", help="four digits; default: the live one")
    adopt.set_defaults(run=_adopt)

    release = commands.add_parser("release", help="let the next poll invite the people of a cancelled campaign anew")
    release.add_argument("batch_key")
    release.set_defaults(run=_release)

    sandbox = commands.add_parser("sandbox", help="only the simulated KKTIX, Gather and Klaviyo, with their page")
    sandbox.add_argument("--port", type=int, default=SANDBOX_PORT)
    sandbox.set_defaults(run=_sandbox)
    return parser


def open_instance(settings: Settings) -> DagsterInstance:
    """The Dagster instance of ``DAGSTER_HOME``, or the one under the data folder."""
    from dagster import DagsterInstance

    folder = settings.dagster_folder
    prepare_instance(folder)
    os.environ.setdefault("DAGSTER_HOME", str(folder))
    return DagsterInstance.get()


def prepare_instance(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "dagster.yaml").exists():
        (folder / "dagster.yaml").write_text(INSTANCE_CONFIG)


def _poll(parsed: argparse.Namespace) -> int:
    settings = load_settings()
    from pycontw_assets.definitions import build_definitions
    from pycontw_assets.orchestration.heartbeat import beat
    from pycontw_assets.orchestration.poll import poll
    from pycontw_assets.orchestration.resources import Services

    services = Services(lambda: settings)
    services.check()
    with open_instance(settings) as instance:
        say = (lambda report: None) if parsed.json else (lambda report: print(describe_run(report), flush=True))
        report = poll(build_definitions(services), services, instance, consents=parsed.consent, on_run=say)
    print(json.dumps(as_document(report), ensure_ascii=False, indent=2) if parsed.json else describe_tick(report))
    if report.ok:
        beat(settings.heartbeat_url)
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


def _rebuild_ledger(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.recovery import rebuild_ledger

    report = rebuild_ledger(_services())
    print(f"edition {report.edition}: " + ", ".join(f"{name} {number}" for name, number in report.counts.items()))
    print("\n".join(f"       ! {problem}" for problem in report.problems), end="\n" if report.problems else "")
    return FINE


def _adopt(parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.recovery import adopt_people, live_edition

    services = _services()
    if parsed.edition and not re.fullmatch("[0-9]{4}", parsed.edition):
        raise InvalidSettings("--edition: needs four digits")
    report = adopt_people(services, parsed.edition or live_edition(services), _lines(parsed.file))
    print(f"edition {report.edition}: {report.adopted} adopted, {report.known} in a batch before")
    if report.invalid_lines:
        print(f"       ! no address in {len(report.invalid_lines)} lines: {', '.join(map(str, report.invalid_lines))}")
    return FAILED if report.invalid_lines else FINE


def _lines(path: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InvalidSettings(f"FILE: cannot be read ({error.strerror})") from None
    return content.decode("utf-8-sig", errors="replace").split("\n")


def _release(parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.recovery import release_batch

    print(f"{release_batch(_services(), parsed.batch_key)} people released; the next poll invites whoever has a ticket")
    return FINE


def _services() -> Services:
    settings = load_settings()
    from pycontw_assets.orchestration.resources import Services

    services = Services(lambda: settings)
    services.check()
    return services


def _demo(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.demo import play

    return FINE if play() else FAILED


def _dev(parsed: argparse.Namespace) -> int:
    from pycontw_assets.dev import serve

    return serve(load_settings(), parsed.port, parsed.sandbox_port)


def _sandbox(parsed: argparse.Namespace) -> int:
    from pycontw_assets.sandbox.server import serve

    serve(parsed.port)
    return FINE
