"""Best-effort work of every tick: history stays bounded without a loss, and sales are reported once a day."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from dagster import AssetKey, DagsterEventType, RunsFilter

from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.orchestration.prune_dagster_storage import KEPT, Kept, prune_dagster_storage
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.pipeline.maintenance import REVISION_ENDS
from pycontw_assets.pipeline.observe import observe
from pycontw_assets.pipeline.reconcile import pause_after, pause_base
from pycontw_assets.sandbox.world import World
from pycontw_assets.vault.vault import VaultError
from pycontw_assets_tests.fakes.channels import Channels
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline

pytestmark = pytest.mark.thorough  # says little about tables

ROOT = Path(__file__).parents[2]
DAY_SECONDS = 24 * 3600
FEW = Kept(runs=3, observations=4, at_once=1)


class Channel(Channels):
    """A messenger with one channel, which also gets the daily figures."""

    def about(self, words: str) -> list[str]:
        return [title for title in self.titles_of(1) if words in title]


def next_morning(pipeline: Pipeline) -> None:
    """Go to two in the morning of the next day. The polls that follow must not cross midnight."""
    now = pipeline.clock()
    morning = (now + timedelta(days=1)).replace(hour=2, minute=0)
    pipeline.clock.advance((morning - now).total_seconds())


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def pipeline(install: Install, world: World, event: int, channel: Channel) -> Pipeline:
    """Set up an invited buyer and the sales of today."""
    world.sell(event)
    pipeline = install()
    next_morning(pipeline)
    pipeline.restart({"alerts": channel})
    pipeline.poll()
    pipeline.later_poll()
    return pipeline


# -- history ----------------------------------------------------------------------------------------


def materialized(pipeline: Pipeline) -> dict[str, set[str]]:
    instance = pipeline.instance
    return {key.to_user_string(): instance.get_materialized_partitions(key) for key in instance.get_asset_keys()}


def run_files(pipeline: Pipeline) -> set[str]:
    files = (pipeline.home / "dagster" / "history" / "runs").glob("*.db*")
    return {file.name.split(".")[0] for file in files} - {"index", ""}


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def stored(request: pytest.FixtureRequest, install: Install, tmp_path: Path) -> Pipeline:
    """Set up a pipeline whose history is on disk."""
    if request.param == "PostgreSQL":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(), driver="postgresql+psycopg2")
        folder = tmp_path / "home" / "dagster"
        folder.mkdir(parents=True)
        (folder / "dagster.yaml").write_text(yaml.safe_dump({"storage": {"postgres": {"postgres_url": url}}}))
    return install(on_disk=True)


@pytest.mark.slow
def test_old_runs_are_deleted_except_the_latest_materializations(stored: Pipeline, world: World, event: int) -> None:
    pipeline = stored
    for _ in range(5):
        world.sell(event)
        pipeline.later_poll()
    pipeline.until_quiet()
    before, latest = materialized(pipeline), pipeline.instance.get_latest_materialization_event(AssetKey("kktix"))
    for _ in range(3):
        prune_dagster_storage(pipeline.instance, FEW)
    left = {record.dagster_run.run_id for record in pipeline.instance.get_run_records()}
    assert len(left) <= FEW.runs + len(before)
    assert run_files(pipeline) in (left, set())
    with pipeline.instance.event_log_storage.index_connection() as db:  # type: ignore[attr-defined]
        checked = set(db.scalars(sa.text("SELECT DISTINCT run_id FROM asset_check_executions")))
        assert checked <= left | {""}
        assert db.scalars(sa.text("SELECT event_id FROM asset_event_tags EXCEPT SELECT id FROM event_logs")).all() == []
    assert materialized(pipeline) == before
    assert pipeline.instance.get_latest_materialization_event(AssetKey("kktix")) == latest
    mark = pipeline.mark()
    report = pipeline.later_poll()
    assert (report.ok, report.runs, pipeline.writes(mark)) == (True, (), [])


def check_states(pipeline: Pipeline) -> dict[str, object]:
    """Return the present results of the checks of KKTIX."""
    keys = [
        key for key in pipeline.definitions.resolve_asset_graph().asset_check_keys if key.asset_key.path == ["kktix"]
    ]
    latest = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return {key.name: record.status for key, record in latest.items()}


def test_observations_are_bounded_and_the_latest_of_each_stays(pipeline: Pipeline, world: World, event: int) -> None:
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    pipeline.poll()
    world.kktix.end_event(other)
    unmatched = world.add_event("PyCon TW 2031 Registration: Students")
    pipeline.later_poll()
    world.kktix.end_event(unmatched)
    for _ in range(4):
        pipeline.later_poll()
    verdicts = check_states(pipeline)
    prune_dagster_storage(pipeline.instance, FEW)
    latest = pipeline.instance.get_latest_storage_id_by_partition(
        AssetKey("raw_kktix_orders"), DagsterEventType.ASSET_OBSERVATION
    )
    assert {f"{EDITION}-individual-{event}", f"{EDITION}-corporate-{other}"} == set(latest)
    with pipeline.instance.event_log_storage.index_connection() as db:  # type: ignore[attr-defined]
        left = db.scalar(sa.text("SELECT count(*) FROM event_logs WHERE run_id = ''"))
        recorded = db.scalar(sa.text("SELECT count(*) FROM asset_check_executions WHERE run_id = ''"))
    assert FEW.observations < left <= FEW.observations + len(latest)
    assert recorded == len(verdicts)
    assert check_states(pipeline) == verdicts


@pytest.mark.long
def test_the_newest_failures_of_an_event_stay_to_be_counted(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    world.faults.add("gather", "status", times=None, status=503)
    for _ in range(4):
        pipeline.later_poll()
    prune_dagster_storage(pipeline.instance, FEW)
    [facts] = pipeline.call(observe, history=read_run_history(pipeline.instance, pipeline.ledger)).facts.values()
    assert facts.access.failures >= FEW.runs


@pytest.mark.long
def test_a_failed_run_shows_the_kind_of_error_and_the_next_attempt(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event)
    world.faults.add("gather", "status", times=None, status=503)
    for _ in range(3):
        pipeline.later_poll()
    [record, *_] = pipeline.instance.get_run_records(
        RunsFilter(tags={"dagster/partition": f"{EDITION}-individual-{event}"})
    )
    [failed] = pipeline.instance.all_logs(record.dagster_run.run_id, of_type=DagsterEventType.STEP_FAILURE)
    data = failed.get_dagster_event().step_failure_data.user_failure_data
    assert data
    shown = {name: str(value.value) for name, value in data.metadata.items()}
    assert shown["error_kind"] == "Unavailable"
    said = shown["next_attempt"].removeprefix("by itself, with the first poll after ").removesuffix(" UTC")
    until = datetime.fromisoformat(said).replace(tzinfo=timezone.utc)
    third_failure = pause_after(3, pause_base(pipeline.settings.poll_interval_seconds))
    assert timedelta(0) < until - pipeline.clock() <= third_failure


# -- sales ------------------------------------------------------------------------------------------


def test_sales_are_reported_once_a_day_also_without_any(
    pipeline: Pipeline, world: World, event: int, channel: Channel
) -> None:
    assert channel.taken == [], "there is nothing yet to compare with"
    world.sell(event)
    pipeline.later_poll()
    for expected in ("+1", "none"):
        channel.taken.clear()
        next_morning(pipeline)
        pipeline.poll()
        pipeline.later_poll()
        [title] = channel.about("sales of")
        assert title.startswith(f"sales of {EDITION}: {expected} since ")
        assert title.endswith(", 2 in total")
        [(_, _, body)] = channel.taken
        assert "KKTIX was polled just now; open problems: none" in body


@pytest.mark.long
def test_the_figures_name_no_person(pipeline: Pipeline, world: World, channel: Channel) -> None:
    next_morning(pipeline)
    pipeline.poll()
    people = {word for ticket in world.kktix.tickets.values() for word in (ticket.address, ticket.person.name)}
    assert channel.about("sales of")
    assert not [word for word in people if word and word in str(channel.taken)]


@pytest.mark.long
def test_figures_that_could_not_be_sent_are_sent_by_the_next_poll(pipeline: Pipeline, channel: Channel) -> None:
    next_morning(pipeline)
    channel.works = False
    pipeline.poll()
    channel.works = True
    pipeline.later_poll()
    pipeline.later_poll()
    assert len(channel.about("sales of")) == 1


@pytest.mark.long
def test_figures_that_one_channel_did_not_take_are_not_repeated_in_the_other(install: Install, world: World) -> None:
    world.sell(world.add_event("PyCon TW 2031 Registration: Individual"))
    pipeline, channels = install(), Channels(2)
    next_morning(pipeline)
    pipeline.restart({"alerts": channels})
    pipeline.poll()
    pipeline.later_poll()
    next_morning(pipeline)
    channels.broken = {2}
    pipeline.poll()
    world.sell(next(iter(world.kktix.events)))
    pipeline.later_poll()
    channels.broken = set()
    pipeline.later_poll()
    pipeline.later_poll()
    first, second = map(channels.titles_of, (1, 2))
    assert first == second, "the same figures, however late"
    assert [title.startswith("sales of ") for title in first] == [True]


@pytest.mark.long
def test_the_sales_report_is_left_to_the_process_with_its_lock(pipeline: Pipeline, channel: Channel) -> None:
    next_morning(pipeline)
    with lock(pipeline.ledger, LockName.SALES_REPORT):
        assert pipeline.poll().ok
    assert channel.taken == []


# -- unreachable buyers ----------------------------------------------------------------------------


def test_unreachable_buyers_are_reported_by_number_until_reachable(
    pipeline: Pipeline, world: World, event: int, channel: Channel
) -> None:
    suppressed, invalid = "suppressed@example.org", "not-an-address"
    world.klaviyo.suppress(suppressed)
    [numbered] = world.sell(event, address=invalid)
    [refused] = world.sell(event, address=suppressed)
    pipeline.later_poll()
    report = pipeline.later_poll()
    assert report.ok, "the poll did all it could"
    [(_, _, body)] = channel.taken
    assert f"attendee {numbered} gave no address" in body
    assert f"attendee {refused} cannot be mailed by Klaviyo" in body
    assert not [word for word in (suppressed, invalid) if word in str(channel.taken)]
    for attendee, address in ((numbered, "cara@example.net"), (refused, "dora@example.net")):
        world.transfer(attendee, address)
    pipeline.clock.advance(DAY_SECONDS)
    for _ in range(4):
        pipeline.later_poll()
    assert {"cara@example.net", "dora@example.net"} <= set(pipeline.mailed())
    assert channel.about("over: ")


@pytest.mark.long
def test_people_whom_a_sent_campaign_left_out_are_told_within_two_hours(
    pipeline: Pipeline, world: World, event: int, channel: Channel
) -> None:
    """Klaviyo skips without a word whoever unsubscribes between the last check and the sending."""
    [lost] = world.sell(event, address="cara@example.net")
    world.sell(event, address="dora@example.net")
    world.faults.add(
        "klaviyo",
        "hook",
        method="POST",
        path="campaign-send-jobs",
        acts=True,
        action=lambda: world.klaviyo.unsubscribe("cara@example.net"),
    )
    pipeline.later_poll()
    pipeline.later_poll()
    assert channel.sent == []
    pipeline.clock.advance(3600)
    for _ in range(2):
        pipeline.later_poll()
    said = str(channel.sent)
    assert "reached 1 of 2 people" in said
    assert f"attendee {lost} cannot be mailed by Klaviyo (left out of its campaign)" in said
    assert "cara" not in said
    mark = pipeline.mark()
    for _ in range(3):
        pipeline.clock.advance(3600)
        pipeline.poll()
    assert pipeline.writes(mark) == [], "a campaign is asked about once"


# -- failures and expiry ---------------------------------------------------------------------------


class LockedVault:
    """A vault in which nothing can be read."""

    def __getattr__(self, name: str) -> Any:
        raise VaultError("the vault: no key fits")


def test_a_report_that_fails_stops_no_tick_and_raises_an_alert(pipeline: Pipeline, channel: Channel) -> None:
    pipeline.restart({"alerts": channel, "vault": LockedVault()})
    pipeline.clock.advance(DAY_SECONDS)
    for _ in range(2):
        report = pipeline.later_poll()
    assert report.tick.decisions
    assert channel.about("the vault fails")


def test_a_revision_alarms_before_its_end_and_again_at_its_end(pipeline: Pipeline, channel: Channel) -> None:
    for moment in (REVISION_ENDS - timedelta(days=100), REVISION_ENDS + timedelta(days=1)):
        channel.taken.clear()
        pipeline.clock.advance((moment - pipeline.clock()).total_seconds())
        pipeline.poll()
        pipeline.later_poll()
        [title] = channel.about("Klaviyo revision")
        assert ("has not been supported" in title) == (moment > REVISION_ENDS)


def test_the_document_states_the_limits_of_the_code() -> None:
    document = (ROOT / "docs" / "maintenance.md").read_text(encoding="utf-8")
    assert f"the newest {KEPT.runs:,}, and every run" in document
    assert f"the newest {KEPT.observations:,}, and the latest" in document
    assert f"{KEPT.at_once} at a time" in document


def test_the_runbook_knows_the_alarms_of_maintenance() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    for text in (
        "`maintenance fails`",
        "`the sales report fails`",
        "`Klaviyo revision …",
        "`attendee … cannot be mailed",
    ):
        assert text in runbook
