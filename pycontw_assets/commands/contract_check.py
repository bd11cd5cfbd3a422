"""``contract-check``: compare the real services with what this program assumes. The report holds no value."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pycontw_assets.api.stopping import OF_THIS_PROCESS
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED, Commands
from pycontw_assets.commands.instance import compose
from pycontw_assets.pipeline.contract.check import events_to_read, report_of, switched_off, unanswered, walk_all
from pycontw_assets.pipeline.contract.exchanges import Recorder
from pycontw_assets.pipeline.contract.judge import AS_ASSUMED, DIFFERS, NOT_ASKED, NOT_SEEN
from pycontw_assets.pipeline.contract.report import as_text
from pycontw_assets.settings import InvalidSettings

_DEFAULT_FILE = Path("contract-report.json")
_WORDS = (AS_ASSUMED, DIFFERS, NOT_SEEN, NOT_ASKED)


def add_to(commands: Commands) -> None:
    """Register the command."""
    check = commands.add_parser(
        "contract-check",
        help="compare the real services with what this program assumes",
        description="Ask every endpoint that the program reads, changing nothing, in at most five minutes. Write a "
        "report of types, counts, lengths and latencies, which holds no name, address, key or id, and a verdict for "
        "every assumption. It can be mailed to the maintainers: docs/contract-check.md says what is in it. With "
        "--write-test-of-one it then runs the test of docs/setup.md, and asks before each write.",
        epilog="Exit 0: everything that was seen is as assumed. 1: something differs. 2: it could not be run, or a "
        "service gave no answer.",
    )
    check.add_argument(
        "--output",
        type=Path,
        default=_DEFAULT_FILE,
        metavar="FILE",
        help=f"write the report to this file (default: {_DEFAULT_FILE})",
    )
    check.add_argument(
        "--write-test-of-one",
        type=int,
        metavar="EVENT",
        help="then run the one-ticket test of docs/setup.md with the event of this number, in which you hold the only "
        "ticket: a question comes before each write, and it cleans up",
    )
    check.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    _check_file(parsed.output)
    _check_test_of_one(parsed.write_test_of_one)
    recorder = Recorder()
    root = compose(client_options={"on_answer": recorder.heard})
    settings = root.settings
    off = switched_off(settings)
    print("asking the services, reading only; this takes at most five minutes", file=sys.stderr)
    try:
        clients: dict[str, Any] = {"kktix": root.kktix, "gather": root.gather, "klaviyo": root.klaviyo}
    except ValueError as error:
        raise InvalidSettings(str(error)) from None
    walk_all(recorder, choose=events_to_read(settings), now=root.clock(), **clients)
    report = report_of(recorder.exchanges, switched_off=off)
    print("\n".join(describe_report(report, recorder.reasons)))
    if parsed.write_test_of_one is not None:
        report["test of one"] = _test_of_one(parsed.write_test_of_one)
    parsed.output.write_text(as_text(report) + "\n", encoding="utf-8")
    print("\n".join(_closing(report, parsed.output)))
    return exit_code(report)


def _test_of_one(event_id: int) -> dict[str, bool]:
    """Run the test and return its findings: statements, and whether each held."""
    from pycontw_assets.commands.interrupts import run_until_stopped
    from pycontw_assets.commands.one_ticket import FOLDER, OneTicket, settings_of_one

    test = OneTicket(settings=settings_of_one(event_id, FOLDER.absolute()), confirm=_confirm, say=print)

    def run() -> int:
        test.run()
        return FINE

    run_until_stopped(run, OF_THIS_PROCESS)
    print("\n".join(f"{'yes' if held else 'NO '}  {finding}" for finding, held in test.findings.items()))
    print("\n".join(["left, take it away by hand:", *(f"  {thing}" for thing in test.left)] if test.left else []))
    return test.findings


def _confirm(question: str) -> bool:
    """Ask on the terminal. Anything but y is no."""
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _check_test_of_one(event_id: int | None) -> None:
    """Raise ``InvalidSettings`` before anything is asked if the test could not be run."""
    from pycontw_assets.commands.one_ticket import FOLDER

    if event_id is None:
        return
    if not sys.stdin.isatty():
        raise InvalidSettings("--write-test-of-one: needs a terminal, because it asks before each write")
    if FOLDER.exists():
        raise InvalidSettings(f"--write-test-of-one: {FOLDER} is there already, from an earlier test; remove it first")


def _check_file(file: Path) -> None:
    """Raise ``InvalidSettings`` before any service is asked if the report could not be written."""
    folder = file.parent
    if file.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidSettings(f"--output: {file} cannot be written; name a file in a folder of yours")


def exit_code(report: dict[str, Any]) -> int:
    """Return 1 if something differs, 2 if a service that is switched on did not answer, and 0 otherwise."""
    if report["verdict counts"].get(DIFFERS) or not all(report.get("test of one", {}).values()):
        return FAILED
    return MISCONFIGURED if unanswered(report) else FINE


def describe_report(report: dict[str, Any], reasons: dict[str, str]) -> Iterator[str]:
    """Yield the lines for a person: each service with its counts, and what differs. ``reasons``: why one failed."""
    for service, state in report["services"].items():
        rows = [row for row in report["verdicts"] if row["endpoint"].split()[0] == service]
        counts = Counter(row["verdict"] for row in rows)
        shown = ", ".join(f"{counts[word]} {word}" for word in _WORDS if counts[word])
        colour = "red" if counts[DIFFERS] or service in unanswered(report) else "green"
        yield f"{paint(service, colour)}: {state}; of {len(rows)} assumptions {shown}"
        if service in unanswered(report):
            yield f"  {reasons.get(service, 'it was not asked: no time was left')}"
        yield from _differences(rows)
    if not report["facts"]["events read"]:
        yield "KKTIX lists no event of the conference, so nobody was read; set EDITION or KKTIX_EVENTS"


def _differences(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    for row in rows:
        if row["verdict"] == DIFFERS:
            why = f" ({row['because']})" if "because" in row else ""
            yield f"  {paint(DIFFERS, 'red')}: {row['endpoint']}: {row['statement']}{why}"


def _closing(report: dict[str, Any], file: Path) -> Iterator[str]:
    yield f"The report is in {file}. It holds no name, address, key or id. Read it, then send it to the maintainers."
    if report["verdict counts"].get(DIFFERS):
        yield "Something differs from what this program assumes: send the report before the sale goes on."
