"""The oracle finds nothing in a correct run, and the right invariant for every kind of error."""

from __future__ import annotations

import pytest

from pycontw_assets.sandbox import oracle
from pycontw_assets.sandbox.seed import seed_demo

NAME = "PyCon TW 2031 Registration: Individual"
GUEST = {"name": "", "role": "guest", "affiliation": "Attendee"}
BUYER = "buyer@example.org"


class Pipeline:
    """A pipeline of a few lines; the test chooses each step, right or wrong."""

    def __init__(self, clock, gather, klaviyo):
        self.clock, self.gather, self.klaviyo = clock, gather, klaviyo
        self.batches = 0

    def grant(self, *addresses):
        self.gather.write(dict.fromkeys(addresses, GUEST))

    def revoke(self, *addresses):
        kept = {address: entry for address, entry in self.gather.read().json().items() if address not in addresses}
        self.gather.write(kept, overwrite=True)
        self.clock.advance(1)

    def invite(self, *addresses):
        self.batches += 1
        batch = f"invite-{self.batches}"
        self.klaviyo.send(self.klaviyo.a_campaign(self.klaviyo.a_list(batch, *addresses), batch))
        self.clock.advance(1)

    def write_to(self, *addresses, letter="0a1b2c3d4e5f"):
        """Send a letter to everybody by its campaign."""
        name = f"pycontw-2031-letter-individual-{letter}"
        self.klaviyo.send(self.klaviyo.a_campaign(self.klaviyo.a_list(name, *addresses), name))
        self.clock.advance(1)

    def admit(self, *addresses):
        self.grant(*addresses)
        self.clock.advance(1)
        self.invite(*addresses)


@pytest.fixture
def pipeline(clock, gather, klaviyo):
    return Pipeline(clock, gather, klaviyo)


@pytest.fixture
def event(world):
    return world.add_event(NAME)


def broken(world, **options):
    return [finding.invariant for finding in oracle.verdict(world, "2031", **options)]


# -- correct runs ---------------------------------------------------------------------------------------------


def test_a_correct_run_has_no_findings(world, clock, pipeline):
    seed_demo(world)
    entitled = sorted(oracle.entitled(world, "2031"))
    assert {2} == set(broken(world))
    pipeline.admit(*entitled)
    assert broken(world) == []


def test_several_tickets_are_one_invitation(world, event, pipeline):
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    world.sell(event, 2, address="Buyer@Example.org")
    world.sell(other, address=" buyer@example.org")
    pipeline.admit(BUYER)
    assert broken(world) == []


def test_one_of_two_tickets_keeps_access(world, event, pipeline, clock):
    first, _ = world.sell(event, 2, address=BUYER)
    pipeline.admit(BUYER)
    world.cancel(first)
    assert broken(world) == []


def test_new_access_needs_a_new_invitation(world, event, pipeline, clock):
    for _ in range(2):
        number = world.sell(event, address=BUYER)[0]
        clock.advance(1)
        pipeline.admit(BUYER)
        world.refund(number)
        clock.advance(1)
        pipeline.revoke(BUYER)
    assert len(world.outbox) == 2
    assert broken(world) == []


def test_kept_access_needs_no_new_invitation(world, event, pipeline, clock):
    number = world.sell(event, address=BUYER)[0]
    pipeline.admit(BUYER)
    world.refund(number)
    clock.advance(1)
    world.sell(event, address=BUYER)
    assert broken(world) == []
    pipeline.invite(BUYER)
    assert broken(world) == [1]


@pytest.mark.parametrize("obstacle", ["suppress", "unsubscribe", "refused", "rejected"])
def test_unreachable_buyers_are_not_missed(world, event, pipeline, obstacle):
    world.sell(event, address=BUYER)
    if obstacle == "refused":
        world.klaviyo.switches.refused_addresses.add(BUYER)
    elif obstacle == "rejected":
        world.gather.switches.rejected_addresses.add(BUYER)
    else:
        getattr(world.klaviyo, obstacle)(BUYER)
    pipeline.grant(BUYER)
    assert broken(world) == []


@pytest.mark.parametrize("address", ["", "no address", "buyer@example", "a b@example.org"])
def test_an_invalid_address_entitles_nobody(world, event, address):
    world.sell(event, address=address)
    assert oracle.entitled(world, "2031") == set()


def test_nothing_changes_after_an_event_ends(world, event, pipeline, clock):
    number = world.sell(event, address=BUYER)[0]
    pipeline.admit(BUYER)
    world.end_event(event)
    clock.advance(1)
    world.cancel(number)
    world.sell(event, address="late@example.org")
    assert broken(world) == []


def test_only_events_of_the_edition_count(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    world.rename_event(event, "Renamed")
    world.sell(world.add_event("PyCon TW 2030 Registration: Individual"), address="old@example.org")
    assert broken(world) == []
    assert broken(world, events=[]) == [3, 3, 3]


def test_newsletters_are_not_invitations(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    world.klaviyo.send_by_hand(world.klaviyo.add_list_by_hand("news", [BUYER, "reader@example.org"]))
    assert broken(world) == []


def test_without_a_guest_list_only_tickets_count(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.invite(BUYER)
    assert broken(world, guest_list=False) == []
    pipeline.invite(BUYER)
    assert broken(world, guest_list=False) == [1]


def test_nobody_is_missed_before_the_end(world, event):
    world.sell(event, address=BUYER)
    assert broken(world, settled=False) == []
    assert broken(world) == [2, 2]


# -- every kind of error --------------------------------------------------------------------------------------


def test_1_mailed_twice(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    pipeline.invite("BUYER@example.org")
    assert broken(world, settled=False) == [1]


def test_1_a_repeat_that_somebody_asked_for_is_none(world, event, pipeline, clock):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    world.ask_again("BUYER@example.org")
    pipeline.invite(BUYER)
    assert broken(world) == []
    pipeline.invite(BUYER)
    assert broken(world) == [1], "one question allows one mail"


def test_1_a_mail_before_the_question_is_no_answer_to_it(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    pipeline.invite(BUYER)
    world.ask_again(BUYER)
    assert broken(world) == [1]


def test_1_a_question_allows_no_mail_to_somebody_else(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    world.ask_again("second@example.org")
    pipeline.invite(BUYER)
    assert broken(world) == [1]


def test_2_not_invited(world, event, pipeline):
    world.sell(event, address=BUYER)
    world.sell(event, address="second@example.org")
    pipeline.admit(BUYER)
    pipeline.grant("second@example.org")
    assert broken(world) == [2]


def test_2_not_invited_in_a_second_access_period(world, event, pipeline, clock):
    number = world.sell(event, address=BUYER)[0]
    pipeline.admit(BUYER)
    world.refund(number)
    clock.advance(1)
    pipeline.revoke(BUYER)
    world.sell(event, address=BUYER)
    clock.advance(1)
    pipeline.grant(BUYER)
    assert broken(world) == [2]


def test_3_unpaid_let_in_and_mailed(world, event, pipeline):
    world.sell(event, address=BUYER, paid=False)
    pipeline.admit(BUYER)
    assert broken(world, settled=False) == [3, 3]


def test_3_refunded_still_in(world, event, pipeline, clock):
    number = world.sell(event, address=BUYER)[0]
    pipeline.admit(BUYER)
    clock.advance(1)
    world.refund(number)
    assert broken(world, settled=False) == []
    assert broken(world) == [3]


@pytest.mark.parametrize("spoil", [{}, {"speaker@example.org": GUEST}])
def test_3_handmade_guests_changed(world, gather, spoil):
    world.add_guest("speaker@example.org", {"affiliation": "Speaker"})
    gather.write(spoil, overwrite=True)
    assert 3 in broken(world, settled=False)


def test_3_handmade_lists_changed(world, klaviyo):
    news = world.klaviyo.add_list_by_hand("news", ["reader@example.org"])
    members = klaviyo.good("GET", f"/lists/{news}/relationships/profiles")
    klaviyo.good("DELETE", f"/lists/{news}/relationships/profiles", members)
    assert broken(world) == [3]
    klaviyo.good("DELETE", f"/lists/{news}")
    assert broken(world) == [3]


def test_4_access_withdrawn_from_a_holder(world, event, pipeline, clock):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    clock.advance(1)
    pipeline.revoke(BUYER)
    assert broken(world, settled=False) == [4]


def test_4_does_not_start_a_new_access_period(world, event, pipeline, clock):
    """Access that was lost by mistake and restored needs no second invitation."""
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    pipeline.revoke(BUYER)
    pipeline.grant(BUYER)
    assert broken(world) == [4]
    pipeline.invite(BUYER)
    assert broken(world) == [1, 4]


def test_a_removal_by_hand_is_no_error(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    world.remove_guest(BUYER)
    assert broken(world, settled=False) == []


def test_5_mailed_before_access(world, event, pipeline, clock):
    world.sell(event, address=BUYER)
    pipeline.invite(BUYER)
    clock.advance(1)
    pipeline.grant(BUYER)
    assert broken(world, settled=False) == [5]


def test_6_digests_instead_of_addresses(world, gather):
    gather.write({"ab" * 32: GUEST})
    assert 6 in broken(world, settled=False)


@pytest.mark.parametrize("secret", ["qrcode", "name", "phone", "nickname"])
def test_6_personal_data_given_to_klaviyo(world, event, klaviyo, secret):
    ticket = world.kktix.tickets[world.sell(event, address=BUYER)[0]]
    value = ticket.qrcode if secret == "qrcode" else getattr(ticket.person, secret)
    attributes = {"email": BUYER, "properties": {"extra": {"deep": [value]}}}
    klaviyo.good("POST", "/profile-import", {"type": "profile", "attributes": attributes})
    assert broken(world, settled=False) == [6]


def test_findings_name_nobody(world, event, pipeline):
    world.sell(event, address=BUYER, paid=False)
    pipeline.admit(BUYER)
    pipeline.invite(BUYER)
    text = repr(oracle.verdict(world, "2031"))
    assert "b***@e***" in text
    assert BUYER not in text


# -- letters to everybody -------------------------------------------------------------------------------------


def test_a_letter_is_no_second_invitation_and_no_first_one(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.grant(BUYER)
    pipeline.clock.advance(1)
    pipeline.write_to(BUYER)
    assert broken(world) == [2]
    pipeline.invite(BUYER)
    assert broken(world) == []


def test_the_same_letter_twice_is_found_by_name_and_by_words(world, event, pipeline):
    world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    pipeline.write_to(BUYER)
    assert broken(world) == []
    pipeline.write_to(BUYER, letter="ffffffffffff")
    assert broken(world) == [1], "the same words under another name"


def test_a_letter_without_a_ticket_is_found_unless_no_poll_could_know(world, event, pipeline, clock):
    [ticket] = world.sell(event, address=BUYER)
    pipeline.admit(BUYER)
    world.cancel(ticket)
    pipeline.revoke(BUYER)
    pipeline.write_to(BUYER)
    assert broken(world) == []
    clock.advance(3600)
    pipeline.write_to(BUYER, letter="ffffffffffff")
    assert 3 in broken(world)
    pipeline.write_to("stranger@example.org")
    assert broken(world).count(3) == 2
