"""A throw-away installation with its own sandbox, and the judgement over it, for ``demo`` and ``drill``.

Everything goes over real HTTP on loopback and into real files; only waits are skipped. What happens in a sale does
not belong here.
"""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.orchestration.graph.build import build_definitions
from pycontw_assets.orchestration.instance import open_instance
from pycontw_assets.orchestration.poll import PollReport, RunReport, poll
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.sandbox import keys, oracle
from pycontw_assets.sandbox.context import SkippingClock
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings

EDITION = "2031"
INVARIANTS = {
    1: "nobody is mailed twice",
    2: "nobody is forgotten",
    3: "nobody unpaid is let in, nobody refunded stays in",
    4: "could not read is never nothing there",
    5: "no mail before access",
    6: "personal data only in the vault and in memory",
    7: "level-triggered: repairs differences, needs no history",
    8: "idempotent: polling again changes nothing outside",
    9: "one bad item does not stop the rest",
    10: "cost follows change",
}
_MOST_FINDINGS = 5
_CHILD_PATIENCE_SECONDS = 120
# The parent has threads and open databases, which a forked child must not inherit.
_processes = multiprocessing.get_context("spawn")


class ScratchInstallation:
    """The sandbox's world, a pipeline with its own data folder, and the broken promises by invariant."""

    def __init__(self, world: World, clock: SkippingClock, environment: Mapping[str, str], home: Path) -> None:
        self.world = world
        self.clock = clock
        self.home = home
        self.environment = {**environment, "PYCONTW_HOME": str(home)}
        self.broken: dict[int, list[str]] = {number: [] for number in INVARIANTS}

    def poll(
        self,
        on_run: Callable[[RunReport], None] = lambda run: None,
        overrides: Collection[str] = (),
        **changes: str,
    ) -> PollReport:
        """Poll as ``pycontw-assets poll`` does, with its ``--allow``. ``changes`` are variables of its environment."""
        hurry = {
            "waits": WaitPolicy(sleep=self.clock.advance),
            "client_options": {"sleep": self.clock.advance, "clock": self.clock.monotonic},
        }
        return _poll({**self.environment, **changes}, self.clock, on_run, overrides=overrides, **hurry)

    def killed_poll(self) -> bool:
        """Poll in another process, which is killed when Klaviyo has accepted a sending and not yet answered.

        Return whether it was killed: a poll with nothing to send comes to its end.
        """
        child = _processes.Process(target=_poll_in_child, args=(self.environment, self.clock.skipped), daemon=True)
        kill = self.world.faults.add(
            "klaviyo", "hook", method="POST", path="campaign-send-jobs", acts=True, action=child.kill
        )
        child.start()
        child.join(_CHILD_PATIENCE_SECONDS)
        was_reached, kill.times = kill.times == 0, 0
        child.kill()
        child.join()
        return was_reached and child.exitcode == -signal.SIGKILL

    # -- what must hold -------------------------------------------------------------------------------

    def expect(self, invariant: int, held: bool, otherwise: str) -> None:
        """Record a broken promise, unless it was kept."""
        if not held:
            self.broken[invariant].append(otherwise)

    @contextmanager
    def nothing_changes_outside(self, invariant: int) -> Iterator[None]:
        """Expect no write to Gather or Klaviyo and no mail within the block."""
        mark, mails = self.world.calls.mark(), len(self.world.outbox)
        yield
        writes = self.writes(mark)
        self.expect(invariant, not writes, f"{writes} calls changed something")
        self.expect(invariant, len(self.world.outbox) == mails, f"{len(self.world.outbox) - mails} more mails")

    def writes(self, since: int) -> int:
        """Count the calls since a mark that may have changed something outside."""
        return sum(call.is_write for call in self.world.calls.find(since=since))

    def poll_without_news(self) -> int:
        """Poll when nothing happened, and expect no change. Return how often KKTIX was asked."""
        mark = self.world.calls.mark()
        with self.nothing_changes_outside(8):
            report = self.poll()
        reread_count = sum(fact.poll.reread_count for fact in report.tick.facts.values() if fact.poll)
        calls = self.world.calls.count("kktix", since=mark)
        # Events and books are read by the tick and again by the run of an event with unpaid attendees.
        books = sum(1 + len(self.world.kktix.events[event].books) for event in oracle.events_of(self.world, EDITION))
        self.expect(
            10, calls <= 1 + 2 * books + reread_count, f"{calls} calls to KKTIX for {reread_count} open attendees"
        )
        return calls

    def poll_without_history(self) -> None:
        """Delete Dagster's history and poll: everything is materialized again, and nobody is mailed again."""
        shutil.rmtree(self.home / "dagster")
        with self.nothing_changes_outside(7):
            self.poll()

    def expect_whole_tables(self) -> None:
        """Expect a row for every attendee in a book, and that it says whether the ticket is usable."""
        warehouse, events = DuckDBWarehouse(self.home / "warehouse.duckdb"), oracle.events_of(self.world, EDITION)
        tables = [warehouse.read(table) for table in attendee_tables(load_policy().columns).values()]
        rows = {number: usable for table in tables for number, usable in zip(table.attendee_id, table.is_usable)}  # noqa: B905
        listed = {n: t for n, t in self.world.kktix.tickets.items() if t.books and t.event_id in events}
        missing = sum(rows.get(number) != ticket.is_usable for number, ticket in listed.items())
        self.expect(7, not missing, f"{missing} of {len(listed)} attendees are missing or outdated in the tables")

    def judge(self) -> None:
        """Judge what the world saw and what the data folder holds."""
        for finding in oracle.verdict(self.world, EDITION):
            self.broken[finding.invariant].append(finding.text)
        for path, count in _traces(self.home, _words(self.world)).items():
            self.expect(6, False, f"{count} traces of people or keys in {path}")

    @property
    def held(self) -> bool:
        return not any(self.broken.values())


@contextmanager
def scratch_installation() -> Iterator[ScratchInstallation]:
    """Yield an installation with an empty world. Its folder and its sandbox last as long as the block."""
    clock = SkippingClock()
    world = World(clock)
    with tempfile.TemporaryDirectory(prefix="pycontw-scratch-") as folder, SandboxServer(world) as server:
        yield ScratchInstallation(world, clock, server.environment, Path(folder))


def _poll(
    variables: Mapping[str, str],
    clock: SkippingClock,
    on_run: Callable[[RunReport], None],
    *,
    overrides: Collection[str] = (),
    **parts: Any,
) -> PollReport:
    values: dict[str, Any] = {name.lower(): value for name, value in variables.items()}
    # With this prefix no variable of the caller's real installation is read.
    settings = Settings(_env_file=None, _env_prefix="not a variable ", **values)
    root = Composition(lambda: settings, clock=clock, **parts)
    with open_instance(settings.dagster_folder) as instance:
        return poll(
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
            settings=settings,
            warehouse=root.warehouse,
            stop=root.stop,
            overrides=overrides,
            on_run=on_run,
        )


def _poll_in_child(variables: Mapping[str, str], skipped: float) -> None:
    """Poll with real waits: the clock of another process cannot be moved."""
    _poll(variables, SkippingClock(skipped), lambda run: None)


# -- the verdict ------------------------------------------------------------------------------------


def verdict_lines(broken: Mapping[int, Sequence[str]], width: int = 72) -> Iterator[str]:
    """Yield a line per invariant. Below a broken one come its first findings and their number."""
    for number, text in INVARIANTS.items():
        findings = Counter(broken[number])
        if not findings:
            yield f"  held   {number:2} {text}"
            continue
        yield f"  BROKEN {number:2} {text} ({len(broken[number])})"
        for finding, times in findings.most_common(_MOST_FINDINGS):
            line = f"{times} x {finding}" if times > 1 else finding
            yield from textwrap.wrap(line, width, initial_indent=" " * 12, subsequent_indent=" " * 14)
        if len(findings) > _MOST_FINDINGS:
            yield f"{'':12}and {len(findings) - _MOST_FINDINGS} more"


def _words(world: World) -> set[bytes]:
    """Return every text about the invented people, and every key: none may be found outside the encrypted vault."""
    words: set[str] = {keys.KKTIX_TOKEN, keys.GATHER_KEY, keys.KLAVIYO_KEY}
    for ticket in world.kktix.tickets.values():
        person = ticket.person
        words |= {ticket.address, ticket.address.strip(), person.name, person.nickname, person.phone, ticket.qrcode}
    return {word.encode() for word in words if len(word) >= 4}  # noqa: PLR2004  # shorter ones occur by chance


def _traces(folder: Path, words: set[bytes]) -> dict[str, int]:
    traces = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            count = sum(word in content for word in words)
            if count:
                traces[str(path.relative_to(folder))] = count
    return traces
