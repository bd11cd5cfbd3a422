"""A run that somebody starts in the UI is about one event, as every other run is."""

from __future__ import annotations

import pytest

from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.orchestration.jobs import jobs
from pycontw_assets.orchestration.observations import family_events, kktix_events
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.slow

CORPORATE, INDIVIDUAL = "2031-corporate-90001", "2031-individual-90002"


@pytest.fixture
def two_events(pipeline: Pipeline, world: World) -> Pipeline:
    """Set up two events whose tickets no poll has read."""
    for family in ("Corporate", "Individual"):
        world.sell(world.add_event(f"PyCon TW 2031 Registration: {family}"))
    for definition in (kktix_events, *family_events.values()):
        # More than the sensor adds: Dagster itself refuses a range with a key that a table does not know.
        pipeline.instance.add_dynamic_partitions(str(definition.name), [CORPORATE, INDIVIDUAL])
    return pipeline


# The template has no partitions, so for it a run without one is right.
RUNS = [(job.name, last) for job in jobs for last in (INDIVIDUAL, CORPORATE)]
RUNS += [(job.name, None) for job in jobs if job.name != "klaviyo_template_job"]


@pytest.mark.parametrize(("job", "last"), RUNS)
def test_a_run_over_a_range_or_none_is_refused_before_anything_is_read(
    two_events: Pipeline, job: str, last: str | None
) -> None:
    """A range of one event is a range, too: the limit of one run per event and the ticks do not see it either."""
    pipeline, mark = two_events, two_events.mark()
    tags = {"dagster/asset_partition_range_start": CORPORATE, "dagster/asset_partition_range_end": str(last)}
    result = pipeline.definitions.resolve_job_def(job).execute_in_process(
        instance=pipeline.instance, tags=tags if last else {}, raise_on_error=False
    )
    failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    assert [str(failure.description).partition(":")[0] for failure in failures if failure] == [
        "a run is about one event, and this one has a range of partitions, or none"
    ]
    assert pipeline.requests(mark) == 0
    assert not list(pipeline.home.glob("vault/*.orders"))
    assert open_problems(pipeline.ledger) == []


def test_a_backfill_makes_a_run_for_each_event(pipeline: Pipeline) -> None:
    """A policy of a single run would make one over a range."""
    policies = [spec.backfill_policy for spec in pipeline.definitions.resolve_asset_graph().asset_nodes]
    assert [policy for policy in policies if policy and policy.max_partitions_per_run != 1] == []
