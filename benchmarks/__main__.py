"""``python -m benchmarks [--quick]``: one Markdown table of what polls cost, beside the naive way in the same run.

Every measurement is a process of its own, start-up included; the services are simulated by another one, with a
latency of their own. Figures are of this machine and this moment: nothing here fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.season import season
from benchmarks.shop import sell, shop
from pycontw_assets.sandbox.server import environment

NEWCOMERS = 10
SIZES, QUICK_SIZES = (300, 1500, 5000, 50_000), (300,)
LARGEST_NAIVE = 5000  # what the naive way is really made to do; beyond, its seconds per call are multiplied
RUSH_PER_SECOND = 20  # what KKTIX is taken to allow
_COLUMNS = (
    "known", "what", "requests", "wall s", "CPU s", "peak MB", "naive: requests", "wall s", "CPU s", "fewer requests",
    "faster",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Of one process. ``told`` is what it printed."""

    requests: int
    wall: float
    cpu: float | None
    megabytes: float | None
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Home:
    """One installation beside one shop."""

    url: str
    folder: Path

    def measure(self, *job: object, **variables: str) -> Cost:
        started = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.job", *map(str, job)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=self._environment | variables, text=True)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{job} failed")
        told: dict[str, Any] = json.loads(printed.splitlines()[-1])
        for problem in told.get("problems", ()):
            print(f"{job}: {problem}", file=sys.stderr)
        cpu = usage.ru_utime + usage.ru_stime
        return Cost(told.get("requests", 0), time.monotonic() - started, cpu, usage.ru_maxrss / 1024, told)

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, **environment(self.url), "PYCONTW_HOME": str(self.folder), "INVITE_LIMIT": "1000000"}

    def event_log_kilobytes(self) -> list[float]:
        """Of every run that is over."""
        files = self.folder.glob("dagster/history/runs/????????-*.db")
        return [file.stat().st_size / 1024 for file in files]


class Report:
    """Tells each row as soon as it is known: a full run takes most of an hour."""

    def __init__(self) -> None:
        self.per_call: dict[str, float] = {}
        print("| " + " | ".join(_COLUMNS) + " |")
        print("|" + " ---: |" * len(_COLUMNS), flush=True)

    def row(self, known: int, what: str, ours: Cost, naive: Cost) -> None:
        cells = [
            f"{known:,}", what, f"{ours.requests:,}", *_cost(ours),
            f"{naive.requests:,}", *_cost(naive)[:2],
            f"{naive.requests / max(ours.requests, 1):,.0f}×", f"{naive.wall / ours.wall:,.1f}×",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)

    def naive(self, home: Home, known: int, newcomers: int) -> Cost:
        """Really done, or reckoned from what was measured at a smaller size."""
        if known <= LARGEST_NAIVE and newcomers <= LARGEST_NAIVE:
            cost = home.measure("naive", newcomers)
            counts = {"read": known, "let in": newcomers, "profile": newcomers}
            for what, seconds in cost.told["seconds"].items():
                if counts[what] >= NEWCOMERS:
                    self.per_call[what] = seconds / counts[what]
            return cost
        calls = self.per_call
        # Klaviyo lets nobody write more than 750 profiles a minute.
        seconds = known * calls["read"] + newcomers * (calls["let in"] + max(calls["profile"], 60 / 750))
        return Cost(3 + known + 2 * newcomers, seconds, None, None)


def _cost(cost: Cost) -> tuple[str, str, str]:
    if cost.cpu is None or cost.megabytes is None:
        return f"{cost.wall:,.0f} *", "–", "–"
    return f"{cost.wall:,.1f}", f"{cost.cpu:,.1f}", f"{cost.megabytes:,.0f}"


@contextmanager
def installation(attendees: int, latency: float) -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="pycontw-benchmark-") as folder, shop(attendees, latency) as url:
        yield Home(url, Path(folder))


def measure_size(report: Report, home: Home, known: int) -> list[str]:
    """First load, idle poll, poll with newcomers; and what is told below the table."""
    report.row(known, "first load", home.measure("poll"), report.naive(home, known, known))
    home.measure("poll")
    report.row(known, "idle poll", home.measure("poll"), report.naive(home, known, 0))
    ticks = home.measure("ticks", 5)
    sell(home.url, NEWCOMERS)
    report.row(known, f"{NEWCOMERS} new", home.measure("poll"), report.naive(home, known + NEWCOMERS, NEWCOMERS))
    logs = home.event_log_kilobytes()
    return [
        f"{known:,} known: an idle tick costs the daemon {ticks.told['cpu']:.2f} CPU s; the event log of a run "
        f"{sum(logs) / len(logs):.0f} kB"
    ]


def measure_rush(report: Report, home: Home, known: int, rush: int) -> list[str]:
    """One poll after very many orders, KKTIX answering only so fast."""
    home.measure("poll")
    sell(home.url, rush)
    ours = home.measure("poll", KKTIX_REQUESTS_PER_SECOND=str(RUSH_PER_SECOND))
    report.row(known, f"rush of {rush:,}", ours, report.naive(home, known + rush, rush))
    told = ours.told
    return [
        f"rush of {rush:,} at {RUSH_PER_SECOND} requests/s: {told['granted']:,} let in and {told['invited']:,} invited "
        f"in one poll of {ours.wall / 60:.1f} minutes"
    ]


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small size, a small rush: a few minutes")
    parser.add_argument("--sizes", type=int, nargs="+", help=f"attendees known, one of at most {LARGEST_NAIVE}")
    parser.add_argument("--rush", type=int, help="orders within one poll; 0: none")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds every service takes to answer")
    asked = parser.parse_args()
    sizes = sorted(asked.sizes or (QUICK_SIZES if asked.quick else SIZES))
    rush = asked.rush if asked.rush is not None else (200 if asked.quick else 10_000)
    rows = 5000 if asked.quick else 100_000
    report, notes = Report(), []
    for known in sizes:
        with installation(known, asked.latency) as home:
            notes += measure_size(report, home, known)
    if rush:
        at = max(size for size in sizes if size <= LARGEST_NAIVE)
        with installation(at, asked.latency) as home:
            notes += measure_rush(report, home, at, rush)
        with installation(1, asked.latency) as home:
            stages = home.measure("stages", rows)
    print("\n\\* reckoned from the seconds per call measured above\n")
    print("\n".join(f"- {note}" for note in notes))
    print(f"\nCPU seconds per stage, {rows:,} attendees:\n\n| stage | CPU s |\n| --- | ---: |")
    print("\n".join(f"| {stage} | {seconds:.2f} |" for stage, seconds in stages.told.items()))
    print(_season_table())


def _season_table(attendees: int = 1500, days: int = 120) -> str:
    lines = [
        f"\nRequests to KKTIX on a day of a season ({attendees:,} tickets sold evenly over {days} days, a poll every "
        "five minutes):\n",
        "| day | known | ours | naive | fewer |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    table = season(attendees, days)
    for day in (1, days // 4, days // 2, days):
        known, ours, naive = table[day - 1]
        lines.append(f"| {day} | {known:,} | {ours:,} | {naive:,} | {naive / ours:,.0f}× |")
    ours, naive = (sum(row[column] for row in table) for column in (1, 2))
    return "\n".join([*lines, f"| all | | {ours:,} | {naive:,} | {naive / ours:,.0f}× |"])


if __name__ == "__main__":
    _main()
