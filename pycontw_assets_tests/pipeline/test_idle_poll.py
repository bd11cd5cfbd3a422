"""``pycontw-assets poll`` loads neither Dagster nor the tables' libraries while there is nothing to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pycontw_assets.commands.poll import as_document
from pycontw_assets.ledger.polls import Paused, begin_pause
from pycontw_assets.orchestration.poll import poll as poll_with_dagster
from pycontw_assets.orchestration.poll import remember_poll
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.polling.idle import idle_poll, warehouse_stamp
from pycontw_assets.pipeline.polling.remembered import Remembered, read_remembered
from pycontw_assets.pipeline.polling.report import PollReport
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, definer

pytestmark = pytest.mark.thorough  # says little about tables

HEAVY = ("apprise", "dagster", "duckdb", "google", "pandas", "phonenumbers", "pyarrow", "tqdm", "upath", "yaml")
PROGRAM = f"""
import atexit, json, sys
from pycontw_assets.commands.cli import main

code = main(["poll", "--json"])
print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
raise SystemExit(code)
"""


def poll(server: SandboxServer, home: Path) -> tuple[dict[str, object], list[str]]:
    """Return the document that a poll in a process of its own printed, and the heavy libraries that it loaded."""
    environment = {**os.environ, **server.environment, "PYCONTW_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])


@pytest.mark.long
def test_an_idle_poll_loads_no_heavy_library(server: SandboxServer, world: World, tmp_path: Path) -> None:
    world.add_event(f"PyCon TW {EDITION} Registration: Individual")
    home = tmp_path / "home"
    first, loaded = poll(server, home)
    assert first["runs"]
    assert "dagster" in loaded
    assert "upath" not in loaded, "no run and no instance needs a library for file systems"
    asked, _ = poll(server, home)  # this one asks Dagster, and remembers the answers
    assert asked["runs"] == []
    idle, loaded = poll(server, home)
    assert loaded == []
    assert idle == asked


def remembered_after(pipeline: Pipeline) -> Remembered:
    """Poll until nothing is due, and return what is remembered of Dagster."""
    report = pipeline.until_quiet()
    before = warehouse_stamp(pipeline.settings)
    pipeline.call(remember_poll, report, pipeline.instance, before=before)
    remembered = read_remembered(pipeline.settings.dagster_folder, pipeline.clock())
    assert remembered
    return remembered


@pytest.mark.long
def test_an_idle_poll_reports_what_a_whole_one_does_for_three_requests(install: Install, world: World) -> None:
    pipeline = install(on_disk=True)
    world.sell(world.add_event(f"PyCon TW {EDITION} Registration: Individual"), 2)
    remembered = remembered_after(pipeline)
    mark = pipeline.mark()
    idle = pipeline.call(idle_poll, remembered)
    assert isinstance(idle, PollReport)
    assert pipeline.requests(mark) == 3
    assert as_document(idle) == as_document(pipeline.poll())


@pytest.mark.long
def test_what_is_due_is_done_by_the_same_poll_and_read_once(install: Install, world: World) -> None:
    pipeline = install(on_disk=True)
    event = world.add_event(f"PyCon TW {EDITION} Registration: Individual")
    world.sell(event, 2)
    remembered = remembered_after(pipeline)
    world.sell(event)
    mark = pipeline.mark()
    tick = pipeline.call(idle_poll, remembered)
    assert isinstance(tick, Tick)
    report = pipeline.call(poll_with_dagster, definer(pipeline.root), pipeline.instance, tick=tick)
    assert report.ok
    assert len(pipeline.mailed(mark)) == 1
    listings = [call for call in world.calls.find("kktix", since=mark.calls) if call.path.endswith("/hosting_events")]
    assert len(listings) == 1
    # After runs Dagster has to be asked again.
    pipeline.call(remember_poll, report, pipeline.instance, before=None)
    assert read_remembered(pipeline.settings.dagster_folder, pipeline.clock()) is None


@pytest.mark.long
def test_a_table_that_somebody_changed_is_not_overlooked(install: Install, world: World) -> None:
    pipeline = install(on_disk=True)
    world.sell(world.add_event(f"PyCon TW {EDITION} Registration: Individual"), 2)
    remembered = remembered_after(pipeline)
    pipeline.settings.duckdb_file.unlink()
    assert isinstance(pipeline.call(idle_poll, remembered), Tick)


@pytest.mark.long
def test_a_pause_is_heeded_before_anything_is_read(install: Install, world: World) -> None:
    pipeline = install(on_disk=True)
    world.add_event(f"PyCon TW {EDITION} Registration: Individual")
    remembered = remembered_after(pipeline)
    begin_pause(pipeline.ledger)
    mark = pipeline.mark()
    with pytest.raises(Paused):
        pipeline.call(idle_poll, remembered)
    assert pipeline.requests(mark) == 0
