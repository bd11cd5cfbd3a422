"""``doctor`` checks everything, even if some parts are broken, and changes nothing."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.doctor import Examination, check_revision
from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.clients.test_messenger import Service, running
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough  # says little about tables


def examine(pipeline: Pipeline) -> list[Finding]:
    root = pipeline.root
    examination = Examination(
        settings=root.settings,
        clock=root.clock,
        kktix=lambda: root.kktix,
        gather=lambda: root.gather,
        klaviyo=lambda: root.klaviyo,
        ledger=lambda: root.ledger_to_read,
        vault=lambda: root.vault_to_read,
        warehouse=lambda: root.warehouse,
        alerts=lambda: root.alerts,
    )
    return list(examination.findings())


def findings(pipeline: Pipeline) -> dict[str, Finding]:
    """Return the worst finding of each name."""
    order = ["ok", "warn", "FAIL"]
    found: dict[str, Finding] = {}
    for finding in sorted(examine(pipeline), key=lambda finding: order.index(finding.level)):
        found[finding.name] = finding
    return found


def files(home: Path) -> dict[str, bytes]:
    return {str(file.relative_to(home)): file.read_bytes() for file in sorted(home.rglob("*")) if file.is_file()}


def test_a_new_installation_is_examined_without_a_trace(pipeline: Pipeline, world: World, event: int) -> None:
    mark = pipeline.mark()
    found = findings(pipeline)
    assert [finding for finding in found.values() if finding.level == "FAIL"] == []
    assert pipeline.writes(mark) == []
    assert files(pipeline.home) == {}
    assert found["KKTIX"].what == "edition 2031: 1 events"
    assert {found[name].level for name in ("Gather", "Dagster")} == {"warn"}


def test_every_space_is_examined_and_one_that_is_gone_is_named(install: Install, world: World) -> None:
    gone, last = "SandboxSpace0002\\Gone", "SandboxSpace0003\\East Wing"
    world.gather.open_space(last)
    world.add_guest("speaker@example.org", space=last)
    found = findings(install(gather_space_id=f"{keys.GATHER_SPACE_ID}:5,{gone}:5,{last}:5"))
    spaces = {name: found[f"Gather, space {name}"] for name in (1, 2, 3)}
    assert [spaces[number].level for number in (1, 2, 3)] == ["warn", "FAIL", "ok"]
    assert "404" in spaces[2].what


def test_an_installation_at_work_is_fine_and_left_as_it_is(install: Install, world: World, event: int) -> None:
    pipeline = install(on_disk=True)
    world.sell(event)
    pipeline.poll()
    before = files(pipeline.home / "vault") | {"ledger": (pipeline.home / "ledger.sqlite").read_bytes()}
    found = findings(pipeline)
    assert [finding for finding in found.values() if finding.level != "ok"] == []
    assert found["vault"].what == "the orders of 1 events can be read"
    assert re.match(r"\d min ago", found["last tick"].what)
    assert files(pipeline.home / "vault") | {"ledger": (pipeline.home / "ledger.sqlite").read_bytes()} == before


@pytest.mark.parametrize(("service", "name"), [("kktix", "KKTIX"), ("gather", "Gather"), ("klaviyo", "Klaviyo")])
def test_a_service_that_is_down_hides_no_other_finding(
    pipeline: Pipeline, world: World, event: int, service: str, name: str
) -> None:
    world.faults.add(service, "status", times=None)
    found = findings(pipeline)
    failed = {each for each, finding in found.items() if finding.level == "FAIL"}
    assert name in failed
    assert {each.split()[0] for each in failed} == {name}
    assert {"disk", "vault", "ledger", "warehouse", "Dagster"} <= found.keys()


@pytest.mark.slow
def test_keys_that_are_refused_are_named_with_the_service(install: Install, world: World, event: int) -> None:
    found = findings(install(gather_api_key="wrong", klaviyo_api_key="wrong", kktix_api_token="wrong"))
    for name in ("KKTIX", "Gather", "Klaviyo"):
        assert (found[name].level, found[name].fix) == ("FAIL", f"check the URL and the key of {name}")


def test_an_event_that_says_too_little_and_one_without_a_book_are_found(pipeline: Pipeline, world: World) -> None:
    world.add_event("PyCon TW 2031 Registration: Individual", books=0)
    world.add_event("PyCon TW Registration: Individual")
    findings_shown = [finding.what for finding in examine(pipeline) if finding.level != "ok"]
    assert "2031-individual-90001 has no attendance book" in findings_shown
    assert "event 90002: its name gives no edition" in findings_shown


@pytest.mark.slow
def test_a_vault_that_lost_orders_fails(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    pipeline.poll()
    for file in (pipeline.home / "vault").glob("*.orders"):
        file.unlink()
    assert f"2031-individual-{event} are gone" in findings(pipeline)["vault"].what


@pytest.mark.slow
def test_another_pseudonym_key_is_the_ledgers_to_refuse(pipeline: Pipeline, world: World, event: int) -> None:
    pipeline.poll()
    pipeline.restart(pseudonym_key="another")
    assert "another pseudonym key" in findings(pipeline)["ledger"].what


def test_the_retirement_of_the_klaviyo_revision_is_announced(pipeline: Pipeline) -> None:
    pipeline.clock.advance(timedelta(days=365 * 3).total_seconds())
    [finding] = check_revision(pipeline.clock())
    assert finding.level == "FAIL"
    assert "newer revision" in finding.fix


def test_every_alarm_channel_is_named_and_tried_on_request(
    server: SandboxServer, world: World, event: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with running(Service()) as good, running(Service()) as broken:
        broken.status = 500
        urls = f"{good.url} dicsord://1/secret-token {broken.url}2"
        for name, value in {**server.environment, "PYCONTW_HOME": str(tmp_path), "ALERT_URLS": urls}.items():
            monkeypatch.setenv(name, value)
        assert main(["doctor"]) == 2, "a misspelt address is a setting to correct"
        lines = [line for line in capsys.readouterr().out.splitlines() if "alarm channel" in line]
        assert [line.split(":")[0] for line in lines] == [
            "FAIL ALERT_URLS", "ok   alarm channel 1 (json)", "ok   alarm channel 3 (json)",
        ]  # fmt: skip
        assert "alarm channel 2 (dicsord) is no address" in lines[0]
        assert "secret-token" not in str(lines)
        assert good.received == []
        monkeypatch.setenv("ALERT_URLS", f"{good.url} {broken.url}2")
        assert main(["doctor", "--test-alert", "--json"]) == 1
        found = {item["name"]: item["level"] for item in json.loads(capsys.readouterr().out)}
        assert (found["alarm channel 1 (json)"], found["alarm channel 2 (json)"]) == ("ok", "FAIL")
        [text] = good.received
        assert text.startswith("pycontw-assets: test message")


@pytest.mark.long
def test_the_command_exits_with_what_it_found(
    server: SandboxServer, world: World, event: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name, value in {**server.environment, "PYCONTW_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(" ")[0] for line in lines} == {"ok", "warn"}
    monkeypatch.setenv("GATHER_API_KEY", "wrong")
    assert main(["doctor", "--json"]) == 1
    [failed] = [item for item in json.loads(capsys.readouterr().out) if item["level"] == "FAIL"]
    assert failed["name"] == "Gather"
    monkeypatch.setenv("GATHER_SPACE_ID", "no backslash")
    assert main(["doctor"]) == 2
    monkeypatch.setenv("PYCONTW_ENV", "production")
    capsys.readouterr()
    assert main(["doctor"]) == 2
    assert "FAIL VAULT_KEY: is not set" in capsys.readouterr().out
