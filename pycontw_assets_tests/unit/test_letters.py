"""A letter to everybody reaches each holder once, whatever is lost, late, refused or killed in between."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.api.client import Refused, Unavailable
from pycontw_assets.commands.announce import describe_letter, describe_plan, read_time
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.letters.letters import Letter, find_letter, letters_of, update_letter
from pycontw_assets.ledger.lists import confirm_members, forget_members, intend_members, list_members
from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.ledger.polls import begin_pause
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.pipeline.letters.announcing import Announcing, NotAnnounced, refusal
from pycontw_assets.pipeline.letters.following import LATEST, describe_problem, follow_letters, is_due
from pycontw_assets.records import FAMILIES, Attendee, AttendeeRecord, EventPartition, Family, OrderSnapshot
from pycontw_assets.send_email import names
from pycontw_assets.send_email.invitation.template import InvitationError
from pycontw_assets.send_email.letters.audience import audience_of
from pycontw_assets.send_email.letters.find_letters import recovered
from pycontw_assets.send_email.letters.letter import RenderedLetter, render_letter
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings, Settings
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import (
    OTHER_PARTITION,
    PARTITION,
    PSEUDONYMIZER,
    empty_ledger,
    memory_ledger,
    record_holders,
)

NOW = FakeClock().now
ANNA, BEN, CLEO = "anna@example.org", "ben@example.com", "cleo@example.net"
EXAMPLE = (files("pycontw_assets.send_email.letters") / "letter.html").read_text(encoding="utf-8")


def a_letter(subject: str = "Check-in opens at half past eight", source: str = EXAMPLE, **links: Any) -> RenderedLetter:
    links = {"venue_url": "https://example.org/venue", "video_url": "https://youtu.be/example", **links}
    return render_letter("2031", subject=subject, source=source, file="FILE.html", **links)


class Orders:
    """A vault with nothing but an attendee whom the book lacks, once ``missing`` is set."""

    missing = False

    def read(self, key: str) -> OrderSnapshot | None:
        if key != PARTITION.key or not self.missing:
            return None
        attendee = Attendee(attendee_id=1, is_paid=True, state="activated", answers=())
        return OrderSnapshot(PARTITION, {1: AttendeeRecord(attendee, NOW, missing_polls=1)})

    def stream(self, key: str) -> Any:
        raise NotImplementedError

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        raise NotImplementedError


@dataclass
class Conference:
    """Anna holds a ticket of each of two events, Ben and Cleo of one. Their lists are as a poll leaves them."""

    ledger: Ledger
    klaviyo: FakeKlaviyo
    vault: Orders = field(default_factory=Orders)
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None, edition="2031"))

    @property
    def clock(self) -> FakeClock:
        clock: Any = self.ledger.clock
        return clock  # type: ignore[no-any-return]

    @property
    def waits(self) -> WaitPolicy:
        return WaitPolicy(sleep=self.clock.sleep, lock=0)

    def begin(self) -> Conference:
        register_events(self.ledger, [PARTITION, OTHER_PARTITION])
        self.poll(PARTITION, ANNA, BEN)
        self.poll(OTHER_PARTITION, ANNA, CLEO)
        return self

    def poll(self, partition: EventPartition, *addresses: str) -> None:
        """Record holders of an event, and make its list equal to them."""
        record_holders(self.ledger, addresses, partition)
        name = names.ticket_holder_list(partition)
        known = [found.list_id for found in self.klaviyo.find_lists(name)]
        list_id = known[0] if known else self.klaviyo.create_list(name).list_id
        record_remote_id(self.ledger, "list", name, list_id)
        ids = {PSEUDONYMIZER.address(a): self.klaviyo.upsert_profile(a, {}).profile_id for a in addresses}
        self.klaviyo.lists[list_id].members = dict.fromkeys(ids.values(), 0)
        forget_members(self.ledger, partition.key, list_members(self.ledger, partition.key))
        intend_members(self.ledger, partition.key, dict(ids))
        confirm_members(self.ledger, partition.key, ids)

    def announcing(self, klaviyo: Any = None, ledger: Any = None) -> Announcing:
        self.clock.advance(minutes=5)
        return Announcing(
            klaviyo=klaviyo or self.klaviyo,
            vault=self.vault,
            ledger=ledger or self.ledger,
            waits=self.waits,
            settings=self.settings,
        )

    def announce(
        self,
        rendered: RenderedLetter | None = None,
        families: tuple[Family, ...] = FAMILIES,
        send_at: datetime | None = None,
        **parts: Any,
    ) -> Letter:
        return self.announcing(**parts).run(rendered or a_letter(), families, send_at)[0]

    def refused(self, *args: Any, **details: Any) -> str:
        with pytest.raises(NotAnnounced) as refused:
            self.announce(*args, **details)
        return str(refused.value)

    def follow(self, **parts: Any) -> list[str]:
        parts = {"klaviyo": self.klaviyo, "vault": self.vault, "ledger": self.ledger, **parts}
        return list(follow_letters(waits=self.waits, settings=self.settings, **parts))


@pytest.fixture
def conference(ledger: Ledger, clock: FakeClock) -> Conference:
    return Conference(ledger, FakeKlaviyo(clock)).begin()


# -- to whom ----------------------------------------------------------------------------------------


def test_everybody_gets_one_mail_however_many_events_list_them(conference: Conference) -> None:
    letter = conference.announce()
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}
    assert (letter.state, letter.people) == ("sent", 3)


def test_a_letter_to_one_family_goes_to_its_lists_only(conference: Conference) -> None:
    conference.announce(families=("individual",))
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1}


def test_a_refund_that_is_not_carried_out_holds_the_letter_back(conference: Conference) -> None:
    record_holders(conference.ledger, [ANNA], PARTITION)  # Ben's ticket is gone, and he is still on the list
    assert "behind the ledger by 1 people; run `pycontw-assets poll` first" in conference.refused()
    assert not conference.klaviyo.mailed
    conference.poll(PARTITION, ANNA)
    conference.announce()
    assert conference.klaviyo.mailed == {ANNA: 1, CLEO: 1}


def test_an_attendee_whom_the_book_lacks_holds_the_letter_back(conference: Conference) -> None:
    conference.vault.missing = True
    assert "1 attendees are missing from KKTIX's attendance books" in conference.refused()
    assert not letters_of(conference.ledger), "a refusal begins nothing"
    conference.vault.missing = False
    assert conference.announce().state == "sent"


def test_a_holder_who_is_not_listed_yet_holds_the_letter_back(conference: Conference) -> None:
    record_holders(conference.ledger, [ANNA, BEN, "dora@example.org"], PARTITION)
    assert "behind the ledger" in conference.refused()


def test_a_stranger_on_a_list_holds_the_letter_back(conference: Conference) -> None:
    stranger = conference.klaviyo.upsert_profile("stranger@example.org", {}).profile_id
    next(iter(conference.klaviyo.lists.values())).members[stranger] = 0
    assert "1 profiles on the list" in conference.refused()
    assert not conference.klaviyo.mailed


def test_a_list_that_was_deleted_in_klaviyo_is_made_again_by_the_next_poll(conference: Conference) -> None:
    del conference.klaviyo.lists[next(iter(conference.klaviyo.lists))]
    assert "was deleted in Klaviyo; run `pycontw-assets poll`" in conference.refused()
    assert "behind the ledger by 2 people" in conference.refused()


def test_of_two_profiles_of_one_person_the_letter_leaves_one_out() -> None:
    audience = audience_of({"L1": {"anna": "P1", "ben": "P2"}, "L2": {"anna": "P3", "cleo": None}})
    assert (audience.people, audience.second) == (2, {"P3"})
    assert audience.lists == {"L1": {"P1", "P2"}, "L2": {"P3"}}


def test_a_person_of_two_spellings_gets_one_mail(conference: Conference) -> None:
    other = conference.klaviyo.upsert_profile("anna@sub.example.org", {}).profile_id
    list_id = conference.klaviyo.find_lists(names.ticket_holder_list(OTHER_PARTITION))[0].list_id
    cleos = conference.klaviyo.upsert_profile(CLEO, {}).profile_id
    conference.klaviyo.lists[list_id].members = {other: 0, cleos: 0}
    intend_members(conference.ledger, OTHER_PARTITION.key, {PSEUDONYMIZER.address(ANNA): other})
    confirm_members(conference.ledger, OTHER_PARTITION.key, [PSEUDONYMIZER.address(ANNA)])
    assert conference.announce().people == 3
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}


# -- once -------------------------------------------------------------------------------------------


def test_the_same_letter_is_refused_also_for_another_family_or_with_another_look(conference: Conference) -> None:
    conference.announce(families=("individual",))
    for families in (("individual",), ("corporate",), FAMILIES):
        assert "nobody gets the same letter twice" in conference.refused(families=families)
    other_look = a_letter(source=EXAMPLE.replace("font-size:16px", "font-size: 18px").replace("\n", "\r\n"))
    assert "nobody gets the same letter twice" in conference.refused(other_look)
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1}
    conference.announce(a_letter("Another subject"))
    assert conference.klaviyo.mailed == {ANNA: 2, BEN: 2, CLEO: 1}


@pytest.mark.parametrize("call", ["create_template", "create_campaign", "send", "assign_template"])
@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_costs_no_second_mail(conference: Conference, call: str, acted: bool) -> None:
    conference.klaviyo.faults.lose_reply(call, acted=acted)
    try:
        conference.announce()
    except Unavailable:
        conference.announce()
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}
    assert len(conference.klaviyo.campaigns) == 1


def test_another_ledger_finds_the_letter_in_klaviyo(conference: Conference) -> None:
    conference.announce()
    empty_ledger(conference.ledger)
    conference.klaviyo.clock = conference.ledger.clock
    conference.begin()
    assert "nobody gets the same letter twice" in conference.refused()
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}
    assert [letter.state for letter in letters_of(conference.ledger)] == ["sent"]


def test_a_draft_that_somebody_sent_by_hand_is_not_sent_again(conference: Conference) -> None:
    conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    [campaign_id] = conference.klaviyo.campaigns
    conference.klaviyo.send(campaign_id)
    conference.clock.advance(hours=1)
    assert conference.follow() == []
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}
    assert "nobody gets the same letter twice" in conference.refused()


def test_an_end_before_the_first_mail_is_sent_again_and_any_other_is_not(conference: Conference) -> None:
    conference.klaviyo.ends_as = "Cancelled: Misconfigured"
    assert conference.announce().state == "cancelled"
    assert "its people got no mail" in conference.follow()[0]
    conference.klaviyo.ends_as, conference.klaviyo.stop_after = "Cancelled: Billing Limit", 1
    assert conference.announce().state == "cancelled"
    assert "some of its people may have got the mail" in conference.follow()[0]
    assert "some of its people may have got the mail" in conference.refused()
    assert sum(conference.klaviyo.mailed.values()) == 1


def _tried(letter: Conference, moment: int) -> bool:
    """Announce until moment ``moment``. Return whether it came to its end before."""
    fuse = Fuse(moment)
    try:
        letter.announce(klaviyo=Fused(letter.klaviyo, fuse), ledger=fused_ledger(letter.ledger, fuse))
    except Killed:
        return False
    return True


@pytest.mark.parametrize("apart", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_same_command_sends_it_once(apart: int) -> None:
    ledger, moment, is_over = memory_ledger(FakeClock()), 0, False
    while not is_over:
        empty_ledger(ledger)
        conference = Conference(ledger, FakeKlaviyo(ledger.clock)).begin()
        is_over = _tried(conference, moment)
        conference.clock.advance(minutes=10)  # the lock of the killed process
        assert all("begun" in problem for problem in conference.follow()), moment
        with suppress(NotAnnounced):  # it was sent
            conference.announce()
        assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}, moment
        assert [letter.state for letter in letters_of(ledger)] == ["sent"], moment
        moment += apart
    assert moment > 60


@pytest.mark.parametrize("apart", [17, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_moment_polls_send_a_scheduled_letter_once(apart: int) -> None:
    ledger, moment, is_over = memory_ledger(FakeClock()), 0, False
    while not is_over:
        empty_ledger(ledger)
        conference = Conference(ledger, FakeKlaviyo(ledger.clock)).begin()
        conference.announce(send_at=conference.clock.now + timedelta(hours=1))
        assert not conference.klaviyo.mailed
        conference.clock.advance(hours=1)
        fuse = Fuse(moment)
        try:
            conference.follow(klaviyo=Fused(conference.klaviyo, fuse), ledger=fused_ledger(ledger, fuse))
            is_over = True
        except Killed:
            pass
        for _ in range(2):
            conference.clock.advance(minutes=10)  # the lock of the killed process
            assert conference.follow() == [], moment
        assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}, moment
        moment += apart
    assert moment > 20


# -- its time ---------------------------------------------------------------------------------------


def test_a_scheduled_letter_goes_to_the_holders_of_its_time(conference: Conference) -> None:
    letter = conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    assert letter.state == "ready"
    conference.poll(PARTITION, ANNA, "dora@example.org")  # Ben is refunded meanwhile, and Dora buys
    assert conference.follow() == []
    assert not conference.klaviyo.mailed
    conference.clock.advance(hours=1)
    conference.follow()
    assert conference.klaviyo.mailed == {ANNA: 1, CLEO: 1, "dora@example.org": 1}


def test_a_poll_waits_with_a_due_letter_while_a_list_is_behind(conference: Conference) -> None:
    conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    conference.clock.advance(hours=1)
    record_holders(conference.ledger, [ANNA], PARTITION)
    assert "was due and is not sent" in conference.follow()[0]
    conference.poll(PARTITION, ANNA)
    assert conference.follow() == []
    assert conference.klaviyo.mailed == {ANNA: 1, CLEO: 1}


def test_a_poll_leaves_a_letter_to_the_command_that_is_at_work(conference: Conference) -> None:
    conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    conference.clock.advance(hours=1)
    with lock(conference.ledger, LockName.LETTERS, "2031", wait_seconds=0):
        assert conference.follow() == []
    assert not conference.klaviyo.mailed


def test_a_letter_that_is_long_overdue_waits_for_a_person(conference: Conference) -> None:
    conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    conference.clock.advance(hours=14)
    assert "no poll ran then" in conference.follow()[0]
    assert not conference.klaviyo.mailed
    conference.announce()
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}


def test_a_letter_that_waits_can_be_withdrawn_and_announced_again(conference: Conference) -> None:
    letter = conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    conference.announcing().withdraw(letter.letter_key)
    assert not conference.klaviyo.campaigns
    conference.clock.advance(hours=1)
    assert conference.follow() == []
    assert not conference.klaviyo.mailed
    conference.announce(families=("individual",))
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1}
    with pytest.raises(NotAnnounced, match="is sent; only one that waits"):
        conference.announcing().withdraw(letter.letter_key)


def test_in_a_dry_run_and_while_paused_nothing_is_sent(conference: Conference) -> None:
    conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    conference.clock.advance(hours=1)
    conference.settings = Settings(_env_file=None, edition="2031", pycontw_dry_run=True)
    conference.follow()
    assert "PYCONTW_DRY_RUN" in conference.refused()
    conference.settings = Settings(_env_file=None, edition="2031")
    begin_pause(conference.ledger)
    assert "paused" in conference.refused()
    assert not conference.klaviyo.mailed


def test_a_refused_send_is_no_sent_letter(conference: Conference) -> None:
    conference.klaviyo.faults.fail("send", Refused("Klaviyo", "send campaign", "answered 400", status=400))
    with pytest.raises(Refused):
        conference.announce()
    conference.announce()
    assert conference.klaviyo.mailed == {ANNA: 1, BEN: 1, CLEO: 1}


# -- decisions, pure --------------------------------------------------------------------------------

SENT = Letter(
    edition="2031",
    letter_key="1a2b3c4d5e6f",
    families="individual",
    state="sent",
    campaign_name="pycontw-2031-letter-individual-1a2b3c4d5e6f",
    created_at=NOW,
)


@pytest.mark.parametrize(
    ("state", "status", "families", "is_refused"),
    [
        ("begun", None, ("individual",), False),
        ("begun", None, ("corporate",), True),
        ("ready", None, ("individual",), False),
        ("accepted", "Sending", ("individual",), True),
        ("sent", "Sent", ("corporate",), True),
        ("cancelled", "Cancelled: No Recipients", ("individual",), False),
        ("cancelled", "Cancelled", ("individual",), True),
        ("withdrawn", None, ("corporate",), False),
    ],
)
def test_a_letter_goes_on_only_while_nobody_can_have_it(
    state: Any, status: str | None, families: tuple[Family, ...], is_refused: bool
) -> None:
    assert (refusal(replace(SENT, state=state, remote_status=status), families) is not None) is is_refused
    assert refusal(None, families) is None


def test_a_poll_takes_up_what_is_due_and_not_what_is_long_past() -> None:
    ready = replace(SENT, state="ready", send_at=NOW)
    assert is_due(ready, NOW)
    assert not is_due(ready, NOW - timedelta(seconds=1))
    assert not is_due(ready, NOW + LATEST + timedelta(seconds=1))
    assert is_due(replace(ready, send_intended_at=NOW), NOW + timedelta(days=2)), "it may have left: look"
    assert is_due(replace(SENT, state="accepted"), NOW)
    assert not is_due(replace(SENT, state="begun"), NOW)
    assert is_due(replace(SENT, state="begun", send_intended_at=NOW), NOW)
    assert not is_due(replace(SENT, send_intended_at=NOW), NOW)


def test_problems_say_what_to_do_and_end() -> None:
    cancelled = replace(SENT, state="cancelled", remote_status="Cancelled", ended_at=NOW)
    assert "may have got the mail" in str(describe_problem(cancelled, NOW))
    assert describe_problem(cancelled, NOW + timedelta(days=8)) is None
    begun = replace(SENT, state="begun")
    assert describe_problem(begun, NOW + timedelta(minutes=10)) is None
    assert f"announce --cancel {SENT.letter_key}" in str(describe_problem(begun, NOW + timedelta(minutes=20)))
    assert "long after" in str(describe_problem(replace(SENT, state="accepted"), NOW + timedelta(days=2)))
    assert describe_problem(SENT, NOW + timedelta(days=2)) is None


def test_a_lost_ledger_gets_its_letters_back_from_the_names_of_campaigns(conference: Conference) -> None:
    conference.announce(families=("individual", "reserved"))
    conference.announce(a_letter("Not sent yet"), send_at=conference.clock.now + timedelta(days=1))
    campaigns = conference.klaviyo.find_campaigns(names.letter_prefix("2031"))
    [letter] = recovered("2031", campaigns, NOW)
    assert (letter.state, letter.families, letter.letter_key) == ("sent", "individual reserved", a_letter().key)
    halfway, again = (replace(campaigns[0], campaign_id=i, status=s) for i, s in (("a", "Cancelled"), ("b", "Sent")))
    assert [letter.state for letter in recovered("2031", [again, halfway], NOW)] == ["sent"]


def test_names_of_letters_are_no_names_of_invitations() -> None:
    name = names.letter("2031", ("reserved", "individual"), "1a2b3c4d5e6f")
    assert name == "pycontw-2031-letter-individual-reserved-1a2b3c4d5e6f"
    assert names.read_letter(name, "2031") == ("individual reserved", "1a2b3c4d5e6f")
    assert names.read_letter(f"{name} (copy)", "2031") is None
    assert names.read_letter(name, "2032") is None
    assert names.sent_batch_key(name, "2031") is None
    assert names.campaign_prefix("2031") not in name


# -- the text ---------------------------------------------------------------------------------------


def test_the_example_is_a_letter_in_both_languages() -> None:
    letter = a_letter("  Check-in \n opens ")
    assert letter.mail.subject == "Check-in opens"
    assert letter.missing == ()
    assert letter.mail.name == f"pycontw-2031-letter-{letter.key}-{letter.mail.version}"
    assert letter.mail.name in letter.mail.html
    assert letter.mail.name in letter.mail.text
    assert "{% unsubscribe %}" in letter.mail.text
    assert a_letter(source=EXAMPLE.replace('lang="en"', "")).missing == ("en",)


def test_a_letter_needs_no_link_to_the_venue() -> None:
    source = EXAMPLE.replace('<p><a href="${venue_url}">線上會場</a></p>', "")
    source = source.replace('<p><a href="${venue_url}">The online venue</a></p>', "")
    assert "example.org/venue" not in a_letter(source=source, video_url=None).mail.html


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("${reference}", ""), r"lacks the placeholder \$\{reference\}"),
        (("{% unsubscribe %}", ""), "lacks Klaviyo's tag"),
        (("${edition}", "${name}"), r"unknown placeholder \$\{name\}"),
        (("您好", "{{ person.first_name }}"), "unknown tag"),
        (("您好", "$5"), "a plain dollar sign"),
        (('class="preview"', ""), "needs a <div"),
    ],
)
def test_a_broken_letter_is_refused_before_anything_is_sent(change: tuple[str, str], complaint: str) -> None:
    with pytest.raises(InvitationError, match=complaint):
        a_letter(source=EXAMPLE.replace(*change))


@pytest.mark.parametrize("subject", ["", " ", "x" * 151, "Hello ${edition}", "Hello {{ person.name }}", "a\x07b"])
def test_a_subject_is_one_line_of_plain_words(subject: str) -> None:
    with pytest.raises(InvitationError, match="SUBJECT"):
        a_letter(subject)


def test_a_time_needs_a_zone() -> None:
    assert read_time("2031-09-01T09:00:00+08:00") == read_time("2031-09-01T01:00:00Z")
    for text in ("2031-09-01T09:00:00", "tomorrow", ""):
        with pytest.raises(InvalidSettings, match="zone"):
            read_time(text)


def test_the_preview_counts_people_and_names_nobody(conference: Conference) -> None:
    conference.announce(a_letter("An earlier one"))
    plan = conference.announcing().plan(a_letter(), FAMILIES)
    lines = describe_plan(
        a_letter(), plan, FAMILIES, send_at=None, page=Path("letters/x.html"), now=conference.clock.now
    )
    text = "\n".join(lines)
    assert "to       3 people: holders of corporate, individual, reserved tickets (2 events)" in text
    assert "lists    of the last poll, 10 minutes ago" in text
    assert "kept in  letters/x.html" in text
    assert "earlier  letter" in text
    assert "@" not in text


def test_a_line_says_how_far_a_letter_came(conference: Conference) -> None:
    letter = conference.announce(send_at=conference.clock.now + timedelta(hours=1))
    assert "waits for its time" in describe_letter(letter, conference.clock.now)
    late = describe_letter(letter, conference.clock.now + timedelta(days=1))
    assert "no poll ran then" in late
    found = find_letter(conference.ledger, "2031", letter.letter_key)
    assert found == letter
    assert "taken over" in describe_letter(update_letter(conference.ledger, letter, state="accepted"), NOW)
