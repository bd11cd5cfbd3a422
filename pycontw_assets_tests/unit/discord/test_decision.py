"""A look at the guild says who used an invite, who has left, and which invites a lost reply left behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta, timezone

import pytest

from pycontw_assets.authorize.discord.decision import (
    LATE_ROLE,
    Look,
    OwnInvite,
    gone_invites,
    has_left,
    is_listing_needed,
    lost_replies,
    read_look,
    with_known_role,
)
from pycontw_assets.ledger.database.tables import InviteState, InviteTrace
from pycontw_assets.ledger.discord.invites import UNKNOWN_ROLE, Bearer, Invite

NOW = datetime(2031, 9, 1, tzinfo=timezone.utc)
ROLE, OTHER = "11", "12"


def invite(
    key: str,
    state: InviteState = "open",
    *,
    role: str = ROLE,
    trace: InviteTrace | None = None,
    gone_at: datetime | None = None,
    tried_at: datetime | None = None,
    member: str | None = None,
) -> Invite:
    return Invite(
        "2031", key, 1, "2031-individual-1", role, state, NOW,
        code_digest=f"code of {key}", tried_at=tried_at, gone_at=gone_at, trace=trace, member_digest=member,
    )  # fmt: skip


def look(*gone: Invite, members: set[str], before: tuple[Bearer, ...] = (), others: tuple[Invite, ...] = ()) -> Look:
    present = {ROLE: members | {bearer.member_digest for bearer in before}}
    return read_look([*gone, *others], gone, before=before, present=present, now=NOW)


def test_only_made_invites_that_are_not_listed_are_gone() -> None:
    live, used, meant = invite("a"), invite("b"), invite("c", "intended")
    assert gone_invites([live, used, meant], {"code of a"}) == [used]


def test_members_are_listed_only_when_somebody_came_or_must_be_found() -> None:
    used = invite("a", "used", trace="unclear")
    assert not is_listing_needed([invite("a")], [], is_any_unlisted=False)
    assert is_listing_needed([invite("a")], [invite("a")], is_any_unlisted=False)
    assert is_listing_needed([invite("a")], [], is_any_unlisted=True)
    assert is_listing_needed([used], [], is_any_unlisted=False)


def test_one_gone_invite_and_one_new_member_belong_together() -> None:
    used = invite("a")
    assert look(used, members={"new"}, before=(Bearer("old", ROLE, "other"),)).members == {used: "new"}


def test_several_at_once_are_not_told_apart() -> None:
    first, second = invite("a"), invite("b")
    seen = look(first, second, members={"x", "y"})
    assert seen.members == {}
    assert seen.used == {"unclear": [first, second]}
    assert seen.bearers is not None
    assert {bearer.origin for bearer in seen.bearers} == {"unclear"}


def test_a_role_given_by_hand_is_nobodys_invite() -> None:
    seen = look(members={"speaker"}, others=(invite("a"),))
    assert (seen.members, seen.used, seen.bearers) == ({}, {}, [Bearer("speaker", ROLE, "other")])


def test_an_invite_that_is_gone_without_a_new_member_was_used_by_nobody_who_is_here() -> None:
    used = invite("a")
    assert look(used, members=set()).used == {"nobody": [used]}


def test_a_role_that_shows_late_still_belongs_to_the_invite() -> None:
    gone_at = NOW - LATE_ROLE / 2
    used = invite("a", "used", trace="nobody", gone_at=gone_at)
    assert look(members={"new"}, others=(used,)).members == {used: "new"}
    long_ago = invite("a", "used", trace="nobody", gone_at=NOW - 2 * LATE_ROLE)
    assert look(members={"new"}, others=(long_ago,)).members == {}


def test_an_invite_that_we_may_have_deleted_is_over_when_nobody_new_is_there() -> None:
    doubted, used = invite("a", "deleting"), invite("b")
    assert look(doubted, members=set()).ended == [doubted]
    seen = look(doubted, used, members={"new"})
    assert (seen.members, seen.ended) == ({used: "new"}, [doubted])
    assert look(doubted, members={"new"}).members == {doubted: "new"}


def test_other_roles_do_not_confuse_the_match() -> None:
    used, other = invite("a"), invite("b", role=OTHER)
    present = {ROLE: {"x"}, OTHER: {"y"}}
    seen = read_look([used, other], [used, other], before=(), present=present, now=NOW)
    assert seen.members == {used: "x", other: "y"}


def test_without_the_list_of_members_nobody_is_recognised() -> None:
    used = invite("a")
    seen = read_look([used], [used], before=(), present=None, now=NOW)
    assert (seen.used, seen.bearers) == ({"unseen": [used]}, None)


@pytest.mark.parametrize(("unknown_members", "left"), [(0, True), (1, None)])
def test_somebody_unknown_has_left_when_nobody_unknown_has_the_role(unknown_members: int, left: bool | None) -> None:
    leaving = invite("a", "used", trace="unclear")
    bearers = [Bearer(f"m{number}", ROLE, "unclear") for number in range(unknown_members)]
    assert has_left(leaving, [*bearers, Bearer("known", ROLE, "known"), Bearer("m", OTHER, "unclear")], NOW) is left


UNKNOWN = (Bearer("x", ROLE, "unclear"), Bearer("y", ROLE, "unclear"))


def after_a_refund(
    *present: str, in_guild: Collection[str], leaving: tuple[Invite, ...] | None, before: tuple[Bearer, ...] = UNKNOWN
) -> Look:
    invites = [*(leaving or ()), invite("b", "used", trace="unclear")]
    return read_look(invites, [], before=before, present={ROLE: present}, now=NOW, in_guild=in_guild, leaving=leaving)


def test_a_role_that_a_person_takes_from_somebody_unknown_ends_one_refunded_invite() -> None:
    refunded, second = invite("a", "used", trace="unclear"), invite("c", "used", trace="unclear")
    seen = after_a_refund("y", in_guild={"x", "y"}, leaving=(refunded, second))
    assert (seen.ended, seen.bearers) == ([refunded], [UNKNOWN[1]])


def test_an_unknown_member_who_leaves_the_guild_ends_nothing() -> None:
    seen = after_a_refund("y", in_guild={"y"}, leaving=(invite("a", "used", trace="unclear"),))
    assert (seen.ended, seen.bearers) == ([], [UNKNOWN[1]])


def test_a_role_that_is_taken_before_the_refund_is_read_counts_afterwards() -> None:
    early = after_a_refund("y", in_guild={"x", "y"}, leaving=())
    assert early.bearers == [UNKNOWN[1], UNKNOWN[0]]
    refunded = invite("a", "used", trace="unclear")
    assert after_a_refund("y", in_guild={"x", "y"}, leaving=(refunded,)).ended == [refunded]


def test_the_role_of_a_known_refunded_member_answers_nothing_about_somebody_else() -> None:
    refunded = invite("a", "used", trace="member", member="x")
    second = invite("c", "used", trace="unclear")
    before = (Bearer("x", ROLE, "known"), UNKNOWN[1])
    seen = after_a_refund("y", in_guild={"x", "y"}, leaving=(refunded, second), before=before)
    assert (seen.ended, seen.bearers) == ([], [UNKNOWN[1]])


def test_a_known_member_with_a_ticket_answers_where_a_person_took_the_role() -> None:
    refunded, before = invite("a", "used", trace="unclear"), (Bearer("x", ROLE, "known"), UNKNOWN[1])
    assert after_a_refund("y", in_guild={"x", "y"}, leaving=(refunded,), before=before).ended == [refunded]


def test_an_answer_to_the_alarm_is_kept_until_an_invite_may_end() -> None:
    before = (Bearer("x", ROLE, "known"), UNKNOWN[1])
    meanwhile = after_a_refund("y", in_guild={"x", "y"}, leaving=None, before=before)
    assert (meanwhile.ended, meanwhile.bearers) == ([], [before[1], before[0]])
    refunded = invite("a", "used", trace="unclear")
    later = after_a_refund("y", in_guild={"x", "y"}, leaving=(refunded,), before=tuple(meanwhile.bearers or ()))
    assert (later.ended, later.bearers) == ([refunded], [UNKNOWN[1]])


@pytest.mark.parametrize("trace", ["unseen", "nobody"])
def test_an_invite_without_a_known_role_never_ends_silently(trace: InviteTrace) -> None:
    refunded = invite("a", "used", role=UNKNOWN_ROLE, trace=trace, gone_at=NOW)
    present: dict[str, set[str]] = {UNKNOWN_ROLE: set(), ROLE: {"new"}}
    seen = read_look([refunded], [], before=(), present=present, now=NOW)
    assert (any(seen.used.values()), seen.members, seen.ended) == (False, {}, [])
    assert is_listing_needed([refunded], [], is_any_unlisted=False)
    assert has_left(refunded, [], NOW + 2 * LATE_ROLE) is None


def test_a_role_that_a_person_takes_answers_for_an_unknown_role_after_all_others() -> None:
    roleless = invite("a", "used", role=UNKNOWN_ROLE, trace="unseen")
    refunded = invite("c", "used", trace="unclear")
    assert after_a_refund("y", in_guild={"x", "y"}, leaving=(roleless, refunded)).ended == [refunded]
    assert after_a_refund(in_guild={"x", "y"}, leaving=(roleless, refunded)).ended == [refunded, roleless]
    assert after_a_refund("x", "y", in_guild={"x", "y"}, leaving=(roleless,)).ended == []


def test_an_invite_gets_its_role_once_the_rules_fit_and_any_unknown_member_may_have_used_it() -> None:
    roleless = invite("a", "used", role=UNKNOWN_ROLE, trace="unseen")
    [found] = with_known_role([roleless, invite("b")], {"a": ROLE, "b": OTHER})
    assert (found.address_key, found.role_id) == ("a", ROLE)
    assert with_known_role([roleless], {"b": ROLE}) == []
    before = (Bearer("x", ROLE, "other"), Bearer("y", ROLE, "known"))
    seen = read_look([roleless], [], before=before, present={ROLE: {"x", "y"}}, now=NOW, role_found=[found])
    assert (seen.used["unclear"], seen.used.get("nobody", [])) == ([found], [])
    assert seen.bearers == [Bearer("x", ROLE, "unclear"), before[1]]


class CountedReads(list[str]):
    reads = 0

    def __iter__(self) -> Iterator[str]:
        self.reads += 1
        return super().__iter__()


def test_a_look_reads_the_members_of_the_guild_once_however_many_roles_are_gone() -> None:
    guild = CountedReads(f"m{number}" for number in range(50))
    before = tuple(Bearer(f"m{number}", ROLE, "other") for number in range(50))
    after_a_refund(in_guild=guild, leaving=(), before=before)
    assert guild.reads == 1


def test_who_has_a_role_before_its_first_listing_is_taken_for_nobody() -> None:
    used, present = invite("a"), {ROLE: {"staff"}}
    seen = read_look([used], [used], before=(), present=present, now=NOW, unlisted={ROLE})
    assert (seen.members, seen.used) == ({}, {"unclear": [used]})
    assert seen.bearers == [Bearer("staff", ROLE, "unclear")]


def test_a_look_that_sees_the_members_again_explains_what_was_used_unseen() -> None:
    unseen = invite("a", "used", trace="unseen")
    assert is_listing_needed([unseen], [], is_any_unlisted=False)
    assert look(members={"new"}, others=(unseen,)).members == {unseen: "new"}
    assert look(members=set(), others=(unseen,)).used == {"nobody": [unseen]}


def test_an_unseen_member_is_never_taken_for_gone() -> None:
    assert has_left(invite("a", "used", trace="unseen"), [], NOW) is None


def test_nobodys_role_is_awaited_before_the_invite_counts_as_over() -> None:
    fresh = invite("a", "used", trace="nobody", gone_at=NOW)
    assert has_left(fresh, [], NOW) is None
    assert has_left(fresh, [], NOW + 2 * LATE_ROLE) is True


def test_as_many_unknown_invites_as_tries_without_an_answer_are_deleted() -> None:
    stranger = OwnInvite("code", ROLE, NOW)
    tried = invite("a", "creating", tried_at=NOW)
    assert lost_replies([stranger], [tried]) == ([stranger], 0)
    assert lost_replies([stranger], []) == ([], 1)
    assert lost_replies([stranger, OwnInvite("more", ROLE, NOW)], [tried]) == ([], 2)
    assert lost_replies([OwnInvite("old", ROLE, NOW - timedelta(days=1))], [tried]) == ([], 1)
    assert lost_replies([OwnInvite("other", OTHER, NOW)], [tried]) == ([], 1)
