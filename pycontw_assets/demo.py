"""``pycontw-assets demo``: the whole main job against a sandbox of invented buyers, then a verdict per invariant.

Everything goes over real HTTP on loopback and into a data folder of its own, which is searched for people at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance

from pycontw_assets.commands.instance import prepare_instance
from pycontw_assets.commands.polling import describe_run
from pycontw_assets.definitions import build_definitions
from pycontw_assets.orchestration.poll import PollReport, poll
from pycontw_assets.orchestration.resources import Services
from pycontw_assets.sandbox import oracle
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.settings import Settings

EDITION = "2031"
INVARIANTS = {
    1: "nobody is mailed twice",
    2: "nobody is forgotten",
    3: "nobody unpaid is let in, nobody refunded stays in",
    4: "could not read is never nothing there",
    5: "no mail before access",
    6: "personal data only in the vault and in memory",
    7: "level-triggered: all Dagster history deleted, nobody mailed again",
    8: "idempotent: polling again changes nothing outside",
    9: "one bad item does not sink the rest",
    10: "cost follows change",
}


def play() -> bool:
    """Play every act; ``True`` when every invariant held."""
    with tempfile.TemporaryDirectory(prefix="pycontw-demo-") as folder, _Stage(Path(folder)) as stage:
        for act in (_opening, _again, _late_payment, _refund, _transfer, _bad_weather, _crash, _history_deleted):
            print(f"\n== {(act.__doc__ or '').strip()}", flush=True)
            act(stage)
        stage.judge()
        return stage.report()


class _Stage:
    """The sandbox, the data folder and the pipeline between them; collects what broke, by invariant."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.world = World()
        self.events = seed_demo(self.world, EDITION)
        self.server = SandboxServer(self.world)
        self.broken: dict[int, list[str]] = {number: [] for number in INVARIANTS}

    def __enter__(self) -> _Stage:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(None, None, None)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.server.environment, "PYCONTW_HOME": str(self.home), "DAGSTER_HOME": str(self.home / "dagster")}

    def poll(self, **changes: str) -> PollReport:
        """One poll with the environment of a real one; ``changes`` are variables."""
        values = {name.lower(): value for name, value in {**self.environment, **changes}.items()}
        settings = Settings(_env_file=None, **values)  # type: ignore[arg-type]
        services = Services(lambda: settings)
        prepare_instance(settings.dagster_folder)
        with DagsterInstance.from_config(str(settings.dagster_folder)) as instance:
            return poll(
                build_definitions(services), services, instance, on_run=lambda run: print("  " + describe_run(run))
            )

    def expect(self, invariant: int, held: bool, otherwise: str) -> None:
        if not held:
            self.broken[invariant].append(otherwise)

    @contextmanager
    def nothing_changes_outside(self, invariant: int) -> Iterator[None]:
        """No write to Gather or Klaviyo and no mail within the block."""
        mark, mails = self.world.calls.mark(), len(self.world.outbox)
        yield
        writes = [call for call in self.world.calls.find(since=mark) if call.method != "GET"]
        self.expect(invariant, not writes, f"{len(writes)} calls changed something")
        self.expect(invariant, len(self.world.outbox) == mails, f"{len(self.world.outbox) - mails} more mails")

    def judge(self) -> None:
        for finding in oracle.verdict(self.world, EDITION):
            self.broken[finding.invariant].append(finding.text)
        for path, count in _traces(self.home, _words(self.world)).items():
            self.expect(6, False, f"{count} traces of people or keys in {path}")

    def report(self) -> bool:
        print("\n== What happened to whom (masked)\n")
        print("\n".join(_table(self.world)))
        print("\n== Invariants\n")
        for number, text in INVARIANTS.items():
            print(f"  {'held  ' if not self.broken[number] else 'BROKEN'} {number:2} {text}")
            for finding in self.broken[number]:
                print(f"         {finding}")
        return not any(self.broken.values())


# -- the acts -------------------------------------------------------------------------------------


def _opening(stage: _Stage) -> None:
    """Sales have opened: the first poll lets everybody in who paid, and invites them"""
    report = stage.poll()
    stage.expect(2, report.ok, "the first poll reported trouble")


def _again(stage: _Stage) -> None:
    """Nothing happened since: the second poll looks, and changes nothing"""
    mark = stage.world.calls.mark()
    with stage.nothing_changes_outside(8):
        report = stage.poll()
    open_ids = sum(fact.poll.open_ids for fact in report.tick.facts.values() if fact.poll)
    calls = stage.world.calls.count("kktix", since=mark)
    # Events and books are read by the tick and again by the run of an event with unpaid attendees.
    books = sum(1 + len(stage.world.kktix.events[event].books) for event in stage.events.values())
    stage.expect(10, calls <= 1 + 2 * books + open_ids, f"{calls} calls to KKTIX for {open_ids} open attendees")
    print(f"  {calls} calls to KKTIX, none to Gather or Klaviyo")


def _late_payment(stage: _Stage) -> None:
    """A convenience-store payment arrives: that buyer is invited by the next poll"""
    pending = next(
        t for t in stage.world.kktix.tickets.values() if t.event_id in stage.events.values() and not t.is_paid
    )
    stage.world.pay(pending.attendee_id)
    stage.poll()
    _expect_mails(stage, pending.address, 1)


def _refund(stage: _Stage) -> None:
    """A ticket is refunded: two good polls later its holder has left the guest list"""
    refunded = _sole_ticket(stage)
    stage.world.refund(refunded)
    stage.poll()
    stage.poll()
    address = oracle.normalise(stage.world.kktix.tickets[refunded].address)
    stage.expect(3, address not in map(oracle.normalise, stage.world.gather.guests), "a refunded guest is still in")


def _transfer(stage: _Stage) -> None:
    """A ticket changes hands: the new holder is let in and invited, the old one is not let in any more"""
    moved = _sole_ticket(stage)
    old = stage.world.kktix.tickets[moved].address
    stage.world.transfer(moved, "successor@example.org")
    stage.poll(REFRESH_SECONDS="0")
    _expect_mails(stage, "successor@example.org", 1)
    guests = set(map(oracle.normalise, stage.world.gather.guests))
    stage.expect(3, oracle.normalise(old) not in guests, "the previous holder is still in")


def _bad_weather(stage: _Stage) -> None:
    """Bad weather: a malformed attendee, an empty attendance book, Gather down; then it clears up"""
    world, event = stage.world, stage.events["individual"]
    (poison,) = world.sell(event)
    (fine,) = world.sell(event)
    world.kktix.override(poison, is_paid="perhaps")
    stage.poll()
    _expect_mails(stage, world.kktix.tickets[fine].address, 1, invariant=9)
    guests = dict(world.gather.guests)
    world.kktix.switches.shown_per_book[stage.events["corporate"]] = 0
    stage.poll()
    world.sell(event)
    fault = world.faults.add("gather", "status", status=503, times=None)
    failed = stage.poll()
    stage.expect(9, not failed.ok, "nobody heard of Gather being down")
    stage.expect(4, guests.items() <= world.gather.guests.items(), "an empty book or a failure withdrew somebody")
    fault.times = 0
    world.kktix.switches.shown_per_book.clear()
    world.kktix.tickets[poison].overrides.clear()
    stage.poll()
    stage.poll()


def _crash(stage: _Stage) -> None:
    """The pipeline is killed right after it asked Klaviyo to send; the next poll picks the pieces up"""
    stage.world.sell(stage.events["reserved"], 2)
    mark = stage.world.calls.mark()
    child = subprocess.Popen(
        [sys.executable, "-m", "pycontw_assets", "poll"],
        env={**os.environ, **stage.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(
        lambda: stage.world.calls.count("klaviyo", "POST", "campaign-send-jobs", mark) > 0 or child.poll() is not None
    )
    child.kill()
    child.wait()
    print("  killed")
    stage.poll()


def _history_deleted(stage: _Stage) -> None:
    """All of Dagster's history is deleted: everything is materialized again, and nobody is mailed again"""
    shutil.rmtree(stage.home / "dagster")
    with stage.nothing_changes_outside(7):
        stage.poll()


def _expect_mails(stage: _Stage, address: str, count: int, invariant: int = 2) -> None:
    stage.world.klaviyo.settle()
    wanted = oracle.normalise(address)
    mails = sum(oracle.normalise(mail.address) == wanted for mail in stage.world.outbox)
    stage.expect(invariant, mails == count, f"{oracle.mask(address)} got {mails} mails instead of {count}")


def _sole_ticket(stage: _Stage) -> int:
    """A usable ticket whose holder has no other one."""
    holders = Counter(oracle.normalise(ticket.address) for ticket in stage.world.kktix.tickets.values())
    entitled = oracle.entitled(stage.world, EDITION)
    for ticket in stage.world.kktix.tickets.values():
        address = oracle.normalise(ticket.address)
        if ticket.is_usable and address in entitled and holders[address] == 1:
            return ticket.attendee_id
    raise LookupError("the sale has no buyer of a single ticket")


def _wait_for(is_done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_done() and time.monotonic() < deadline:
        time.sleep(0.02)


# -- what to show, and what must not be found -----------------------------------------------------


def _table(world: World) -> Iterator[str]:
    """One line per buyer's address, without saying whose it is."""
    mails = Counter(oracle.normalise(mail.address) for mail in world.outbox if not mail.by_hand)
    guests = set(map(oracle.normalise, world.gather.guests))
    tickets: dict[str, list[str]] = {}
    for ticket in world.kktix.tickets.values():
        event = world.kktix.events[ticket.event_id]
        story = (
            "usable"
            if ticket.is_usable
            else "gone"
            if not ticket.books
            else "unpaid"
            if not ticket.is_paid
            else ticket.state
        )
        kind = f"{event.family or 'other'} {event.edition or ''}".strip()
        tickets.setdefault(oracle.normalise(ticket.address), []).append(f"{kind}: {story}")
    yield f"  {'buyer':<24} {'guest list':<11} {'mails':<6} tickets"
    for address, stories in tickets.items():
        listed = "yes" if address in guests else "-"
        counted = ", ".join(f"{count} x {story}" if count > 1 else story for story, count in Counter(stories).items())
        yield f"  {oracle.mask(address) or '(no address)':<24} {listed:<11} {mails[address]:<6} {counted}"


def _words(world: World) -> set[bytes]:
    """Everything about the invented people, and every key, that must not be found outside the vault's encryption."""
    words: set[str] = {"sandbox-kktix-token", "sandbox-gather-key", "sandbox-klaviyo-key"}
    for ticket in world.kktix.tickets.values():
        person = ticket.person
        words |= {ticket.address, ticket.address.strip(), person.name, person.nickname, person.phone, ticket.qrcode}
    return {word.encode() for word in words if len(word) >= 4}  # noqa: PLR2004  # shorter ones occur by chance


def _traces(folder: Path, words: set[bytes]) -> dict[str, int]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            count = sum(word in content for word in words)
            if count:
                found[str(path.relative_to(folder))] = count
    return found
