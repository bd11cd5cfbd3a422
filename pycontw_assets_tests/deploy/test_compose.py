"""``compose.yaml``, and the reader with which ``deploy/local-stack`` starts the same services."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local_stack import compose
from deploy.local_stack.compose import WrongCompose

DEPLOY = Path(__file__).parents[2] / "deploy"
FILE = DEPLOY / "compose.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
SANDBOX = compose.read_variables(DEPLOY / "sandbox.env", {})
OUR_SERVICES = {name: service for name, service in SERVICES.items() if name != "postgres"}


def test_the_example_for_the_stack_names_every_required_variable() -> None:
    text = FILE.read_text(encoding="utf-8")
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    known = set(re.findall(r"\$\{(\w+)", text))
    example = (DEPLOY / "stack.env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.M)) == needed
    assert set(re.findall(r"^#?([A-Z]\w+)=", example, re.M)) <= known


def test_the_optional_variables_of_the_example_show_their_defaults() -> None:
    defaults = dict(re.findall(r"\$\{(\w+):?-([^}]*)\}", FILE.read_text(encoding="utf-8")))
    shown = dict(re.findall(r"^#([A-Z]\w+)=(.*)$", (DEPLOY / "stack.env.example").read_text(encoding="utf-8"), re.M))
    shown.pop("GOOGLE_KEY_FILE")  # an example, not the default
    assert shown == {name: defaults[name] for name in shown}


@pytest.mark.parametrize(("profile", "with_keys"), [("sandbox", {"code"}), ("hooks", {"code", "hooks"})])
def test_only_the_code_server_and_the_optional_webhook_hold_keys_and_reach_the_ledger(
    profile: str, with_keys: set[str]
) -> None:
    filled = compose.read(FILE, {**SANDBOX, "LEDGER_PG_PASSWORD": "the-ledger-password"}, profile)
    assert {name for name in filled if "env_file" in SERVICES[name]} == with_keys
    with_password = {name for name, service in filled.items() if "the-ledger-password" in str(service.environment)}
    assert with_password == {"postgres", *with_keys}


def test_only_a_read_only_interface_and_the_optional_webhook_are_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"webserver", "hooks"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert SERVICES["hooks"]["profiles"] == ["hooks"]
    assert compose.read(FILE, SANDBOX)["webserver"].command[-1] == "--read-only"
    behind_a_proxy = compose.read(FILE, {**SANDBOX, "WEB_ACCESS": ""})["webserver"].command
    assert behind_a_proxy[-1].endswith("workspace.yaml")


@pytest.mark.parametrize("name", OUR_SERVICES)
def test_our_services_have_no_rights_and_come_back(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("on-failure:5" if name == "migrate" else "unless-stopped")


def test_every_service_that_keeps_running_has_a_health_check() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate"}


def test_services_start_after_what_they_depend_on() -> None:
    order = list(compose.read(FILE, SANDBOX, "sandbox"))
    assert order[:3] == ["postgres", "migrate", "code"]
    assert set(order[3:]) == {"daemon", "webserver", "sandbox"}


def test_the_sandbox_is_not_part_of_production() -> None:
    assert "sandbox" not in compose.read(FILE, SANDBOX)


def test_a_password_that_is_missing_is_named() -> None:
    without = {name: value for name, value in SANDBOX.items() if name != "LEDGER_PG_PASSWORD"}
    with pytest.raises(WrongCompose, match="LEDGER_PG_PASSWORD is not set"):
        compose.read(FILE, without)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${SET}", "value"),
        ("${SET:-default} ${EMPTY:-default} ${UNSET:-default}", "value default default"),
        ("${SET-default} ${EMPTY-default} ${UNSET-default}", "value  default"),
        ("${WORD---read-only}", "--read-only"),
        ("${UNSET}", ""),
        ("$$HOME", "$HOME"),
        ("no variable", "no variable"),
    ],
)
def test_variables_are_filled_in_as_the_compose_specification_says(text: str, filled: str) -> None:
    assert compose.fill({"one": [text]}, {"SET": "value", "EMPTY": ""}) == {"one": [filled]}


def test_services_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    waits = {"depends_on": {"b": {"condition": "service_started"}}}
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump({"services": {"a": waits, "b": {"depends_on": {"a": waits["depends_on"]["b"]}}}})
    )
    with pytest.raises(WrongCompose, match="wait for each other"):
        compose.read(tmp_path / "c.yaml", {})


def test_a_kind_of_health_check_that_is_not_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"services": {"a": {"healthcheck": {"test": ["CMD-SHELL", "x"]}}}}))
    with pytest.raises(WrongCompose, match="CMD-SHELL"):
        compose.read(tmp_path / "c.yaml", {})
