"""The benchmark runs and prints its figures. No duration is checked."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

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
