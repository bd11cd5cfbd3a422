"""After a lost ledger, the links that people were sent say whose the invites of the guild are."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from pycontw_assets.authorize.discord.rebuild_from_links import (
    KnownLinks,
    RebuiltInvites,
    rebuild_invites,
    with_bearers,
)
from pycontw_assets.ledger.database.tables import InviteState, InviteTrace
from pycontw_assets.ledger.discord.invites import (
    UNKNOWN_ROLE,
    Bearer,
    Invite,
    intend_invites,
    known_bearers,
    open_invites,
    set_invite,
)
from pycontw_assets.ledger.discord.restoring import restore_invites
from pycontw_assets.ledger.ledger import Ledger

NOW = datetime(2031, 9, 1, tzinfo=timezone.utc)
EDITION, EVENT, ROLE, OTHER = "2031", "2031-individual-1", "11", "12"
CHANNEL = "https://discord.com/channels/1/2"


def links_to(*codes: str, role: str | None = ROLE, has_ticket: bool = True) -> KnownLinks:
    links = tuple(code if "/" in code else f"https://discord.gg/{code}" for code in codes)
    return KnownLinks(partition_key=EVENT, links=links, role_id=role, has_ticket=has_ticket)


def in_ledger(
    key: str, code: str | None, state: InviteState = "open", trace: InviteTrace | None = None, member: str | None = None
) -> Invite:
    digest = code and f"digest of {code}"
    return Invite(
        EDITION, key, 3, EVENT, ROLE, state, NOW, code_digest=digest, trace=trace, member_digest=member
    )  # fmt: skip


def rebuilt(known_links: dict[str, KnownLinks], *live: str, recorded: tuple[Invite, ...] = ()) -> RebuiltInvites:
    return rebuild_invites(
        EDITION,
        known_links,
        recorded={invite.address_key: invite for invite in recorded},
        live={f"digest of {code}": OTHER for code in live},
        digest=lambda code: f"digest of {code}",
        channel_link=CHANNEL,
        now=NOW,
    )


def shown(found: RebuiltInvites) -> dict[str, tuple[str, str | None, str | None, str]]:
    return {i.address_key: (i.state, i.code_digest, i.trace, i.role_id) for i in found.invites}


def test_an_unused_invite_is_whose_link_it_is_with_the_role_that_it_gives() -> None:
    assert shown(rebuilt({"anna": links_to("aaa")}, "aaa")) == {"anna": ("open", "digest of aaa", None, OTHER)}


def test_an_invite_that_is_gone_was_used_by_nobody_knows_whom() -> None:
    found = rebuilt({"anna": links_to("aaa"), "ben": links_to(CHANNEL)}, "ccc")
    assert shown(found) == {"anna": ("used", None, "unclear", ROLE), "ben": ("used", None, "unclear", ROLE)}


def test_a_holder_without_a_link_gets_an_invite_as_usual() -> None:
    assert shown(rebuilt({"anna": links_to()}, "ccc")) == {}


@pytest.mark.parametrize("text", ["https://discord.gg/", "https://discord.gg/a b", "https://evil.example/aaa", "aaa/"])
def test_a_text_that_is_no_link_names_nobody(text: str) -> None:
    assert shown(rebuilt({"anna": links_to(text)}, "aaa")) == {}


def test_without_a_ticket_only_an_unused_invite_counts_so_that_it_is_deleted() -> None:
    known_links = {"anna": links_to("aaa", has_ticket=False), "ben": links_to("bbb", has_ticket=False)}
    assert shown(rebuilt(known_links, "aaa")) == {"anna": ("open", "digest of aaa", None, OTHER)}


def test_a_link_in_two_profiles_gives_nobody_a_second_invite() -> None:
    found = shown(rebuilt({"anna": links_to("aaa"), "ben": links_to("aaa")}, "aaa"))
    assert (found["anna"][0], found["ben"][0]) == ("open", "used")


def test_of_several_links_the_one_that_still_works_counts() -> None:
    assert shown(rebuilt({"anna": links_to("old", "new")}, "new"))["anna"][:2] == ("open", "digest of new")


def test_without_a_role_only_a_person_can_say_who_left() -> None:
    assert shown(rebuilt({"anna": links_to("aaa", role=None)})) == {"anna": ("used", None, "unseen", UNKNOWN_ROLE)}


@pytest.mark.parametrize(
    ("recorded", "links", "live"),
    [
        (in_ledger("anna", "aaa"), ("aaa",), ("aaa",)),
        (in_ledger("anna", "aaa"), (), ("aaa",)),
        (in_ledger("anna", None, "intended"), (), ()),
        (in_ledger("anna", "aaa", "used", "member", "m"), ("aaa",), ()),
        (in_ledger("anna", "aaa", "used", "member", "m"), (CHANNEL,), ()),
        (in_ledger("anna", "aaa", "used", "nobody"), (), ()),
    ],
)
def test_what_an_older_ledger_knows_and_nobody_denies_stays(
    recorded: Invite, links: tuple[str, ...], live: tuple[str, ...]
) -> None:
    assert shown(rebuilt({"anna": links_to(*links)}, *live, recorded=(recorded,))) == {}


@pytest.mark.parametrize(
    ("recorded", "live", "state"),
    [
        (in_ledger("anna", "aaa"), ("new",), "open"),
        (in_ledger("anna", "aaa", "used", "member", "m"), ("new",), "open"),
        (in_ledger("anna", "aaa", "used", "member", "m"), (), "used"),
        (in_ledger("anna", None, "creating"), (), "used"),
        (in_ledger("anna", None, "intended"), ("new",), "open"),
    ],
)
def test_a_newer_link_counts_more_than_an_older_ledger(recorded: Invite, live: tuple[str, ...], state: str) -> None:
    [found] = rebuilt({"anna": links_to("new")}, *live, recorded=(recorded,)).invites
    assert (found.state, found.period, found.member_digest) == (state, 3, None)


def test_all_unknown_members_with_the_role_may_have_used_gone_invites() -> None:
    found = rebuilt({"anna": links_to("aaa")})
    present = {ROLE: {"m1", "m2", "m3"}, OTHER: {"m4"}}
    bearers = with_bearers(found, [Bearer("m1", ROLE, "other")], present).bearers
    assert bearers == [Bearer("m2", ROLE, "unclear"), Bearer("m3", ROLE, "unclear")]


def test_a_member_whom_a_newer_ledger_may_have_met_again_counts_as_unknown() -> None:
    found = rebuilt({"anna": links_to("new")}, recorded=(in_ledger("anna", "aaa", "used", "member", "m1"),))
    bearers = with_bearers(found, [Bearer("m1", ROLE, "known")], {ROLE: {"m1"}}).bearers
    assert bearers == [Bearer("m1", ROLE, "unclear")]


def test_where_members_are_not_listed_a_person_has_to_say_who_left() -> None:
    [found] = with_bearers(rebuilt({"anna": links_to("aaa")}), [], None).invites
    assert found.trace == "unseen"


def test_restored_invites_replace_open_ones_and_keep_ended_ones(ledger: Ledger) -> None:
    intend_invites(ledger, EDITION, EVENT, {"anna": ROLE, "ben": ROLE})
    before = open_invites(ledger, EDITION)
    set_invite(ledger, before["ben"], "ended")
    found = rebuilt({"anna": links_to("aaa"), "ben": links_to("bbb")}, "aaa", recorded=(before["anna"],)).invites
    for _ in range(2):
        restore_invites(ledger, found, [Bearer("m1", ROLE, "unclear")])
    after = open_invites(ledger, EDITION)
    assert {key: (invite.period, invite.state) for key, invite in after.items()} == {
        "anna": (1, "open"),
        "ben": (2, "used"),
    }
    assert known_bearers(ledger) == [Bearer("m1", ROLE, "unclear")]
