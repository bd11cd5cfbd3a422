"""Two thousand polls, a week's worth: Dagster's history stays within the bound of docs/maintenance.md.

The limits are smaller than those of production, so that a week reaches them. The bytes per run and per observation,
which the document multiplies, are the same. ``-s`` shows the figures.
"""

from __future__ import annotations

import pytest

from pycontw_assets.orchestration.prune_dagster_storage import Kept, prune_dagster_storage
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline

POLLS, SALE_EVERY, SAMPLE_EVERY = 2000, 25, 10
LIMITS = Kept(runs=40, observations=400)
RUN_BYTES, OBSERVATION_BYTES, EMPTY_BYTES = 130_000, 3_000, 4_500_000
_NEEDED_RUNS = 10  # of one event: those with the latest materialization of an asset, and those of the last tick


def bound(kept: Kept) -> int:
    runs, observations = kept.runs + kept.at_once + _NEEDED_RUNS, kept.observations + kept.at_once
    return EMPTY_BYTES + runs * RUN_BYTES + observations * OBSERVATION_BYTES


def size(pipeline: Pipeline) -> int:
    return sum(file.stat().st_size for file in (pipeline.home / "dagster").rglob("*") if file.is_file())


@pytest.mark.slow
def test_the_history_stays_within_its_bound_for_two_thousand_polls(install: Install, world: World, event: int) -> None:
    pipeline = install(on_disk=True, refresh_seconds=6 * 3600)
    sizes: list[int] = []
    runs = 0
    for number in range(1, POLLS + 1):
        if number % SALE_EVERY == 1:
            world.sell(event)
        runs += len(pipeline.later_poll().runs)
        prune_dagster_storage(pipeline.instance, LIMITS)
        if number % SAMPLE_EVERY == 0:
            sizes.append(size(pipeline))
            print(f"{number} polls, {runs} runs: {sizes[-1] / 1e6:.2f} MB", flush=True)
    # The size rises with every run and falls when 20 are deleted at once: the peak counts.
    half = len(sizes) // 2
    slope = (max(sizes[half:]) - max(sizes[:half])) / (POLLS / 2)
    print(
        f"highest {max(sizes) / 1e6:.2f} MB, bound {bound(LIMITS) / 1e6:.2f} MB; {slope:+.0f} bytes per poll at the top"
    )
    assert max(sizes) <= bound(LIMITS)
    assert slope < 3 * RUN_BYTES / (POLLS / 2), "more than chance can add"
    assert pipeline.until_quiet().ok
    assert pipeline.verdict() == []
