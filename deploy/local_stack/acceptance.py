"""``check``: an invented sale, the daemon's sensor at work, and the verdict of the sandbox's judge."""

# ruff: noqa: T201  # prints for a person

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from deploy.local_stack.stack import Stack
from pycontw_assets.sandbox.oracle import Finding, verdict
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World

EDITION = "2031"
_TIMEOUT_SECONDS = 600.0
_PAUSE_SECONDS = 3.0


def check(home: Path) -> int:
    """Start the stack, let the daemon's sensor process an invented sale, judge the outcome, and stop."""
    started = time.monotonic()
    stack = Stack(home)
    # The judge needs the histories of the simulated services, so these run in this process and outlive the others.
    acceptance = Acceptance(stack)
    with acceptance.sandbox, stack:
        stack.start(leave_out="sandbox")
        print(f"healthy     after {time.monotonic() - started:.0f} s", flush=True)
        held = acceptance.judge()
    outcome = "ok         " if held else f"FAILED      logs are in {home / 'run' / 'logs'},"
    print(f"{outcome} after {time.monotonic() - started:.0f} s", flush=True)
    return 0 if held else 1


class Acceptance:
    """A sale with buyers before and after the first invitations and one refund; every promise must hold at the end."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._world = stack, World()
        self._events = seed_demo(self._world, EDITION)
        self.sandbox = SandboxServer(self._world, int(stack.variables["SANDBOX_PORT"]))

    def judge(self) -> bool:
        held = self._settled("the first buyers")
        if held:
            later = [self._world.sell(self._events[family]) for family in ("individual", "reserved")]
            self._world.refund(self._world.sell(self._events["corporate"])[0])
            print(f"sold        {len(later)} more tickets, and another that was refunded at once", flush=True)
            held = self._settled("the later buyers")
        return self._in_postgresql() and held

    def _settled(self, buyers: str) -> bool:
        """Wait until the judge finds nothing; stop at once if it finds something that waiting cannot repair."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while findings := verdict(self._world, EDITION):
            broken = verdict(self._world, EDITION, settled=False)
            if broken or time.monotonic() > deadline:
                _print(broken or findings)
                return False
            self._stack.watch()
            time.sleep(_PAUSE_SECONDS)
        mails, guests = len(self._world.outbox), len(self._world.gather.guests)
        print(f"invited     {buyers}: {mails} mails sent, {guests} on the guest list, no promise broken", flush=True)
        return True

    def _in_postgresql(self) -> bool:
        """Check that the services used both databases, instead of files as a fallback."""
        runs = self._count("dagster", "SELECT count(*) FROM runs WHERE status = 'SUCCESS'")
        ticks = self._count("dagster", "SELECT count(*) FROM job_ticks")
        invited = self._count("ledger", "SELECT count(*) FROM invitations")
        print(f"PostgreSQL  {runs} runs, {ticks} ticks; {invited} invitations in the ledger", flush=True)
        return min(runs, ticks, invited) > 0

    def _count(self, database: str, query: str) -> int:
        variables = self._stack.variables
        with psycopg.connect(
            host=variables["DB_HOST"],
            port=variables["DB_PORT"],
            user=database,
            dbname=database,
            password=variables[f"{database.upper()}_PG_PASSWORD"],
        ) as connection:
            row = connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0


def _print(findings: Sequence[Finding]) -> None:
    for finding in findings[:20]:
        print(f"broken      {finding.invariant}: {finding.text}", flush=True)
