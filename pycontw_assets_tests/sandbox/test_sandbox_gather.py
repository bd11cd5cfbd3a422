"""The simulated venue follows the contract of Gather, in every variant that the contract leaves open."""

from __future__ import annotations

import pytest
import requests

from pycontw_assets.sandbox import keys

GUEST = {"name": "", "role": "guest", "affiliation": "Attendee"}


def test_key_and_space_are_checked(gather):
    assert gather.read(key="").status_code == 401
    assert gather.read(key="wrong").status_code == 403
    assert gather.read(space="SandboxSpace0001%5CPy+Venue").status_code == 404
    assert gather.read(space="SandboxSpace0001").status_code == 400
    assert gather.write({}, apiKey="wrong").status_code == 403
    assert gather.write({}, spaceId="a\\\\b").status_code == 400
    assert gather.read().status_code == 200


def test_only_overwriting_removes_other_guests(world, gather):
    world.add_guest("speaker@example.org", {})
    gather.write({"one@example.org": GUEST})
    assert gather.read().json() == {"speaker@example.org": {}, "one@example.org": GUEST}
    gather.write({"two@example.org": GUEST}, overwrite=True)
    assert gather.read().json() == {"two@example.org": GUEST}


@pytest.mark.parametrize(("merge", "kept"), [(False, {"role": "guest"}), (True, {"role": "guest", "name": "Desk"})])
def test_a_switch_merges_entries(world, gather, merge, kept):
    world.gather.switches.merge_entries = merge
    world.add_guest("speaker@example.org", {"name": "Desk"})
    gather.write({"speaker@example.org": {"role": "guest"}})
    assert gather.read().json() == {"speaker@example.org": kept}


@pytest.mark.parametrize(
    "wrong", [None, ["one@example.org"], {"one@example.org": "guest"}, {"one@example.org": {"role": 1}}]
)
def test_a_malformed_list_is_refused(gather, wrong):
    assert gather.write(wrong).status_code == 400


@pytest.mark.parametrize("quirk", [{"guestlist": '{"one@example.org": {}}'}, {"overwrite": "True"}])
def test_texts_instead_of_values_have_no_effect(world, gather, quirk):
    assert gather.write({"one@example.org": GUEST} if "overwrite" in quirk else "", **quirk).status_code == 200
    assert world.gather.guests == {}


def test_form_encoded_bodies_are_not_understood(gather):
    reply = requests.post(f"{gather.url}/setEmailGuestlist", data={"apiKey": keys.GATHER_KEY}, timeout=5)
    assert reply.status_code == 400


@pytest.mark.parametrize(("mode", "body"), [("empty", b""), ("text", b"OK"), ("array", b"[]")])
def test_a_switch_sets_the_reply_to_a_write(world, gather, mode, body):
    world.gather.switches.reply = mode
    assert gather.write({"one@example.org": GUEST}).content == body
    assert "one@example.org" in world.gather.guests


def test_a_write_answers_the_whole_list(gather):
    assert gather.write({"one@example.org": GUEST}).json() == {"one@example.org": GUEST}


@pytest.mark.parametrize(("mode", "body"), [("array", []), ("object", {}), ("null", None)])
def test_a_switch_sets_the_form_of_an_empty_list(world, gather, mode, body):
    world.gather.switches.no_guests = mode
    assert gather.read().json() == body


def test_a_write_may_take_effect_late(world, gather, clock):
    world.gather.switches.effect_delay = 10
    gather.write({"one@example.org": GUEST})
    assert gather.read().json() == []
    clock.advance(10)
    assert gather.read().json() == {"one@example.org": GUEST}


def test_switches_lose_writes_and_guests(world, gather):
    gather.write({"one@example.org": GUEST, "two@example.org": GUEST})
    world.gather.switches.writes_count = False
    assert gather.write({}, overwrite=True).status_code == 200
    assert len(world.gather.guests) == 2
    world.gather.switches.writes_count = True
    world.gather.switches.kept_by_overwrite = 1
    gather.write({"one@example.org": GUEST, "two@example.org": GUEST}, overwrite=True)
    assert list(world.gather.guests) == ["one@example.org"]


def test_a_rejected_address_refuses_the_whole_call(world, gather):
    world.gather.switches.rejected_addresses.add("bad@example.org")
    assert gather.write({"good@example.org": GUEST, "bad@example.org": GUEST}).status_code == 400
    assert world.gather.guests == {}


def test_reads_can_be_cut_and_writes_limited(world, gather):
    world.gather.switches.shown_guests = 1
    world.gather.switches.most_guests = 2
    assert gather.write({f"{n}@example.org": GUEST for n in range(2)}).status_code == 200
    assert len(gather.read().json()) == 1
    assert gather.write({f"{n}@example.org": GUEST for n in range(3)}).status_code == 413


def test_letter_case_can_be_folded(world, gather):
    world.gather.switches.fold_case = True
    gather.write({" Buyer@Example.org": GUEST})
    assert list(gather.read().json()) == ["buyer@example.org"]


def test_an_overwrite_can_lose_a_late_guest(world, gather):
    gather.write({"one@example.org": GUEST})
    world.gather.add_guest_after_next_read("late@example.org")
    guests = gather.read().json()
    assert "late@example.org" not in guests
    assert "late@example.org" in world.gather.guests
    gather.write(guests, overwrite=True)
    assert "late@example.org" not in world.gather.guests
