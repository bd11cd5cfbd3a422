"""Random events of a sale in any order: the machine of ``state_machine.py``, in few short sales or many long ones.

    PYTEST_SALES=500 pytest -m slow -n 2 --dist load -rP pycontw_assets_tests/pipeline/test_state_machine.py

``PYTEST_SALES_VENUES`` is ``gather``, ``discord`` or ``discord,gather``; ``PYTEST_SALES_WAY`` how people are invited.
``PYTEST_SALES_SEED`` repeats a run whose seed was printed; ``PYTEST_SALES_SHRINK=1`` spends minutes on a shorter story.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets_tests.pipeline.state_machine import HAS_DISCORD, HAS_GATHER, Sale

pytestmark = pytest.mark.thorough  # says nothing about tables

SALES = int(os.environ.get("PYTEST_SALES", "500"))
SEED = int(os.environ.get("PYTEST_SALES_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("PYTEST_SALES_SHRINK") else (Phase.generate,)
# In so many sales all of these must happen; otherwise they prove less than they seem to.
ENOUGH = 100
INTERESTING = (
    "mails",
    "letters",
    "kills",
    "faults",
    "nuisances",
    "overrides",
    "events ended",
    "histories deleted",
    "polls of the second machine",
    "overlaps: poll",
    "overlaps: other machine",
    "editions made early",
    "short books",
    "broken channels",
    "signals",
    "restored: vault",
    *(() if HAS_DISCORD else ("restored: ledger", "ledgers rebuilt")),
    *(("guests let in", "guests taken off", "guests by hand", "second spaces") if HAS_GATHER else ()),
    *(("invites used", "guild: roles left to people") if HAS_DISCORD else ()),
)


def run_sales(server: SandboxServer, profile: settings, chosen_seed: int | None = None) -> Counter[str]:
    tally: Counter[str] = Counter()
    machine = type("Sale", (Sale,), {"server": server, "tally": tally})
    quiet = settings(profile, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    test = get_state_machine_test(machine, settings=quiet)
    try:
        (test if chosen_seed is None else seed(chosen_seed)(test))()
    finally:
        # Count also in sales that end badly: how many ended well before.
        print("\n".join(f"{count:7} {name}" for name, count in sorted(tally.items())))
    return tally


@pytest.mark.long
def test_every_promise_is_kept_in_a_few_short_sales(server: SandboxServer) -> None:
    tally = run_sales(server, settings(max_examples=2, stateful_step_count=12, derandomize=True))
    assert tally["mails"]


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_every_promise_is_kept_in_many_long_sales(server: SandboxServer, half: int) -> None:
    print(f"half {half} with PYTEST_SALES_SEED={SEED}")
    # The first step is the installation.
    profile = settings(max_examples=SALES // 2, stateful_step_count=51, phases=PHASES, database=None)
    tally = run_sales(server, profile, SEED + half)
    assert tally["mails"]
    assert SALES < ENOUGH or not [name for name in INTERESTING if not tally[name]]
