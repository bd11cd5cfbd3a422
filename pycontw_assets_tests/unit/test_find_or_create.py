"""A list or template is created once and remembered, also after a lost reply."""

import pytest

from pycontw_assets.api.client import Unavailable
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.send_email.find_or_create import ensure_list, ensure_template
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import memory_ledger
from pycontw_assets_tests.unit.test_campaign import Mail


@pytest.fixture
def klaviyo(clock: FakeClock) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


@pytest.fixture
def waits(clock: FakeClock) -> WaitPolicy:
    return WaitPolicy(sleep=clock.sleep)


def test_a_name_is_made_once_and_then_remembered(klaviyo: FakeKlaviyo, ledger: Ledger, waits: WaitPolicy) -> None:
    first = ensure_list(klaviyo, ledger, waits, name="x")  # type: ignore[arg-type]
    klaviyo.calls.clear()
    assert ensure_list(klaviyo, ledger, waits, name="x") == first  # type: ignore[arg-type]
    assert not klaviyo.calls


def test_of_several_things_of_one_name_the_oldest_is_taken(
    klaviyo: FakeKlaviyo, ledger: Ledger, waits: WaitPolicy
) -> None:
    oldest = klaviyo.create_list("x").list_id
    klaviyo.create_list("x")
    assert ensure_list(klaviyo, ledger, waits, name="x") == oldest  # type: ignore[arg-type]
    assert klaviyo.calls["create_list"] == 2


def test_a_name_that_only_begins_alike_is_another_one(klaviyo: FakeKlaviyo, ledger: Ledger, waits: WaitPolicy) -> None:
    longer = klaviyo.create_template("x-old", html="<p>", text="").template_id
    assert ensure_template(klaviyo, ledger, waits, rendered=Mail("x")) != longer  # type: ignore[arg-type]


def test_a_remembered_id_of_a_person_is_taken_without_a_look(
    klaviyo: FakeKlaviyo, ledger: Ledger, waits: WaitPolicy
) -> None:
    record_remote_id(ledger, "list", "x", "ByHand")
    assert ensure_list(klaviyo, ledger, waits, name="x") == "ByHand"  # type: ignore[arg-type]
    assert not klaviyo.calls


def test_after_an_unknown_creation_the_name_is_looked_up_twice(
    klaviyo: FakeKlaviyo, ledger: Ledger, waits: WaitPolicy, clock: FakeClock
) -> None:
    klaviyo.faults.lose_reply("create_list", acted=False, times=2)
    with pytest.raises(Unavailable):
        ensure_list(klaviyo, ledger, waits, name="x")  # type: ignore[arg-type]
    assert clock.slept == [waits.second_look]
    ensure_list(klaviyo, ledger, waits, name="x")  # type: ignore[arg-type]
    assert clock.slept == [waits.second_look] * 2
    assert (klaviyo.calls["find_lists"], len(klaviyo.lists)) == (5, 1)


def test_killed_at_any_moment_a_name_is_made_once() -> None:
    moment, is_over = 0, False
    while not is_over:
        clock = FakeClock()
        ledger, klaviyo, waits, fuse = (
            memory_ledger(clock),
            FakeKlaviyo(clock),
            WaitPolicy(sleep=clock.sleep),
            Fuse(moment),
        )
        try:
            ensure_list(Fused(klaviyo, fuse), fused_ledger(ledger, fuse), waits, name="x")  # type: ignore[arg-type]
            is_over = True
        except Killed:
            pass
        assert ensure_list(klaviyo, ledger, waits, name="x") == next(iter(klaviyo.lists))  # type: ignore[arg-type]
        assert len(klaviyo.lists) == 1
        moment += 1
