"""``contract-check`` as a person runs it, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.contract_check import describe_report, exit_code
from pycontw_assets.pipeline.contract.check import report_of
from pycontw_assets.pipeline.contract.exchanges import NO_ANSWER, Exchange
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.contract.test_verdicts import replaced
from pycontw_assets_tests.contract.world import changed

Run = Callable[..., int]


@pytest.fixture
def world() -> World:
    world = World()
    seed_demo(world, attendees=8)
    world.klaviyo.switches.rate_limits = False
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    with SandboxServer(world) as server:

        def check(*options: str, **variables: str) -> int:
            for name, value in {**server.environment, "PYCONTW_HOME": str(tmp_path / "home"), **variables}.items():
                monkeypatch.setenv(name, value)
            return main(["contract-check", "--output", str(tmp_path / "report.json"), *options])

        yield check


def test_the_exit_code_says_whether_something_differs_or_could_not_be_asked(exchanges: list[Exchange]) -> None:
    assert exit_code(report_of(exchanges)) == 0
    different = changed(exchanges, "Gather guest list", lambda data: [])
    assert exit_code(report_of(different)) == 1
    silent = replaced(exchanges, "Klaviyo", status=None, problem=NO_ANSWER, data=None)
    assert exit_code(report_of(silent)) == 2
    assert exit_code(report_of([*silent, *changed(exchanges, "Gather guest list", lambda data: [])])) == 1


def test_the_lines_say_what_differs_and_why_somebody_did_not_answer(exchanges: list[Exchange]) -> None:
    silent = replaced(exchanges, "Klaviyo", status=None, problem=NO_ANSWER, data=None)
    different = changed(silent, "Gather guest list", lambda data: [])
    lines = list(describe_report(report_of(different), {"Klaviyo": "Klaviyo: account: could not connect"}))
    assert "  Klaviyo: account: could not connect" in lines
    assert "  differs: Gather guest list: the answer is an object (type: 1 × list)" in lines


def test_a_sale_that_has_not_begun_is_said_and_no_failure() -> None:
    assert any("set EDITION" in line for line in describe_report(report_of([]), {}))


def test_a_file_that_cannot_be_written_is_refused_before_anybody_is_asked(
    world: World, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--output", str(tmp_path / "nowhere" / "report.json")) == 2
    assert "--output" in capsys.readouterr().err
    assert world.calls.count() == 0


@pytest.mark.long
def test_a_check_writes_a_report_and_leaves_no_other_trace(run: Run, world: World, tmp_path: Path) -> None:
    assert run() == 0
    assert world.calls.find("klaviyo", "POST", "jobs|import|lists") == []
    assert not (tmp_path / "home").exists()
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["services"] == {"KKTIX": "asked", "Gather": "asked", "Klaviyo": "asked"}


@pytest.mark.long
def test_a_later_revision_of_klaviyo_is_named(
    run: Run, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.klaviyo.switches.shape = "new"
    assert run(GATHER_API_URL="off") == 1
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    differing = {row["endpoint"] for row in report["verdicts"] if row["verdict"] == "differs"}
    assert differing == {"Klaviyo campaigns", "Klaviyo archived campaigns"}
    assert "Gather: switched off; of 9 assumptions 9 not asked" in capsys.readouterr().out


def test_a_service_that_is_down_is_named_with_the_reason(
    run: Run, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.faults.add("gather", "status", status=401, times=None)
    assert run(KLAVIYO_API_URL="off") == 2
    assert "answered 401: the key is wrong or lacks rights" in capsys.readouterr().out
