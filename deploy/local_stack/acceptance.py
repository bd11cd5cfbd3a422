"""``check``: an invented sale, the daemon's sensor at work, and the verdict of the sandbox's judge."""

# ruff: noqa: T201  # talks to a person

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
_PATIENCE_SECONDS = 600.0
_PAUSE_SECONDS = 3.0


def check(home: Path) -> int:
    """Start everything, let the daemon's sensor do its work on an invented sale, judge, stop."""
    started = time.monotonic()
    stack = Stack(home)
    # The judge needs the history of the simulated services, so they run in this process; and they outlive the others.
    acceptance = Acceptance(stack)
    with acceptance.sandbox, stack:
        stack.start(leave_out="sandbox")
        print(f"healthy     after {time.monotonic() - started:.0f} s", flush=True)
        held = acceptance.judge()
    verdict = "ok         " if held else f"FAILED      logs are in {home / 'run' / 'logs'},"
    print(f"{verdict} after {time.monotonic() - started:.0f} s", flush=True)
    return 0 if held else 1


class Acceptance:
    """Buyers before and after the first invitations, one refund; then every promise must hold."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._world = stack, World()
        self._events = seed_demo(self._world, EDITION)
        self.sandbox = SandboxServer(self._world, int(stack.variables["SANDBOX_PORT"]))

    def judge(self) -> bool:
        held = self._settled("the first buyers")
        if held:
            late = [self._world.sell(self._events[family]) for family in ("individual", "reserved")]
            self._world.refund(self._world.sell(self._events["corporate"])[0])
            print(f"sold        {len(late)} tickets more, and one that was refunded at once", flush=True)
            held = self._settled("the late buyers")
        return self._in_postgresql() and held

    def _settled(self, who: str) -> bool:
        """Wait until the judge has nothing to say. What it says of the past does not mend itself: no wait for that."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while findings := verdict(self._world, EDITION):
            broken = verdict(self._world, EDITION, settled=False)
            if broken or time.monotonic() > deadline:
                _tell(broken or findings)
                return False
            self._stack.watch()
            time.sleep(_PAUSE_SECONDS)
        mails, guests = len(self._world.outbox), len(self._world.gather.guests)
        print(f"invited     {who}: {mails} mails sent, {guests} on the guest list, no promise broken", flush=True)
        return True

    def _in_postgresql(self) -> bool:
        """Both databases must be what was used, not files that somebody fell back to."""
        runs = self._count("dagster", "DAGSTER_PG_PASSWORD", "SELECT count(*) FROM runs WHERE status = 'SUCCESS'")
        ticks = self._count("dagster", "DAGSTER_PG_PASSWORD", "SELECT count(*) FROM job_ticks")
        invited = self._count("ledger", "LEDGER_PG_PASSWORD", "SELECT count(*) FROM invitations")
        print(f"PostgreSQL  {runs} runs, {ticks} ticks; {invited} invitations in the ledger", flush=True)
        return min(runs, ticks, invited) > 0

    def _count(self, database: str, password: str, query: str) -> int:
        variables = self._stack.variables
        with psycopg.connect(
            host=variables["DB_HOST"],
            port=variables["DB_PORT"],
            user=database,
            dbname=database,
            password=variables[password],
        ) as connection:
            row = connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0


def _tell(findings: Sequence[Finding]) -> None:
    for finding in findings[:20]:
        print(f"broken      {finding.invariant}: {finding.text}", flush=True)
