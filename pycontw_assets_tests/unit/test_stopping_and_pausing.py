"""After a signal nothing leaves any more, and a run that waited while polls were paused does nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import Failure

from pycontw_assets.alerts.alerting import send_alerts
from pycontw_assets.alerts.messenger import Messenger, Text
from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import Busy, LockName, lock, lock_owner, take_lock
from pycontw_assets.ledger.people import erasure_requests, request_erasure
from pycontw_assets.ledger.polls import Paused, begin_pause
from pycontw_assets.ledger.reporting.problems import open_problems, record_failure
from pycontw_assets.orchestration import assets
from pycontw_assets.orchestration.run_recording import RunLock, recorded_run
from pycontw_assets.pipeline.erase import PLACES, finish_erasures
from pycontw_assets.pipeline.maintenance import run_maintenance
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER


def stopped() -> Stop:
    stop = Stop()
    stop.ask()
    return stop


class Untouchable:
    """A system that must not be used at all."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used after the signal")


# -- stopping -----------------------------------------------------------------------------------------


def test_after_a_signal_no_message_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    messenger = Messenger("json://127.0.0.1:9/", gate=stopped().check)
    with pytest.raises(Stopped):
        messenger.send({channel: Text("a title", "a body") for channel in messenger.channels})


def test_after_a_signal_no_alert_leaves_and_its_lock_is_free(ledger: Ledger) -> None:
    record_failure(ledger, "", "poll", cause="KKTIX", text="it failed")
    alerts = Messenger("json://127.0.0.1:9/", gate=stopped().check)
    for _ in range(5):
        ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
        record_failure(ledger, "", "poll", cause="KKTIX", text="it failed")
    with pytest.raises(Stopped):
        send_alerts([], ledger=ledger, alerts=alerts)
    assert lock_owner(ledger, LockName.ALERTS) is None


def test_after_a_signal_no_erasure_goes_on_and_none_is_forgotten(ledger: Ledger) -> None:
    request_erasure(ledger, "a" * 64, PLACES, {PARTITION.key: [1]})
    unused: Any = Untouchable()
    with pytest.raises(Stopped):
        list(
            finish_erasures(
                gather=unused,
                klaviyo=unused,
                vault=unused,
                warehouse=unused,
                ledger=ledger,
                pseudonymizer=PSEUDONYMIZER,
                waits=WaitPolicy(),
                settings=Settings(_env_file=None),
                stop=stopped(),
            )
        )
    assert erasure_requests(ledger)[0].places == set(PLACES)


@pytest.mark.parametrize("asked_in", ["finish_erasures", "prune_history"])
def test_maintenance_ends_with_the_part_that_the_signal_found(ledger: Ledger, asked_in: str) -> None:
    stop, done = Stop(), []

    def part(name: str) -> list[str]:
        done.append(name)
        if name == asked_in:
            stop.ask()
        return []

    unused: Any = Untouchable()
    tick: Any = SimpleNamespace(listed=frozenset(), facts={})
    with pytest.raises(Stopped):
        run_maintenance(
            tick,
            klaviyo=unused,
            ledger=ledger,
            vault=unused,
            alerts=unused,
            pseudonymizer=PSEUDONYMIZER,
            waits=WaitPolicy(),
            retention_days=180,
            prune_history=lambda: part("prune_history") and None,
            finish_erasures=lambda: part("finish_erasures"),
            stop=stop,
        )
    assert done[-1] == asked_in
    assert not any(problem.is_failure for problem in open_problems(ledger))


# -- pausing ------------------------------------------------------------------------------------------


def run_lock(ledger: Ledger, waits: WaitPolicy) -> RunLock:
    return RunLock("a run", ledger=ledger, waits=waits, gate=lambda: None)


def test_a_run_that_waited_while_polls_were_paused_does_nothing(ledger: Ledger) -> None:
    """Another run holds the event. It ends, and meanwhile a person has paused polls."""
    other = lock(ledger, LockName.ACCESS_RUN, PARTITION.key, wait_seconds=0)
    other.__enter__()

    def wait(_seconds: float) -> None:
        if lock_owner(ledger, LockName.ACCESS_RUN, PARTITION.key):
            begin_pause(ledger)
            other.__exit__(None, None, None)

    one = run_lock(ledger, WaitPolicy(sleep=wait))
    settings = Settings(_env_file=None)
    run = recorded_run(PARTITION.key, "gather_guestlist", ledger=ledger, settings=settings)
    with pytest.raises(Failure, match="polls are paused"), run:
        one.hold(LockName.ACCESS_RUN, PARTITION.key)
    assert open_problems(ledger) == [], "nothing was attempted, so nothing failed"
    one.drop()


def test_every_step_of_a_run_looks_for_a_pause(ledger: Ledger) -> None:
    one = run_lock(ledger, WaitPolicy())
    one.hold(LockName.ACCESS_RUN, PARTITION.key)
    begin_pause(ledger)
    with pytest.raises(Paused):
        one.hold(LockName.ACCESS_RUN, PARTITION.key)
    one.drop()


def _assets() -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(Path(assets.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and any(
            "asset" in ast.unparse(d).split("(")[0] for d in node.decorator_list
        ):
            yield node


def test_every_asset_looks_for_a_pause_a_signal_and_its_lock_before_anything_else() -> None:
    names = []
    for function in _assets():
        block = next(node for node in function.body if isinstance(node, ast.With))
        assert "_recorded(" in ast.unparse(block.items[0]), function.name
        assert re.search(r"\b_(begin|hold)\(", ast.unparse(block.body[0])), function.name
        names.append(function.name)
    assert len(names) >= 6


def test_a_run_that_waits_for_too_long_steps_aside(ledger: Ledger) -> None:
    with lock(ledger, LockName.ACCESS_RUN, PARTITION.key, wait_seconds=0):
        one = run_lock(ledger, WaitPolicy(sleep=lambda _: None, lock=1))
        with pytest.raises(Busy):
            one.hold(LockName.ACCESS_RUN, PARTITION.key)


# -- names of locks -----------------------------------------------------------------------------------


def test_names_of_locks_stay_because_other_versions_share_the_ledger() -> None:
    assert {name.value for name in LockName} == {
        "access run",
        "table run",
        "template run",
        "orders",
        "invitations",
        "gather guest list",
        "discord invites",
        "klaviyo names",
        "letters to everybody",
        "sales report",
        "alerts",
    }


@pytest.mark.parametrize("name", LockName)
def test_every_lock_keeps_a_second_owner_out_and_no_other_lock(ledger: Ledger, name: LockName) -> None:
    assert take_lock(ledger, name, owner="one") is None
    assert take_lock(ledger, name, owner="two", is_dead=lambda _: False) == "one"
    others = [other for other in LockName if other is not name]
    assert all(take_lock(ledger, other, owner="two") is None for other in others)


def test_while_another_process_alerts_nobody_is_alerted_twice(ledger: Ledger) -> None:
    record_failure(ledger, "", "poll", cause="KKTIX", text="it failed")
    alerts = Messenger("json://127.0.0.1:9/", gate=lambda: pytest.fail("it sent"))
    for _ in range(5):
        ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
        record_failure(ledger, "", "poll", cause="KKTIX", text="it failed")
    assert take_lock(ledger, LockName.ALERTS, owner="another/1/2/x") is None
    send_alerts([], ledger=ledger, alerts=alerts)
