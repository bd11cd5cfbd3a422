"""Every holder gets a profile without a name, few one by one, many in bulk. A bad address fails nobody else."""

from dataclasses import replace

import pytest

from pycontw_assets.api.client import Misconfigured, Refused, Unavailable
from pycontw_assets.send_email.klaviyo_records import ImportJob
from pycontw_assets.send_email.profiles import BULK_FROM, Profiles, ensure_profiles
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PSEUDONYMIZER, holders, keys

FEW = [f"buyer-{number}@example.org" for number in range(3)]
MANY = [f"Buyer-{number}@example.org" for number in range(BULK_FROM + 10)]


@pytest.fixture
def klaviyo(clock: FakeClock) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


def ensure(klaviyo: FakeKlaviyo, clock: FakeClock, *addresses: str) -> Profiles:
    return ensure_profiles(klaviyo, WaitPolicy(sleep=clock.sleep), holders(*addresses), properties={"kind": "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize("addresses", [FEW, MANY])
def test_everybody_gets_one_profile_under_the_own_pseudonym(
    klaviyo: FakeKlaviyo, clock: FakeClock, addresses: list[str]
) -> None:
    for _ in range(2):
        profiles = ensure(klaviyo, clock, *addresses)
        assert profiles.accepted.keys() == keys(*addresses)
        assert not profiles.refused
    assert len(klaviyo.addresses) == len(addresses)


def test_a_profile_carries_the_address_and_the_given_properties(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    ensure(klaviyo, clock, *FEW)
    assert list(klaviyo.properties.values()) == [{"kind": "x"}] * 3


@pytest.mark.parametrize("addresses", [FEW, MANY])
def test_one_bad_address_costs_itself(klaviyo: FakeKlaviyo, clock: FakeClock, addresses: list[str]) -> None:
    klaviyo.invalid = {addresses[1].lower()}
    profiles = ensure(klaviyo, clock, *addresses)
    assert profiles.refused.keys() == keys(addresses[1])
    assert profiles.accepted.keys() == keys(*addresses) - keys(addresses[1])
    assert "@" not in repr(profiles.refused)


@pytest.mark.parametrize("others", [[], MANY])
def test_a_mailbox_that_opted_out_in_another_spelling_is_barred(
    klaviyo: FakeKlaviyo, clock: FakeClock, others: list[str]
) -> None:
    in_letters, ascii_form = "lin@例え.example.org", "lin@xn--r8jz45g.example.org"
    lin = replace(holders(ascii_form)[PSEUDONYMIZER.address(ascii_form)], former=(in_letters,))
    everybody = {**holders(*others), lin.key: lin}
    klaviyo.upsert_profile(in_letters, {})
    waits = WaitPolicy(sleep=clock.sleep)
    assert ensure_profiles(klaviyo, waits, everybody, properties={}).barred == {}  # type: ignore[arg-type]
    klaviyo.suppressed = {in_letters}
    profiles = ensure_profiles(klaviyo, waits, everybody, properties={})  # type: ignore[arg-type]
    assert profiles.accepted.keys() == everybody.keys()
    assert profiles.barred == {lin.key: "HARD_BOUNCE"}


def test_many_are_brought_in_with_few_calls(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    ensure(klaviyo, clock, *MANY)
    assert klaviyo.calls["upsert_profile"] == 0
    assert sum(klaviyo.calls.values()) < 10


def test_a_job_that_does_not_end_is_left_to_the_next_poll(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    klaviyo.bulk_import_job = lambda job_id: ImportJob(  # type: ignore[method-assign]
        job_id=job_id, status="processing", total=0, completed=0, failed=0
    )
    with pytest.raises(Unavailable):
        ensure(klaviyo, clock, *MANY)
    assert sum(clock.slept) < 150


def test_profiles_hidden_after_a_bulk_import_are_tried_alone(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    klaviyo.find_profiles = lambda emails: ()  # type: ignore[method-assign]
    profiles = ensure(klaviyo, clock, *MANY)
    assert profiles.accepted.keys() == keys(*MANY)
    assert klaviyo.calls["upsert_profile"] == len(MANY)


def test_a_wrong_key_is_no_bad_address(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    klaviyo.faults.fail(
        "upsert_profile", Misconfigured("Klaviyo", "create or update profile", "answered 401", status=401)
    )
    with pytest.raises(Misconfigured):
        ensure(klaviyo, clock, *FEW)


def test_a_refusal_of_a_property_is_no_bad_address(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    """Otherwise one wrong property would make every buyer unreachable for good."""
    error = Refused("Klaviyo", "create or update profile", "answered 400", pointers=("/data/attributes/properties",))
    klaviyo.faults.fail("upsert_profile", error)
    with pytest.raises(Refused):
        ensure(klaviyo, clock, *FEW)


def test_a_refusal_of_an_address_fails_nobody_else(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    error = Refused("Klaviyo", "create or update profile", "answered 400", pointers=("/data/attributes/email",))
    klaviyo.faults.fail("upsert_profile", error)
    assert len(ensure(klaviyo, clock, *FEW).refused) == 1


def test_a_bulk_import_that_is_refused_whole_is_tried_one_by_one(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    klaviyo.invalid = {MANY[1].lower()}
    klaviyo.faults.fail("bulk_import", Refused("Klaviyo", "start bulk import", "answered 400", status=400))
    profiles = ensure(klaviyo, clock, *MANY)
    assert profiles.refused.keys() == keys(MANY[1])
    assert len(profiles.accepted) == len(MANY) - 1


def test_nobody_at_all_costs_no_call(klaviyo: FakeKlaviyo, clock: FakeClock) -> None:
    assert ensure(klaviyo, clock) == Profiles()
    assert not klaviyo.calls
