"""``python -m benchmarks [--quick]``: print the cost of polls and of the naive way as a Markdown table.

With ``--against REV`` it compares the program of another commit with this one instead (``against.py``).

Every measurement is a separate process, including its start. Another process simulates the services and their latency.
The figures hold for this machine and this moment, so none of them is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.against import ROOT, ROWS, Plan, compare
from benchmarks.daemon import daemon
from benchmarks.measured import measured
from benchmarks.season import season
from benchmarks.services import running_services, sell
from pycontw_assets.sandbox.server import environment

NEWCOMERS = 10
SIZES, QUICK_SIZES = (300, 1500, 5000, 50_000), (300,)
AGAINST_SIZES = (300, 5000)
LARGEST_NAIVE = 5000  # measured up to this size; above it, the seconds per call are multiplied
SALE_ORDERS = 300
RUSH_PER_SECOND = 20  # the limit that KKTIX is assumed to have
_COLUMNS = (
    "known", "what", "requests", "wall s", "CPU s", "peak MB", "naive: requests", "naive: wall s", "fewer requests",
    "faster", "faster than with a memory",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """The cost of one process. ``printed`` is the JSON that it printed."""

    requests: int
    wall: float
    cpu: float
    megabytes: float
    printed: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Home:
    """One installation and its simulated services."""

    url: str
    folder: Path

    def measure(self, *job: object, **variables: str) -> Cost:
        cost, output = measured([sys.executable, "-m", "benchmarks.job", *map(str, job)], self.variables | variables)
        printed: dict[str, Any] = json.loads(output.splitlines()[-1])
        for problem in printed.get("problems", ()):
            print(f"{job}: {problem}", file=sys.stderr)
        return Cost(printed.get("requests", 0), cost["wall s"], cost["CPU s"], cost["peak MB"], printed)

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        limits = {"INVITE_LIMIT": "1000000", "KKTIX_REQUESTS_PER_SECOND": "150"}
        places = {"PYCONTW_HOME": str(self.folder), "DAGSTER_HOME": str(self.folder / "dagster")}
        return {**kept, **environment(self.url), **limits, **places}

    def kilobytes_per_run(self) -> float:
        """Return the size of Dagster's history by the number of runs in it."""
        history = self.folder / "dagster" / "history"
        with closing(sqlite3.connect(history / "runs.db")) as runs:
            number = int(runs.execute("SELECT count(*) FROM runs").fetchone()[0])
        return sum(file.stat().st_size for file in history.rglob("*.db")) / 1024 / number


@dataclass(frozen=True)
class Naive:
    """The naive way at one size, in seconds per call. ``is_calculated``: measured at a smaller size."""

    read: float
    let_in: float
    profile: float
    is_calculated: bool = False

    def requests(self, known: int) -> int:
        return 3 + 3 * known

    def wall(self, known: int) -> float:
        """Return the seconds of a poll. It remembers nobody, so every poll is its first."""
        return self.wall_with_memory(known, known)

    def wall_with_memory(self, known: int, newcomers: int) -> float:
        """Return the seconds of a variant that lets in and invites newcomers only."""
        return known * self.read + newcomers * (self.let_in + self.profile)


class Report:
    """Prints each row at once, because a full run takes most of an hour."""

    def __init__(self) -> None:
        print("| " + " | ".join(_COLUMNS) + " |")
        print("|" + " ---: |" * len(_COLUMNS), flush=True)

    def row(self, what: str, pipeline: Cost, naive: Naive, known: int, newcomers: int) -> None:
        """Print a row. ``known`` counts attendees before the poll; for a first load it is the size of the event."""
        size, known = known, known if what == "first load" else known + newcomers
        requests, wall = naive.requests(known), naive.wall(known)
        cells = [
            f"{size:,}", what, f"{pipeline.requests:,}", f"{pipeline.wall:,.1f}", f"{pipeline.cpu:,.1f}",
            f"{pipeline.megabytes:,.0f}",
            f"{requests:,}", f"{wall:,.0f}{' *' if naive.is_calculated else ''}",
            f"{requests / pipeline.requests:,.0f}×", f"{wall / pipeline.wall:,.1f}×",
            f"{naive.wall_with_memory(known, newcomers) / pipeline.wall:,.1f}×",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)


def measure_naive(home: Home, known: int, smaller: Naive | None) -> Naive:
    """Measure the naive way up to ``LARGEST_NAIVE``, and calculate it above."""
    if known > LARGEST_NAIVE and smaller:
        return replace(smaller, is_calculated=True)
    seconds = home.measure("naive").printed["seconds"]
    return Naive(*(seconds[what] / known for what in ("read", "let in", "profile")))


@contextmanager
def installation(attendees: int, latency: float) -> Iterator[Home]:
    with (
        tempfile.TemporaryDirectory(prefix="pycontw-benchmark-") as folder,
        running_services(attendees, latency) as url,
    ):
        yield Home(url, Path(folder))


def measure_size(report: Report, home: Home, known: int, naive: Naive) -> str:
    """Measure first load, idle poll and poll with newcomers. Return the note below the table."""
    report.row("first load", home.measure("poll"), naive, known, known)
    home.measure("poll")
    report.row("idle poll", home.measure("poll"), naive, known, 0)
    ticks = home.measure("ticks", 5)
    sell(home.url, NEWCOMERS)
    report.row(f"{NEWCOMERS} new", home.measure("poll"), naive, known, NEWCOMERS)
    with daemon(home.variables, ROOT) as at_work:
        for _ in range(2):  # the first run has to wait for the code server
            sell(home.url, NEWCOMERS)
            access, table = at_work.next_run(), at_work.next_run()
    return (
        f"{known:,} known: an idle tick costs the daemon {ticks.printed['cpu']:.2f} CPU s; {NEWCOMERS} new, in runs "
        f"under the daemon: access {access:.2f} CPU s, table {table:.2f} CPU s; Dagster's history "
        f"{home.kilobytes_per_run():.0f} kB a run"
    )


def measure_sale(home: Home, orders: int, latency: float) -> Iterator[str]:
    """Yield the lines about how long buyers wait when nothing goes wrong."""
    yield f"\nSeconds from payment, an hour of sale with {orders:,} orders at accelerated time:\n"
    yield "| until | tickets | p50 | p95 | max |\n| --- | ---: | ---: | ---: | ---: |"
    for what, found in home.measure("sale", orders, round(latency * 1000)).printed.items():
        yield f"| {what} | {found['count']} | {found['median']:.0f} | {found['p95']:.0f} | {found['slowest']:.0f} |"


def measure_rush(report: Report, home: Home, known: int, rush: int, naive: Naive) -> str:
    """Measure one poll after very many orders, with the rate limit of KKTIX."""
    home.measure("poll")
    sell(home.url, rush)
    pipeline = home.measure("poll", KKTIX_REQUESTS_PER_SECOND=str(RUSH_PER_SECOND))
    report.row(f"rush of {rush:,}", pipeline, replace(naive, is_calculated=True), known, rush)
    return (
        f"rush of {rush:,} at {RUSH_PER_SECOND} requests/s: {pipeline.printed['granted']:,} let in and "
        f"{pipeline.printed['invited']:,} invited in one poll of {pipeline.wall / 60:.1f} minutes"
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small size, a small rush: a few minutes")
    parser.add_argument("--sizes", type=int, nargs="+", help=f"attendees known, one of at most {LARGEST_NAIVE}")
    parser.add_argument("--rush", type=int, help="orders within one poll; 0: none")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds every service takes to answer")
    parser.add_argument("--against", metavar="REV", help="compare the program of this commit with the one here")
    parser.add_argument("--rows", help=f"with --against: some of {','.join(ROWS)}; all if not given")
    parser.add_argument("--repeat", type=int, default=5, help="with --against: measurements of each row")
    parser.add_argument("--orders", type=int, default=SALE_ORDERS, help="orders of the simulated hour of sale")
    parser.add_argument("--runs", type=int, default=100, help="with --against: runs before the data folder is weighed")
    asked = parser.parse_args()
    if asked.against:
        compare(asked.against, _plan(parser, asked))
        return
    sizes = sorted(asked.sizes or (QUICK_SIZES if asked.quick else SIZES))
    rush = asked.rush if asked.rush is not None else (200 if asked.quick else 10_000)
    rows = 5000 if asked.quick else 100_000
    report, notes, naive = Report(), [], None
    for known in sizes:
        with installation(known, asked.latency) as home:
            naive = measure_naive(home, known, naive)
        with installation(known, asked.latency) as home:
            notes.append(measure_size(report, home, known, naive))
        if rush and known == max(size for size in sizes if size <= LARGEST_NAIVE):
            with installation(known, asked.latency) as home:
                notes.append(measure_rush(report, home, known, rush, naive))
    with installation(1, asked.latency) as home:
        stages = home.measure("stages", rows)
        latencies = list(measure_sale(home, asked.orders, asked.latency))
    print("\n\\* calculated from the seconds per call at a smaller size\n")
    print("\n".join(f"- {note}" for note in notes))
    print(f"\nCPU seconds per stage, {rows:,} attendees:\n\n| stage | CPU s |\n| --- | ---: |")
    print("\n".join(f"| {stage} | {seconds:.2f} |" for stage, seconds in stages.printed.items()))
    print("\n".join(latencies))
    print(_season_table())


def _plan(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> Plan:
    rows = asked.rows.split(",") if asked.rows else list(ROWS)
    if unknown := set(rows) - set(ROWS):
        parser.error(f"--rows: there is no {', '.join(sorted(unknown))}; rows are {', '.join(ROWS)}")
    if asked.repeat < 1 or asked.runs < 2:  # noqa: PLR2004
        parser.error("--repeat and --runs: at least 1 and 2")
    rush = asked.rush if asked.rush is not None else (200 if asked.quick else 10_000)
    return Plan(
        rows=[row for row in rows if row != "rush" or rush],
        sizes=sorted(asked.sizes or (QUICK_SIZES if asked.quick else AGAINST_SIZES)),
        repeat=asked.repeat,
        latency=asked.latency,
        rush=rush,
        rush_per_second=RUSH_PER_SECOND,
        orders=asked.orders,
        runs=asked.runs,
    )


def _season_table(attendees: int = 1500, days: int = 120) -> str:
    lines = [
        f"\nRequests to KKTIX on a day of a season ({attendees:,} tickets sold evenly over {days} days, a poll every "
        "five minutes):\n",
        "| day | known | this program | naive | fewer |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    table = season(attendees, days)
    for day in (1, days // 4, days // 2, days):
        known, pipeline, naive = table[day - 1]
        lines.append(f"| {day} | {known:,} | {pipeline:,} | {naive:,} | {naive / pipeline:,.0f}× |")
    pipeline, naive = (sum(row[column] for row in table) for column in (1, 2))
    return "\n".join([*lines, f"| all | | {pipeline:,} | {naive:,} | {naive / pipeline:,.0f}× |"])


if __name__ == "__main__":
    _main()
