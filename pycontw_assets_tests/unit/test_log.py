"""Log lines hold fields of a fixed set, each of a fixed shape, and no value from outside."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import pycontw_assets
from pycontw_assets.api import log
from pycontw_assets.api.log import RefusedField, log_request, log_step, request_id

PACKAGE = Path(pycontw_assets.__file__).parent
ADDRESS = "buyer-one@example.org"
PHONE = "0912345678"


@pytest.fixture(autouse=True)
def at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="pycontw_assets")


def test_a_line_has_its_event_its_step_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    log_step("table_replaced", step="load", partition="2031-individual-90001", rows=3, outcome="written", seconds=0.1)
    line = "event=table_replaced step=load partition=2031-individual-90001 rows=3 outcome=written seconds=0.1"
    assert caplog.messages == [line]
    assert caplog.records[0].levelno == logging.INFO


def test_a_request_is_a_line_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    log_request("request_failed", service="KKTIX", operation="list events", status=None, attempt=1, request_id=None)
    assert caplog.messages == ["event=request_failed step=request service=KKTIX operation=list_events attempt=1"]
    assert caplog.records[0].levelno == logging.DEBUG


@pytest.mark.parametrize("name", ["address", "name", "reason", "url", "extra"])
def test_an_unknown_field_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    fields: dict[str, Any] = {name: 1}
    with pytest.raises(RefusedField):
        log_step("something", **fields)
    assert caplog.messages == []


@pytest.mark.parametrize("name", sorted({*log._SHAPES, "event", "step", "granted", "seconds", "status"}))
@pytest.mark.parametrize("value", [ADDRESS, f"{PHONE}\n", "測試甲", "a" * 500, {"a": 1}, True])
def test_a_value_of_another_shape_is_refused(name: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    fields: dict[str, Any] = {"event": "something", name: value}
    with pytest.raises(RefusedField) as caught:
        log_step(**fields)
    assert str(value) not in str(caught.value)
    assert caplog.messages == []


def test_a_poll_goes_on_and_the_value_is_withheld(caplog: pytest.LogCaptureFixture) -> None:
    fields: dict[str, Any] = {"batch": ADDRESS, "unknown": PHONE, "granted": ADDRESS, "rows": 2}
    with mock.patch.object(log, "is_strict", False):
        log_step("something", **fields)
    assert caplog.messages == ["event=something batch=withheld unknown=withheld granted=withheld rows=2"]


def test_nothing_is_printed_without_a_handler(capfd: pytest.CaptureFixture[str]) -> None:
    log_step("something", rows=1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("8f1c-TPE", "8f1c-TPE"), (None, None), ("", None), (ADDRESS, None), ("a" * 65, None), ("key=1", None)],
)
def test_a_request_id_is_kept_if_it_is_a_token(given: str | None, kept: str | None) -> None:
    assert request_id(given) == kept


def calls() -> list[ast.Call]:
    """Every call of the package that writes a log line."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py") if path.name != "log.py"]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [node for node in nodes if isinstance(node.func, ast.Name) and node.func.id in ("log_step", "log_request")]


def test_every_event_and_step_is_a_word_of_the_code() -> None:
    words = []
    for call in calls():
        words += [call.args[0], *(keyword.value for keyword in call.keywords if keyword.arg == "step")]
    assert len(words) > 10
    for word in map(ast.unparse, words):
        assert re.fullmatch("'[a-z_]+'", word), word


def test_no_room_writes_log_lines_in_another_way() -> None:
    """The sandbox is a server of its own, with invented people."""
    loggers = {"logging.info", "logging.warning", "logging.error", "logging.debug", "logging.exception"}
    for path in PACKAGE.rglob("*.py"):
        if "sandbox" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in loggers, path
