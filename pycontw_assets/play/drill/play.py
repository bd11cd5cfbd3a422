"""Play a drill: poll every five minutes of the sale's time while the script happens, then judge."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pycontw_assets.api.client import ServiceError
from pycontw_assets.play.drill import alarms, backup
from pycontw_assets.play.drill.alarms import AlarmChannel
from pycontw_assets.play.drill.sale import Sale, Step
from pycontw_assets.play.drill.script import LASTING_ALARM
from pycontw_assets.play.drill.waits import WIDTH, Waited, histogram, table
from pycontw_assets.play.scratch_installation import (
    INVARIANTS,
    ScratchInstallation,
    scratch_installation,
    verdict_lines,
)
from pycontw_assets.sandbox.page.view import ticket_progress

INTERVAL = 300
# After the last step, so far apart that each reads every ticket again; two without work in a row: everything is done.
_LATE_INTERVAL = 7200
_QUIET_POLLS = 2
_MOST_LATE_POLLS = 8
_PROMPT = 2  # intervals: one until the next poll, one for what may go wrong with it


def play(script: Iterable[Step], seed: int = 0, plot: Path | None = None) -> bool:
    """Play the script and judge; return whether it could be played and every invariant held."""
    with scratch_installation() as installation, AlarmChannel() as steady, AlarmChannel() as broken:
        drill = Drill(installation, Sale(installation, script, seed, steady_channel=steady, broken_channel=broken))
        drill.run()
        drill.judge()
        for line in drill.report():
            print(line)
        if plot:
            drill.draw(plot)
            print(f"\nPicture: {plot}")
        return drill.passed


class Drill:
    """One sale with its polls, printed as they happen."""

    def __init__(self, installation: ScratchInstallation, sale: Sale) -> None:
        self._installation = installation
        self._sale = sale
        self._poll_seconds: list[float] = []
        self._crashes: list[tuple[datetime, datetime]] = []
        self._is_well = False
        self._is_good = False  # apart from alarm channels
        self._printed = 0
        self._missed_kills = 0
        self._was_deafness_reported = False

    @property
    def passed(self) -> bool:
        return self._installation.held and not self._missed_kills

    def run(self) -> None:
        print("A drill with invented buyers. Times are hours:minutes of the sale.\n")
        self._installation.poll()
        print("presale  polled; the sale opens now", flush=True)
        self._sale.open()
        while not self._sale.is_over:
            self._sale.wait_until((len(self._poll_seconds) + 1) * INTERVAL)
            self._poll()
        print(f"{_clock(self._sale.seconds)}  the sale is over; the pipeline finishes", flush=True)
        quiet = 0
        for _ in range(_MOST_LATE_POLLS):
            self._sale.wait_until(self._sale.seconds + _LATE_INTERVAL)
            mark = self._installation.world.calls.mark()
            self._poll()
            quiet = 0 if self._installation.writes(mark) or not self._is_well else quiet + 1
            if quiet == _QUIET_POLLS:
                break
        print("One more poll with nothing to do, and one with all history deleted.", flush=True)
        self._installation.poll_without_news()
        self._installation.poll_without_history()

    def _poll(self) -> None:
        self._print_steps()
        overrides = self._sale.backup.before_poll()
        began, outages, start = time.monotonic(), self._sale.outages_now(), self._installation.clock()
        if self._sale.kills_next_poll:
            self._sale.kills_next_poll = False
            was_killed = self._installation.killed_poll()
            self._missed_kills += not was_killed
            self._crashes.append((start, self._installation.clock()))
            outcome = "killed (SIGKILL)" if was_killed else "not killed"
        else:
            self._is_well = self._poll_is_well(overrides)
            self._sale.backup.after_poll(was_good=self._is_good)
            outcome = "" if self._is_well else "problems reported"
            for outage in outages:
                outage.was_noticed |= not self._is_good
        self._poll_seconds.append(time.monotonic() - began)
        self._print_steps()
        number = len(self._poll_seconds)
        print(f"{_clock(self._sale.seconds)}  poll {number:2}: {self._progress()}  {outcome}".rstrip(), flush=True)

    def _poll_is_well(self, overrides: Collection[str]) -> bool:
        try:
            report = self._installation.poll(overrides=overrides)
        except ServiceError:  # KKTIX did not even list its events
            self._is_good = False
            return False
        self._is_good = report.is_good
        self._was_deafness_reported |= bool(report.reach.problems) and not report.ok
        return report.ok

    def _print_steps(self) -> None:
        for seconds, line in self._sale.log[self._printed :]:
            print(f"{_clock(seconds)}  {line}", flush=True)
        self._printed = len(self._sale.log)

    def _progress(self) -> str:
        paid = [way for way in ticket_progress(self._installation.world).values() if way.phase in ("waiting", "done")]
        let_in = sum(way.access.state == "done" for way in paid)
        invited = sum(way.mail.state == "done" for way in paid)
        return f"{len(paid):4} paid, {let_in:4} let in, {invited:4} invited"

    # -- afterwards -----------------------------------------------------------------------------------

    def judge(self) -> None:
        """Judge what only the drill knows, then what every scratch installation is judged by."""
        expect = self._installation.expect
        expect(2, self._is_well, "the last poll reported problems")
        for outage in self._sale.outages:
            expect(9, outage.was_noticed, f"no poll reported that this failed: {outage.part}")
        for part, start, end in self._failures():
            if part in ("Klaviyo", "warehouse"):
                late = sum(self._is_late(ticket) for ticket in self.waited() if start <= ticket.paid_at < end)
                expect(9, not late, f"{late} waited for access because of: {part}")
        if self._sale.breaks_channel:
            channels, was_reported = (self._sale.steady_channel, self._sale.broken_channel), self._was_deafness_reported
            for text in alarms.broken_promises(*channels, LASTING_ALARM, was_reported=was_reported):
                expect(9, False, text)
        if self._sale.backup.restored_at:
            for text in backup.broken_promises(self._sale.backup, self._sale.steady_channel):
                expect(4, False, text)
        self._installation.expect_whole_tables()
        self._installation.judge()

    def _is_late(self, ticket: Waited) -> bool:
        return ticket.access is not None and ticket.access > _PROMPT * INTERVAL

    def waited(self) -> list[Waited]:
        """Return the tickets paid since the opening. Earlier buyers did not wait for the next poll."""
        return [
            Waited(way.usable_since, way.access.seconds, way.mail.seconds)
            for number, way in ticket_progress(self._installation.world).items()
            if way.phase in ("waiting", "done") and way.usable_since and way.usable_since > self._sale.opened_at
            if number not in self._sale.transferred
        ]

    def _failures(self) -> list[tuple[str, datetime, datetime]]:
        now = self._installation.clock()
        outages = [(outage.part, outage.start, outage.end or now) for outage in self._sale.outages]
        restored, ended = self._sale.backup.restored_at, self._sale.backup.ended_at or now
        older_vault = [("older vault", restored, ended)] if restored else []
        return [*outages, *(("crash", start, end) for start, end in self._crashes), *older_vault]

    def report(self) -> Iterator[str]:
        waited, failures = self.waited(), self._failures()
        delayed = [any(ticket.meets(start, end) for _, start, end in failures) for ticket in waited]
        smooth = [ticket for ticket, is_delayed in zip(waited, delayed, strict=True) if not is_delayed]
        rough = [ticket for ticket, is_delayed in zip(waited, delayed, strict=True) if is_delayed]
        yield "\n== How long buyers waited\n"
        yield from table([("nothing failed", smooth), ("something failed", rough), ("all", waited)])
        yield ""
        yield from histogram(waited)
        yield ""
        yield from textwrap.wrap(self._explanation(), WIDTH)
        yield "\n== Invariants\n"
        yield from verdict_lines(self._installation.broken, WIDTH)
        yield ""
        yield from textwrap.wrap(self._conclusion(), WIDTH)

    def _explanation(self) -> str:
        total, slowest = sum(self._poll_seconds), max(self._poll_seconds, default=0.0)
        return (
            f"Simulated: buyers, services, failures. The time between two polls ({INTERVAL} s) and in waits is "
            "skipped. Measured: the work of the pipeline, over HTTP and on disk. "
            f"{len(self._poll_seconds)} polls took {total:.0f} s on this machine, the slowest {slowest:.1f} s. That is "
            "part of the numbers above. The rest is waiting for the next poll, half an interval on average."
        )

    def _conclusion(self) -> str:
        names = [INVARIANTS[number] for number, findings in self._installation.broken.items() if findings]
        if names:
            return f"BROKEN: {'; '.join(names)}."
        return "NOT TRIED: a crash. The poll to be killed had nothing to send." if self._missed_kills else "All held."

    def draw(self, file: Path) -> None:
        from pycontw_assets.play.drill.plot import draw

        minutes = self._minute_of
        failures = [(name, minutes(start), minutes(end)) for name, start, end in self._failures()]
        draw(file, "From payment to access and to invitation", self.waited(), failures, minutes)

    def _minute_of(self, moment: datetime) -> float:
        return (moment - self._sale.opened_at) / timedelta(minutes=1)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}"
