"""The endpoint of the webhook on a real socket: who may write to the ledger, what is answered, what is not kept."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from pycontw_assets.commands.cli import main
from pycontw_assets.extract.hook import endpoint
from pycontw_assets.extract.hook.endpoint import PATH, build_endpoint, is_secret, listen, server
from pycontw_assets.ledger.hints.deliveries import ANY_EVENT, deliveries, waiting_hints
from pycontw_assets.ledger.ledger import Ledger

OLD, NEW = "the secret of before", "the secret of today"
ORDER = {
    "type": "order_activated_paid",
    "event": {"name": "PyCon TW 2031 Registration: Individual", "slug": "pycontw-2031-individual"},
    "contact": {"name": "測試甲", "email": "buyer-one@example.org", "mobile": "0900000001"},
}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


@pytest.fixture
def address(ledger: Ledger) -> Iterator[tuple[str, int]]:
    with listen("127.0.0.1", 0) as listener:
        running = server(build_endpoint(ledger, [OLD, NEW]))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.005)
        yield listener.getsockname()
        running.should_exit = True
        thread.join()


@pytest.fixture
def url(address: tuple[str, int]) -> str:
    return f"http://127.0.0.1:{address[1]}{PATH}"


def post(url: str, body: Any, secret: str | None = NEW) -> tuple[int, str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if secret is None else {"X-KKTIX-Secret": secret}
    answer = requests.post(url, data, headers=headers, timeout=20)
    return answer.status_code, answer.text


def batch(*notifications: Any) -> dict[str, Any]:
    return {"batch_id": "b-0001", "notifications": list(notifications)}


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_a_delivery_with_either_secret_is_taken_at_once(url: str, ledger: Ledger, secret: str) -> None:
    assert post(url, batch(ORDER), secret) == (200, "ok\n")
    assert len(waiting_hints(ledger)) == 1


@pytest.mark.parametrize("secret", [None, "", "wrong", NEW[:-1], f"{OLD}, {NEW}", "ü"])
def test_a_forged_delivery_writes_nothing(url: str, ledger: Ledger, secret: str | None) -> None:
    given = secret.encode() if secret == "ü" else secret
    assert post(url, batch(ORDER), given) == (401, "wrong secret\n")  # type: ignore[arg-type]
    assert (waiting_hints(ledger), deliveries(ledger)) == ([], {})


def test_every_secret_is_compared_to_its_end() -> None:
    assert is_secret(OLD, [OLD, NEW])
    assert not is_secret("", [OLD, NEW])
    assert not is_secret(OLD, [])


def test_repeated_and_late_deliveries_are_one_hint(url: str, ledger: Ledger) -> None:
    cancelled = {**ORDER, "type": "order_cancelled"}
    for body in (batch(cancelled, ORDER), batch(ORDER), batch(ORDER), batch(cancelled)):
        assert post(url, body)[0] == 200
    assert len(waiting_hints(ledger)) == 1


def test_a_test_delivery_arrives_and_makes_nothing_due(url: str, ledger: Ledger) -> None:
    assert post(url, batch({"event": {"name": "Event Name", "slug": "event-slug"}}))[0] == 200
    assert waiting_hints(ledger) == []
    assert set(deliveries(ledger)) == {"test"}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", {"orders": []}, b"x" * 1_100_000], ids=["empty", "html", "new", "big"]
)
def test_a_shape_that_is_not_understood_is_no_reason_to_switch_the_hook_off(
    url: str, ledger: Ledger, body: Any
) -> None:
    assert post(url, body)[0] == 200
    assert [hint.subject for hint in waiting_hints(ledger)] == [ANY_EVENT]
    assert set(deliveries(ledger)) == {"unknown"}


def test_nothing_personal_is_kept_or_logged(
    url: str, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    post(url, batch(ORDER))
    post(url + "?address=buyer-one@example.org", batch(ORDER))
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("urllib3")]
    printed = "".join((*capfd.readouterr(), *ours)).encode()
    for word in ("buyer-one", "測試甲", "0900000001", "Individual", NEW):
        assert word.encode() not in files + printed


def test_a_ledger_that_is_away_is_an_error_that_kktix_repeats(url: str, ledger: Ledger, tmp_path: Path) -> None:
    with ledger.engine.begin() as db:
        db.exec_driver_sql("drop table hints")
    assert post(url, batch(ORDER)) == (503, "try again\n")


def test_other_paths_and_methods_are_not_there(url: str) -> None:
    assert requests.get(url, timeout=5).status_code == 405
    assert requests.post(url + "/", timeout=5, allow_redirects=False).status_code in (307, 404)
    assert requests.get(url.replace(PATH, "/health"), timeout=5).text == "ok\n"


@pytest.mark.parametrize("sent", [b"", b"POST /kktix HTTP/1.1\r\n", b"POST /kktix HTTP/1.1\r\nhost: x\r\n"])
def test_a_client_that_sends_nothing_is_cut_off(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(endpoint, "_LONGEST_CONNECTION_SECONDS", 0.2)
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(sent)
        with suppress(ConnectionResetError):
            assert client.recv(100) == b""


def test_a_body_that_does_not_come_is_not_waited_for(
    address: tuple[str, int], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_BODY_SECONDS", 0.2)
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nx-kktix-secret: {NEW}\r\ncontent-length: 10\r\n\r\n"
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(head.encode() + b"{")
        assert b" 408 " in client.recv(100)
    assert deliveries(ledger) == {}


def test_without_a_secret_the_command_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hooks"]) == 2
    assert "KKTIX_HOOK_SECRET: is not set" in capsys.readouterr().err
