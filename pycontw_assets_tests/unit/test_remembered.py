"""A poll trusts its memory of Dagster while the files of the run history are the same, and for an hour."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pycontw_assets.pipeline.polling.remembered import (
    Remembered,
    forget,
    history_stamp,
    is_plain,
    last_tick,
    note_tick,
    read_remembered,
    remember,
    stamp_of,
)
from pycontw_assets.pipeline.reconcile import Attempts, RunHistory

NOW = datetime(2031, 5, 1, 8, tzinfo=timezone.utc)
SOON = NOW + timedelta(minutes=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "dagster"
    (folder / "history" / "runs").mkdir(parents=True)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (folder / "history" / "runs.db").write_text("runs")
    (folder / "history" / "runs" / "index.db").write_text("events")
    return folder


def known(folder: Path) -> Remembered:
    stamp = history_stamp(folder)
    assert stamp
    return Remembered(
        materialized={"raw_kktix_orders": ("2031-individual-1",)},
        template_was_made=True,
        keys=("2031-individual-1 individual",),
        shown="digest",
        history_stamp=stamp,
        warehouse_stamp=("",),
        asked_at=NOW,
        ticked_at=NOW,
    )


def test_what_was_remembered_comes_back_as_it_was(folder: Path) -> None:
    remember(folder, known(folder))
    assert read_remembered(folder, SOON) == known(folder)
    assert known(folder).history.materialized_assets("2031-individual-1") == {"raw_kktix_orders"}


def test_nobody_else_can_read_it(folder: Path) -> None:
    remember(folder, known(folder))
    assert (folder / "last-poll.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["history/runs.db", "history/runs/index.db", "history/runs.db-wal", "dagster.yaml"])
def test_a_write_to_the_history_ends_it(folder: Path, name: str) -> None:
    remember(folder, known(folder))
    with (folder / name).open("a") as file:
        file.write("of somebody else")
    assert read_remembered(folder, SOON) is None


def test_a_deleted_history_ends_it(folder: Path) -> None:
    remember(folder, known(folder))
    (folder / "history" / "runs.db").unlink()
    assert read_remembered(folder, SOON) is None


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(seconds=-1)])
def test_after_an_hour_or_before_its_time_dagster_is_asked_again(folder: Path, later: timedelta) -> None:
    remember(folder, known(folder))
    assert read_remembered(folder, NOW + later) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": 1}', "not JSON"])
def test_a_file_that_cannot_be_understood_counts_as_none(folder: Path, text: str) -> None:
    (folder / "last-poll.json").write_text(text)
    assert read_remembered(folder, SOON) is None
    assert last_tick(folder) is None


def test_a_poll_that_found_nothing_notes_when_it_looked(folder: Path) -> None:
    remember(folder, known(folder))
    note_tick(folder, known(folder), SOON)
    assert last_tick(folder) == SOON
    remembered = read_remembered(folder, SOON)
    assert remembered
    assert remembered.asked_at == NOW, "the hour runs from when Dagster was asked"
    forget(folder)
    assert read_remembered(folder, SOON) is None


def test_an_installation_without_files_of_dagster_is_never_remembered(tmp_path: Path) -> None:
    assert history_stamp(tmp_path) is None


def test_a_log_of_writes_that_is_empty_is_no_change(tmp_path: Path) -> None:
    """A page that only looks leaves one behind."""
    file = tmp_path / "a.db"
    file.write_text("x")
    before = stamp_of([file])
    Path(f"{file}-wal").touch()
    assert stamp_of([file]) == before


@pytest.mark.parametrize(
    "history",
    [
        RunHistory(dead_runs=("an id",)),
        RunHistory(running=frozenset({"klaviyo_template"})),
        RunHistory(attempts_by={("2031-individual-1", "access"): Attempts(failures=1)}),
        RunHistory(attempts_by={("2031-individual-1", "load"): Attempts(running=True)}),
    ],
)
def test_failures_and_runs_at_work_are_asked_for_every_time(history: RunHistory) -> None:
    assert not is_plain(history)


def test_a_history_of_successes_is_plain() -> None:
    assert is_plain(RunHistory(attempts_by={("2031-individual-1", "access"): Attempts()}))
