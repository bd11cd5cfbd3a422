"""The benchmark runs and prints its figures. No duration is checked."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.against import ROWS, table_rows
from benchmarks.measured import measured
from benchmarks.season import POLLS_A_DAY, rereads_by_age, season

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)


def test_an_unchanged_attendee_is_read_less_often_but_every_day() -> None:
    reads = rereads_by_age(30, HOUR)
    assert reads[0] > 5
    assert set(reads[10:]) == {1}


def test_a_season_costs_less_than_reading_everybody_in_every_poll() -> None:
    table = season(100, 10)
    assert [known for known, _, _ in table] == [10 * day for day in range(1, 11)]
    assert [naive for _, _, naive in table] == [POLLS_A_DAY * (3 + 10 * day) for day in range(1, 11)]
    assert all(POLLS_A_DAY * 3 < pipeline < naive for _, pipeline, naive in table)


def test_a_comparison_has_a_line_per_figure_with_medians_and_the_ratio() -> None:
    measured = [({"CPU s": 2.0, "MB": 100.0}, {"CPU s": 1.0}), ({"CPU s": 6.0}, {"CPU s": 3.0}), ({"CPU s": 4.0},) * 2]
    assert list(table_rows("idle", 5000, measured)) == [
        "| idle | 5,000 | CPU s | 4.00 | 2.00 to 6.00 | 3.00 | 1.00 to 4.00 | 0.75 |"
    ]


def test_what_a_process_cost_does_not_hold_the_memory_of_who_started_it() -> None:
    ballast = bytearray(b"x" * 200_000_000)
    cost, output = measured([sys.executable, "-I", "-c", "print('done')"], {})
    assert output == "done\n"
    assert cost["peak MB"] < 100 < len(ballast)
    assert 0 < cost["CPU s"] < 60


@pytest.mark.parametrize("options", [["--rows", "other"], ["--repeat", "0"]])
def test_a_comparison_that_cannot_be_made_is_refused(options: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks", "--against", "HEAD", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert options[0] in done.stderr


@pytest.mark.slow
def test_two_commits_are_compared_in_every_row() -> None:
    options = ["--sizes", "3", "--repeat", "1", "--rush", "3", "--orders", "3", "--runs", "2", "--latency", "0"]
    command = [sys.executable, "-m", "benchmarks", "--against", "HEAD", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.split(" | ")[0] for line in done.stdout.splitlines()[2:]]
    assert set(rows) == {f"| {row}" for row in ROWS}
    assert done.stdout.count("median wait s") == 1


@pytest.mark.slow
def test_the_benchmark_prints_one_table_with_every_row() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--sizes", "5", "--rush", "5", "--latency", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 5 |")]
    assert [row.split(" | ")[1] for row in rows] == ["first load", "idle poll", "10 new", "rush of 5"]
    assert "5 let in and 5 invited in one poll" in done.stdout


@pytest.mark.slow
def test_an_hour_of_sale_measures_how_long_buyers_waited() -> None:
    command = [sys.executable, "-m", "benchmarks.job", "sale", "12", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout.splitlines()[-1])
    assert set(printed) == {"access", "invitation"}
    assert all(0 < waited["median"] <= waited["p95"] <= waited["slowest"] for waited in printed.values())
