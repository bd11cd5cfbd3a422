"""Compare the program of another commit with this one, in one run: ``python -m benchmarks --against REV``.

Both get installations and simulated services of their own, and every measurement alternates between them, so that a
busy minute of the machine hits both. The services and this harness are today's for both. The other program is
driven from outside: by its command ``poll``, by Dagster's own commands and by environment variables.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from json import loads
from pathlib import Path
from typing import Any

from benchmarks.daemon import Daemon, daemon
from benchmarks.measured import measured
from benchmarks.services import Services, sell, services
from pycontw_assets.sandbox.server import environment

ROOT = Path(__file__).parents[1]
NEWCOMERS = 10
_POLL = ("-m", "pycontw_assets", "poll", "--json")
_GOOD = (0, 1)  # 1: a poll that went through and has something to report, which is printed
_COLUMNS = ("what", "known", "figure", "before: median", "min to max", "after: median", "min to max", "after / before")

Figures = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """A comparison. ``rush``, ``orders``: numbers of buyers. ``runs``: how many before the folder is weighed."""

    rows: Sequence[str]
    sizes: Sequence[int]
    repeat: int
    latency: float
    rush: int
    rush_per_second: int
    orders: int
    runs: int


@dataclass(frozen=True)
class Program:
    """One commit's package in ``folder``, run by this interpreter."""

    name: str
    folder: Path

    def run(self, *arguments: str, variables: dict[str, str], good: Sequence[int] = (0,)) -> tuple[Figures, str]:
        """Run a process to its end. Return CPU seconds, wall seconds and peak MB, and its output."""
        try:
            return measured([sys.executable, *arguments], self.environment(variables), self.folder, good=good)
        except SystemExit as error:
            raise SystemExit(f"{self.name}: {error}") from None

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # The package of the commit comes first, then the benchmarks of today.
        return {**kept, **variables, "PYTHONPATH": os.pathsep.join(map(str, (self.folder, ROOT)))}


@dataclass(frozen=True)
class Installation:
    """A data folder of one program, with services of its own."""

    program: Program
    services: Services
    home: Path

    @property
    def variables(self) -> dict[str, str]:
        limits = {"INVITE_LIMIT": "1000000", "KKTIX_REQUESTS_PER_SECOND": "150"}
        places = {"PYCONTW_HOME": str(self.home), "DAGSTER_HOME": str(self.home / "dagster")}
        return {**environment(self.services.url), **limits, **places}

    def poll(self, **variables: str) -> Figures:
        figures, output = self.program.run(*_POLL, variables={**self.variables, **variables}, good=_GOOD)
        for problem in loads(output)["problems"]:
            print(f"{self.program.name}: {problem}", file=sys.stderr)
        return figures

    def sell(self, buyers: int) -> None:
        sell(self.services.url, buyers)


@contextmanager
def installation(program: Program, attendees: int, latency: float) -> Iterator[Installation]:
    with (
        tempfile.TemporaryDirectory(prefix="pycontw-benchmark-") as folder,
        services(attendees, latency) as running,
    ):
        yield Installation(program, running, Path(folder))


@contextmanager
def programs(revision: str) -> Iterator[tuple[Program, Program]]:
    """Yield the program of a commit and the one of the working tree. Git's own files are left alone."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision, "pycontw_assets"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        raise SystemExit(f"--against: {revision} is no commit with a pycontw_assets folder")
    with tempfile.TemporaryDirectory(prefix="pycontw-before-") as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else files.extractall(folder)
        yield Program("before", Path(folder)), Program("after", ROOT)


# -- the rows -------------------------------------------------------------------------------------------

Pair = tuple[Installation, Installation]


def idle(pair: Pair, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """A poll with nothing to do."""
    for _ in range(plan.repeat):
        yield tuple(one.poll() for one in pair)


def new(pair: Pair, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """A poll with ten newcomers: access, invitations, table."""
    for _ in range(plan.repeat):
        yield tuple(_with_newcomers(one, one.poll) for one in pair)


def runs(pair: Pair, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """The runs that the daemon starts for ten newcomers: first access, with the next tick the table."""
    with ExitStack() as stack:
        daemons = [stack.enter_context(daemon(one.program.environment(one.variables), one.home)) for one in pair]
        both = list(zip(pair, daemons, strict=True))
        for number in range(plan.repeat + 1):
            figures = tuple(_with_newcomers(one, partial(_two_runs, at_work)) for one, at_work in both)
            if number:  # the first has to wait for the code server
                yield figures


def _two_runs(at_work: Daemon) -> Figures:
    return {"access: CPU s": at_work.next_run(), "table: CPU s": at_work.next_run()}


def _with_newcomers(one: Installation, work: Callable[[], Figures]) -> Figures:
    one.sell(NEWCOMERS)
    return work()


def tick(pair: Pair, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """An evaluation of the sensor with nothing to do, in a process that is warm."""
    for _ in range(plan.repeat):
        outputs = (one.program.run("-m", "benchmarks.job", "ticks", "5", variables=one.variables)[1] for one in pair)
        yield tuple({"CPU s": loads(output.splitlines()[-1])["cpu"]} for output in outputs)


def folder(pair: Pair, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """The size of the data folder after polls with one newcomer each, which are two runs. Measured once."""
    for _ in range(plan.runs // 2):
        for one in pair:
            one.sell(1)
            one.poll()
    yield tuple(
        {"data folder MB": _megabytes(one.home), "Dagster MB": _megabytes(one.home / "dagster")} for one in pair
    )


def _megabytes(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


WARM: dict[str, Callable[[Pair, Plan], Iterator[tuple[Figures, ...]]]] = {
    row.__name__: row for row in (idle, new, runs, tick, folder)
}


def first(both: tuple[Program, Program], size: int, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """The first poll of an event that has sold many tickets."""
    for _ in range(plan.repeat):
        yield tuple(_first(program, size, plan) for program in both)


def _first(program: Program, size: int, plan: Plan) -> Figures:
    with installation(program, size, plan.latency) as one:
        return one.poll()


def rush(both: tuple[Program, Program], size: int, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """One poll after very many orders. ``wait``: from the start of the poll to each buyer's invitation."""
    for _ in range(plan.repeat):
        yield tuple(_rush(program, size, plan) for program in both)


def _rush(program: Program, size: int, plan: Plan) -> Figures:
    with installation(program, size, plan.latency) as one:
        one.poll()
        before = len(one.services.mails())
        one.sell(plan.rush)
        began = time.time()
        figures = one.poll(KKTIX_REQUESTS_PER_SECOND=str(plan.rush_per_second))
        waits = [left - began for left in one.services.mails()[before:]]
        missing = plan.rush - len(waits)
        if missing > 0:
            print(f"{program.name}: {missing} of {plan.rush} were not invited by that poll", file=sys.stderr)
        return {**figures, "median wait s": statistics.median(waits)} if waits else figures


def wait(both: tuple[Program, Program], _size: int, plan: Plan) -> Iterator[tuple[Figures, ...]]:
    """Seconds from payment to invitation in an hour of sale at accelerated time, with hints where there are any."""
    arguments = (str(plan.orders), str(round(plan.latency * 1000)))
    for _ in range(plan.repeat):
        yield tuple(_wait(program, arguments) for program in both)


def _wait(program: Program, arguments: tuple[str, ...]) -> Figures:
    has_hints = (program.folder / "pycontw_assets" / "orchestration" / "hints").is_dir()
    job = "hinted_sale" if has_hints else "sale"
    _, output = program.run("-m", "benchmarks.job", job, *arguments, variables={})
    found: dict[str, Any] = loads(output.splitlines()[-1])["invitation"]
    return {"p50 s": found["median"], "p95 s": found["p95"], "max s": found["slowest"]}


COLD: dict[str, Callable[[tuple[Program, Program], int, Plan], Iterator[tuple[Figures, ...]]]] = {
    row.__name__: row for row in (first, rush, wait)
}
ROWS = (*WARM, *COLD)


# -- the report ---------------------------------------------------------------------------------------


def compare(revision: str, plan: Plan) -> None:
    """Print one Markdown table, a row as soon as it is measured."""
    print("| " + " | ".join(_COLUMNS) + " |")
    print("|" + " ---: |" * len(_COLUMNS), flush=True)
    with programs(revision) as both:
        for size in plan.sizes:
            _compare_size(both, size, plan)
        if "wait" in plan.rows:
            _print_row("wait", plan.orders, list(wait(both, 0, plan)))


def _compare_size(both: tuple[Program, Program], size: int, plan: Plan) -> None:
    warm = [name for name in WARM if name in plan.rows]
    with ExitStack() as stack:
        if warm:
            before, after = (stack.enter_context(installation(program, size, plan.latency)) for program in both)
            for one in (before, after, before, after):  # the second poll has nothing to read again
                one.poll()
            for name in warm:
                _print_row(name, size, list(WARM[name]((before, after), plan)))
    for name in ("first", "rush"):
        if name in plan.rows:
            _print_row(name, size, list(COLD[name](both, size, plan)))


def _print_row(name: str, size: int, measured: Sequence[tuple[Figures, ...]]) -> None:
    for line in table_rows(name, size, measured):
        print(line, flush=True)


def table_rows(name: str, size: int, measured: Sequence[tuple[Figures, ...]]) -> Iterator[str]:
    """Yield a line per figure. ``measured``: pairs of before and after, one for each repetition."""
    before, after = ([pair[side] for pair in measured] for side in (0, 1))
    for figure in before[0]:
        old, new = ([found[figure] for found in side if figure in found] for side in (before, after))
        if old and new:
            ratio = statistics.median(new) / statistics.median(old) if statistics.median(old) else float("nan")
            cells = (name, f"{size:,}", figure, *_spread(old), *_spread(new), f"{ratio:.2f}")
            yield "| " + " | ".join(cells) + " |"


def _spread(values: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(values):,.2f}", f"{min(values):,.2f} to {max(values):,.2f}"
