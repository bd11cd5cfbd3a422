"""A whole pipeline in a test's hands: an invented world on a real socket, a home of its own, polls to run or to kill.

Waits take no time: the world, the ledger and the clients share one clock, and sleeping only moves it. Children
cannot share it, so they wait in real time, but briefly. A branch is a copy of everything, for one possible future.
The expectations of a test do not belong here.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from dagster import DagsterInstance, Definitions

from pycontw_assets.api.rate_limits import RateLimiter
from pycontw_assets.api.stopping import Stop
from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.extract.waves import WaveSize
from pycontw_assets.ledger.database.engine import close_files
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import check_locks
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.orchestration.graph.build import build_definitions
from pycontw_assets.orchestration.instance import prepare_instance
from pycontw_assets.orchestration.poll import PollReport, poll
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.records import Family
from pycontw_assets.sandbox.context import SkippingClock
from pycontw_assets.sandbox.oracle import Finding, verdict
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS, KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings, load_settings
from pycontw_assets_tests.bigquery import GOOGLE_VARIABLES
from pycontw_assets_tests.pipeline.instances import ephemeral_instance
from pycontw_assets_tests.pipeline.kill_points import KillPoint, KillPoints

EDITION = "2031"
# Settings of the stores by home, as ``--warehouse`` and ``--production`` ask for. Without any: the embedded stores.
STORES: list[Callable[[Path], dict[str, Any]]] = []
INTERVAL_SECONDS = 300
SERVICES = ("kktix", "gather", "discord", "klaviyo")
_USUAL_SIZE = WaveSize()
_CHILD_PATIENCE_SECONDS = 300  # longer than any process waits for a lock

Moment = Literal["before", "after"]
Command = Callable[[Definitions, Composition, DagsterInstance], bool]
_T = TypeVar("_T")


class TestClock(SkippingClock):
    """A clock that runs with real time, because Dagster stamps its runs with real time."""

    __test__ = False


def build_root(
    settings: Settings,
    clock: TestClock,
    *,
    timeouts: tuple[float, float] = (5, 5),
    waits: WaitPolicy | None = None,
    **overrides: Any,
) -> Composition:
    """Build real clients whose waits only move the clock. Only their time-outs take time."""
    client_options = {"sleep": clock.advance, "clock": clock.monotonic, "timeouts": timeouts}
    return _root(settings, clock, waits or WaitPolicy(sleep=clock.advance), client_options, RATE_LIMITS, **overrides)


def _root(
    settings: Settings,
    clock: TestClock,
    waits: WaitPolicy,
    client_options: dict[str, Any],
    limits: Any,
    **overrides: Any,
) -> Composition:
    stop = overrides.setdefault("stop", Stop())

    def gate() -> None:
        stop.check()
        check_locks()

    client_options = {"gate": gate, **client_options}
    kktix_token = settings.kktix_api_token.get_secret_value()
    gather_key = settings.gather_api_key.get_secret_value()
    klaviyo_key = settings.klaviyo_api_key.get_secret_value()
    limiter = RateLimiter(limits, client_options.get("clock", time.monotonic))
    parts: dict[str, Any] = {
        "waits": waits,
        "kktix": KktixClient(settings.kktix_api_url, kktix_token, **client_options),
    }
    if not settings.mail_is_off:
        parts["klaviyo"] = KlaviyoClient(settings.klaviyo_api_url, klaviyo_key, limiter=limiter, **client_options)
    if not settings.gather_is_off:
        parts["gather"] = GatherClient(settings.gather_api_url, gather_key, settings.gather_space_id, **client_options)
    if not settings.discord_is_off:
        parts["discord"] = DiscordClient(
            settings.discord_api_url,
            settings.discord_bot_token.get_secret_value(),
            settings.discord_guild_id,
            settings.discord_channel_id,
            **client_options,
        )
    return Composition(lambda: settings, clock=clock, **{**parts, **overrides})


def call(root: Composition, function: Callable[..., _T], *arguments: Any, **details: Any) -> _T:
    """Call a function of the pipeline with the parts of the root that its keyword-only parameters name."""
    keywords = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    parts = {name: getattr(root, name) for name in keywords if name not in details and hasattr(Composition, name)}
    if "clock" in keywords:
        parts["clock"] = root.clock
    return function(*arguments, **parts, **details)


class Definer:
    """Builds the definitions of a poll over these clients and stores: once, because only the books differ later on."""

    def __init__(self, root: Composition) -> None:
        self._root = root
        self._books: dict[int, Any] = {}
        self._definitions: Definitions | None = None

    def __call__(self, books: Any) -> Definitions:
        self._books.clear()
        self._books.update(books)
        if self._definitions is None:
            self._definitions = build_definitions(self._root, interval_seconds=INTERVAL_SECONDS, books=self._books)
        return self._definitions


definer = Definer


@dataclass
class Mark:
    """A point in the world's history, to ask what happened since."""

    calls: int
    mails: int


class Pipeline:
    """One installation: settings, home, clients, stores, instance. ``on_disk`` keeps Dagster's instance in the home."""

    def __init__(
        self,
        server: SandboxServer,
        clock: TestClock,
        home: Path,
        *,
        on_disk: bool = False,
        wave_size: WaveSize = _USUAL_SIZE,
        **settings: Any,
    ) -> None:
        self._wave_size = wave_size
        self.world: World = server.world
        self.clock = clock
        self.home = home
        home.mkdir(exist_ok=True)
        self._on_disk = on_disk
        self._doors = {name.lower(): value for name, value in server.environment.items()}
        self._variables: dict[str, Any] = {**self._doors, "pycontw_home": home}
        for settings_of in STORES:
            self._variables |= settings_of(home)
        self.instance = self._open_instance()
        self.restart(**settings)

    def restart(
        self, overrides: dict[str, Any] | None = None, *, timeouts: tuple[float, float] = (5, 5), **settings: Any
    ) -> None:
        """Imitate a new process: read the settings and build every client again."""
        self._variables |= settings
        self.settings = load_settings(**self._variables)
        parts = {"wave_size": self._wave_size, **(overrides or {})}
        self.root = build_root(self.settings, self.clock, timeouts=timeouts, **parts)
        self._definer = Definer(self.root)
        self._definitions: Definitions | None = None

    def forget_history(self) -> None:
        """Delete every trace of Dagster."""
        self.instance.dispose()
        shutil.rmtree(self.home / "dagster", ignore_errors=True)
        self.instance = self._open_instance()

    def _open_instance(self) -> DagsterInstance:
        if not self._on_disk:
            return ephemeral_instance()
        prepare_instance(self.home / "dagster")
        return DagsterInstance.from_config(str(self.home / "dagster"))

    @property
    def definitions(self) -> Definitions:
        """The definitions that Dagster loads: each run reads the books itself."""
        if self._definitions is None:
            self._definitions = build_definitions(self.root, interval_seconds=INTERVAL_SECONDS)
        return self._definitions

    @property
    def ledger(self) -> Ledger:
        return self.root.ledger

    def call(self, function: Callable[..., _T], *arguments: Any, **details: Any) -> _T:
        """Call a function of the pipeline with the clients and stores of this installation."""
        return call(self.root, function, *arguments, **details)

    # -- polls ------------------------------------------------------------------------------------

    def poll(self, *overrides: str) -> PollReport:
        return call(self.root, poll, self._definer, self.instance, overrides=overrides)

    def later_poll(self, *overrides: str) -> PollReport:
        """Poll at the time of the next tick."""
        self.clock.advance(INTERVAL_SECONDS)
        return self.poll(*overrides)

    def until_quiet(self, most_polls: int = 12) -> PollReport:
        """Poll until two polls in a row were fine and changed nothing outside."""
        quiet = 0
        for _ in range(most_polls):
            mark = self.mark()
            report = self.later_poll()
            quiet = quiet + 1 if report.ok and not self.writes(mark) else 0
            if quiet == 2:
                return report
            waits = [d.next_attempt_at for d in report.tick.decisions.values() if d.next_attempt_at]
            if waits:
                self.clock.advance(max(0.0, (max(waits) - self.clock()).total_seconds()))
        raise AssertionError(f"not quiet after {most_polls} polls: {describe(report)}")

    def branch(self, action: Callable[[Pipeline], _T]) -> Branch[_T]:
        """Begin ``action`` in another process, on a copy of world, clock and home. Nothing happens here."""
        return Branch(self, action)

    def move(self, server: SandboxServer, home: Path) -> None:
        """Continue in another home, with the same world behind another URL."""
        self.home = home
        doors = {name.lower(): value for name, value in server.environment.items()}
        chosen = {name: value for name, value in self._variables.items() if value != self._doors.get(name)}
        self._variables = {**doors, **chosen, "pycontw_home": home}
        if self._on_disk:
            self.instance = self._open_instance()
        self.restart()

    def run_in_child(self, point: KillPoint | None = None, command: Command | None = None) -> tuple[int, KillPoints]:
        """Run a command (a poll) in a child that dies at ``point``. Return its exit code and the points it reached.

        If Dagster's history is not on disk, the child has a copy of it, and the additions are lost with the child.
        """
        points = KillPoints(point)
        variables = {name: str(value) for name, value in self._variables.items()}
        instance = None if self._on_disk else self.instance
        child = Child(
            variables,
            self.clock.skipped,
            None,
            points=points,
            instance=instance,
            command=command,
            parts={"wave_size": self._wave_size},
        )
        child.go()
        return child.join(), points

    def start_child(self, kill_at: int | None = None) -> Child:
        """Start a poll in a child. With ``kill_at`` it kills itself before its k-th request to the outside."""
        variables = {name: str(value) for name, value in self._variables.items()}
        return Child(variables, self.clock.skipped, kill_at)

    def poll_in_child(self, kill_at: int | None = None, when: Moment = "before") -> int:
        """Run a real poll in a child, killed at its k-th request to the outside. Return its exit code.

        ``before``: the request never leaves. ``after``: the service acted, and its answer is lost.
        """
        child = self.start_child(kill_at if when == "before" else None)
        faults = []
        if kill_at is not None and when == "after":
            executioner = _Executioner(child, kill_at)
            faults = [self.world.faults.add(s, "hook", acts=True, times=None, action=executioner) for s in SERVICES]
        child.go()
        exit_code = child.join()
        if faults:
            self.world.faults.clear()
        return exit_code

    # -- looking back -----------------------------------------------------------------------------

    def mark(self) -> Mark:
        return Mark(self.world.calls.mark(), len(self.world.outbox))

    def requests(self, mark: Mark, service: str | None = None) -> int:
        return self.world.calls.count(service, since=mark.calls)

    def writes(self, mark: Mark) -> list[str]:
        """Return the calls since ``mark`` that could have changed something outside."""
        calls = self.world.calls.find(since=mark.calls)
        return [f"{call.method} {call.path}" for call in calls if call.is_write]

    def mailed(self, mark: Mark | None = None) -> list[str]:
        """Return the addresses in the order they were mailed."""
        return [mail.address for mail in self.world.outbox[mark.mails if mark else 0 :]]

    def guests(self) -> set[str]:
        return set(self.world.gather.guests)

    def ticket_holders(self, event_id: int) -> set[str | None]:
        """Return the addresses on the event's cumulative list in Klaviyo."""
        klaviyo = self.world.klaviyo
        lists = [one for one in klaviyo.lists.values() if one.name.endswith(f"-{event_id}-ticket-holders")]
        return {klaviyo.profiles[profile_id].email for one in lists for profile_id in one.current()}

    def verdict(self, *, settled: bool = True) -> list[Finding]:
        guest_list, by_flow = not self.settings.gather_is_off, self.settings.invite_via == "event"
        discord = not self.settings.discord_is_off
        return verdict(self.world, EDITION, guest_list=guest_list, settled=settled, by_flow=by_flow, discord=discord)

    def tables(self) -> dict[Family, list[dict[str, Any]]]:
        """Return the rows of the three tables, as a reader of the warehouse sees them."""
        tables = attendee_tables(load_policy().columns)
        return {
            family: json.loads(self.root.warehouse.read(table).sort_values("attendee_id").to_json(orient="records"))
            for family, table in tables.items()
        }

    def grep_home(self, words: Iterable[str]) -> list[str]:
        """Return where a word occurs in home, vault, ledger and tables, in any usual encoding, compressed or not."""
        needles = {needle: word for word in words for needle in spellings(word)}
        return sorted(
            {
                f"{place}: {needles[needle]}"
                for place, content in self._contents()
                for needle in needles
                if needle in content
            }
        )

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        close_files(self.ledger.engine)  # a process that reads the file of an open database loses its locks
        for file in self.home.rglob("*"):
            if not file.is_file():
                continue
            content = file.read_bytes()
            yield str(file.relative_to(self.home)), content
            if content.startswith(b"SQLite format 3"):
                with closing(sqlite3.connect(file)) as database:
                    yield f"{file.name} (rows)", "\n".join(database.iterdump()).encode()
        for name in self.root.vault_store.names():
            stored = self.root.vault_store.read(name)
            yield f"vault: {name}", stored.content if stored else b""
        with self.ledger.engine.begin() as database:
            reflected = sa.MetaData()
            reflected.reflect(database)
            for table in reflected.sorted_tables:
                rows = database.execute(sa.select(table)).all()
                yield f"ledger: {table.name}", "\n".join(map(str, rows)).encode()
        yield "tables (rows)", json.dumps(self.tables(), ensure_ascii=False).encode()


def spellings(word: str) -> set[bytes]:
    """Return a word as plain text, inside JSON, in a URL, and as UTF-16."""
    escaped = json.dumps(word)[1:-1]
    return {
        word.encode(),
        escaped.encode(),
        quote(word).encode(),
        quote(word, safe="").encode(),
        word.encode("utf-16-le"),
    }


def describe(report: PollReport) -> str:
    """Return the report of a poll, for messages of failing tests."""
    runs = [
        f"{run.job} {run.partition_key}: {[*run.failures, *run.problems, *run.warnings]}"
        for run in report.runs
        if not run.ok or run.problems or run.warnings
    ]
    waits = [f"{key}: {decision.reason}" for key, decision in report.tick.decisions.items()]
    return "; ".join([*runs, *report.tick.problems, *waits])


# -- children ---------------------------------------------------------------------------------------

# Forked while the sandbox's thread is idle. A child with everything imported and warm costs a third of a new one.
_processes = multiprocessing.get_context("fork")


class Child:
    """A poll in another process. It waits for ``go``, so that the test can prepare the kill."""

    def __init__(
        self,
        variables: dict[str, str],
        skipped: float,
        kill_at: int | None,
        *,
        points: KillPoints | None = None,
        instance: DagsterInstance | None = None,
        command: Command | None = None,
        parts: dict[str, Any] | None = None,
    ) -> None:
        self._gate, gate = _processes.Pipe()
        inherited = (gate, variables, skipped, kill_at, points, instance, command or _poll, parts or {})
        self._process: BaseProcess = _processes.Process(target=_live, args=inherited)
        self._process.start()

    def go(self) -> None:
        self._gate.send(True)

    def join(self) -> int:
        """Return the exit code: 0 is fine, 1 is a problem, -9 is a kill."""
        self._process.join(_CHILD_PATIENCE_SECONDS)
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError("a child did not end")
        return self._process.exitcode

    def kill(self) -> None:
        pid = self._process.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        while _is_alive(pid):
            time.sleep(0.001)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class _Executioner:
    """Counts the actions of the services, and kills the child between the k-th action and its answer."""

    def __init__(self, child: Child, kill_at: int) -> None:
        self._child = child
        self._kill_at = kill_at
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == self._kill_at:
                self._child.kill()


def _poll(definitions: Definitions, root: Composition, instance: DagsterInstance) -> bool:
    return call(root, poll, definer(root), instance).ok


def _live(
    gate: Any,
    variables: dict[str, str],
    skipped: float,
    kill_at: int | None,
    points: KillPoints | None,
    inherited: DagsterInstance | None,
    command: Command,
    parts: dict[str, Any],
) -> None:
    """Do the work of a child."""
    kept = {name: os.environ[name] for name in GOOGLE_VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.environ["HOME"] = variables["pycontw_home"]
    gate.recv()
    settings = load_settings(**variables)
    if points:
        points.watch(vault=f"{settings.home}/vault", ledger=f"{settings.home}/ledger.sqlite")
    client_options = {"sleep": lambda seconds: time.sleep(min(seconds, 0.02)), "on_request": _suicide(kill_at)}
    waits = WaitPolicy(step=0.01, visible=1, estimate=1, follow=1, second_look=0.01, draft_apart=0.05)
    unlimited = {group: [(1_000_000, 1)] for group in RATE_LIMITS}
    root = _root(settings, TestClock(skipped), waits, client_options, unlimited, **parts)
    definitions = build_definitions(root, interval_seconds=INTERVAL_SECONDS)
    if inherited:
        raise SystemExit(0 if command(definitions, root, inherited) else 1)
    folder = settings.home / "dagster"
    prepare_instance(folder)
    with DagsterInstance.from_config(str(folder)) as instance:
        is_fine = command(definitions, root, instance)
    raise SystemExit(0 if is_fine else 1)


def _suicide(kill_at: int | None) -> Callable[[str, str], None]:
    lock, count = threading.Lock(), 0

    def on_request(_method: str, _operation: str) -> None:
        nonlocal count
        with lock:
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(10)

    return on_request


# -- branches ---------------------------------------------------------------------------------------


class Branch(Generic[_T]):
    """An action on a copy of everything, including the sandbox: the fork copies the world."""

    def __init__(self, pipeline: Pipeline, action: Callable[[Pipeline], _T]) -> None:
        self.outcome, pipe = _processes.Pipe(duplex=False)
        self._process: BaseProcess = _processes.Process(target=_explore, args=(pipe, pipeline, action))
        self._process.start()
        pipe.close()

    def result(self) -> _T:
        """Wait for the result; an error there is an error here. ``outcome`` can be waited for along with others."""
        if not self.outcome.poll(_CHILD_PATIENCE_SECONDS * 2):
            self._process.kill()
            raise AssertionError("a branch did not end")
        try:
            is_fine, value = self.outcome.recv()
        except EOFError:
            is_fine, value = False, "a branch died without a word"
        self._process.join()
        if not is_fine:
            raise AssertionError(value)
        found: _T = value
        return found


def _explore(pipe: Any, pipeline: Pipeline, action: Callable[[Pipeline], _T]) -> None:
    home = pipeline.home.with_name(f"{pipeline.home.name}-{os.getpid()}")
    shutil.copytree(pipeline.home, home)
    try:
        with SandboxServer(pipeline.world) as server:
            pipeline.move(server, home)
            pipe.send((True, action(pipeline)))
    except BaseException:  # noqa: BLE001 - every error is sent to the parent
        pipe.send((False, traceback.format_exc()))
    finally:
        shutil.rmtree(home)
