"""The step against the simulated guild over a socket, also killed before and after every call and transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import pytest

from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.invite_step import (
    LOOK_EVERY,
    Discord,
    InviteOutcome,
    InviteStep,
    invite_digest,
    links_of_holders,
)
from pycontw_assets.ledger.batches import find_newcomers
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import InviteTrace
from pycontw_assets.ledger.discord.invites import (
    UNKNOWN_ROLE,
    count_invite_work,
    count_without_link,
    guild_state,
    intend_invites,
    known_bearers,
    listed_roles,
    open_invites,
    switch_discord,
)
from pycontw_assets.ledger.discord.restoring import restore_invites
from pycontw_assets.ledger.grants import intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import record_stale_events
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.discord.guild import Guild
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, empty_ledger, record_holders

EDITION, ROLE = PARTITION.edition, keys.DISCORD_ROLE_ID
ANNA, BEN, CARA, DORA = (f"buyer-{number}@example.org" for number in range(1, 5))


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(World()) as running:
        yield running


@pytest.fixture
def guild(server: SandboxServer, clock: FakeClock) -> Guild:
    server.world.reset(clock)
    return server.world.discord


@pytest.fixture
def client(server: SandboxServer, guild: Guild, clock: FakeClock) -> DiscordClient:
    return new_client(server, clock)


def new_client(server: SandboxServer, clock: FakeClock, guild_id: str = keys.DISCORD_GUILD_ID) -> DiscordClient:
    url = f"{server.url}/discord"
    return DiscordClient(url, keys.DISCORD_TOKEN, guild_id, keys.DISCORD_CHANNEL_ID, sleep=clock.sleep, attempts=1)


def key(address: str) -> str:
    return PSEUDONYMIZER.address(address)


def run(client: Discord, ledger: Ledger, *addresses: str) -> InviteOutcome:
    """Run the step for the holders of these addresses."""
    record_holders(ledger, addresses)
    step = InviteStep(client, ledger, PSEUDONYMIZER, nullcontext)
    return step.run(PARTITION, {key(address): ROLE for address in addresses})


def links(client: DiscordClient, ledger: Ledger, *addresses: str) -> dict[str, str]:
    found = links_of_holders(
        client, client, ledger, PSEUDONYMIZER, edition=EDITION, keys=[key(address) for address in addresses]
    )
    return {address: found[key(address)] for address in addresses if key(address) in found}


def use(client: DiscordClient, ledger: Ledger, guild: Guild, address: str, user: str | None = None) -> str:
    """Accept the invite that the address has."""
    user = guild.accept(links(client, ledger, address)[address].rpartition("/")[2], user)
    assert user is not None
    return user


def later(clock: FakeClock) -> None:
    clock.now = clock() + LOOK_EVERY


def bearers(guild: Guild) -> set[str]:
    return {user for user, member in guild.members.items() if ROLE in member.roles}


def test_every_holder_gets_one_invite_and_a_second_run_asks_nobody(
    client: DiscordClient, ledger: Ledger, guild: Guild
) -> None:
    assert run(client, ledger, ANNA, BEN).made == 2
    sent = client.api.requests_sent
    assert run(client, ledger, ANNA, BEN) == InviteOutcome()
    assert client.api.requests_sent == sent
    assert len(set(links(client, ledger, ANNA, BEN).values())) == len(guild.invites) == 2


def test_the_ledger_keeps_no_code_and_no_member(client: DiscordClient, ledger: Ledger, guild: Guild) -> None:
    run(client, ledger, ANNA)
    user = use(client, ledger, guild, ANNA)
    run(client, ledger, ANNA, BEN)
    invites, members = open_invites(ledger, EDITION).values(), known_bearers(ledger)
    assert {bearer.member_digest for bearer in members} == {invite_digest(PSEUDONYMIZER, "member", user)}
    kept = repr([*invites, *members])
    assert user not in kept
    assert not [code for code in guild.made if code in kept]


def test_an_unused_invite_is_deleted_with_the_ticket(client: DiscordClient, ledger: Ledger, guild: Guild) -> None:
    run(client, ledger, ANNA, BEN)
    stays = links(client, ledger, BEN)[BEN]
    assert run(client, ledger, BEN).deleted == 1
    assert [client.link(code) for code in guild.invites] == [stays]


def test_a_known_member_loses_the_role_and_a_new_ticket_brings_a_new_invite(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    run(client, ledger, ANNA, BEN)
    user = use(client, ledger, guild, ANNA)
    later(clock)
    run(client, ledger, ANNA, BEN)
    assert links(client, ledger, ANNA)[ANNA] == client.channel_link
    assert run(client, ledger, BEN).roles_removed == 1
    assert bearers(guild) == set()
    assert run(client, ledger, ANNA, BEN).made == 1
    use(client, ledger, guild, ANNA, user)
    run(client, ledger, BEN)
    assert bearers(guild) == set()
    assert guild.members[user].roles == set()


def test_of_several_who_came_at_once_nobody_loses_the_role_and_a_person_is_asked(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    run(client, ledger, ANNA, BEN, CARA)
    users = {address: use(client, ledger, guild, address) for address in (ANNA, BEN)}
    [problem] = run(client, ledger, BEN, CARA).problems
    assert "1 people without a ticket used their Discord invites" in problem
    assert bearers(guild) == set(users.values())
    guild.take_role(users[ANNA])
    later(clock)
    assert run(client, ledger, BEN, CARA, DORA).problems == []
    assert key(ANNA) not in open_invites(ledger, EDITION)
    assert bearers(guild) == {users[BEN]}


def test_a_role_given_by_hand_is_never_taken(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    guild.give_role("1001")
    run(client, ledger, ANNA)
    user = use(client, ledger, guild, ANNA)
    run(client, ledger, ANNA, BEN)
    guild.give_role("1002")
    run(client, ledger, BEN)
    assert bearers(guild) == {"1001", "1002"}
    assert user in guild.members


def test_without_the_intent_a_used_invite_is_a_question_for_a_person(
    client: DiscordClient, ledger: Ledger, guild: Guild
) -> None:
    guild.switches.lists_members = False
    run(client, ledger, ANNA, BEN)
    use(client, ledger, guild, ANNA)
    outcome = run(client, ledger, BEN)
    assert "Server Members Intent" in outcome.hints[0]
    assert "remove the role by hand" in outcome.problems[0]


def test_after_the_intent_is_back_the_question_can_be_answered(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    run(client, ledger, ANNA, BEN)
    guild.switches.lists_members = False
    user = use(client, ledger, guild, ANNA)
    assert run(client, ledger, BEN).problems
    guild.switches.lists_members = True
    later(clock)
    assert run(client, ledger, BEN).problems == []
    assert guild.members[user].roles == set()


def test_staff_who_have_a_role_before_its_first_ticket_is_sold_keep_it(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    run(client, ledger, ANNA)
    guild.give_role("1001", keys.DISCORD_OTHER_ROLE_ID)
    record_holders(ledger, [ANNA, BEN])
    step = InviteStep(client, ledger, PSEUDONYMIZER, nullcontext)
    step.run(PARTITION, {key(ANNA): ROLE, key(BEN): keys.DISCORD_OTHER_ROLE_ID})
    guild.delete_by_hand(links(client, ledger, BEN)[BEN].rpartition("/")[2])
    later(clock)
    run(client, ledger, ANNA)
    later(clock)
    run(client, ledger, ANNA)
    assert guild.members["1001"].roles == {keys.DISCORD_OTHER_ROLE_ID}


def test_a_holder_who_leaves_the_guild_hides_nobody_who_has_to_lose_the_role(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    run(client, ledger, ANNA, BEN)
    users = {address: use(client, ledger, guild, address) for address in (ANNA, BEN)}
    later(clock)
    run(client, ledger, ANNA, BEN)
    guild.leave(users[BEN])
    later(clock)
    assert run(client, ledger, BEN).problems
    guild.take_role(users[ANNA])
    later(clock)
    assert run(client, ledger, BEN).problems == []


def test_a_role_that_goes_with_its_own_ticket_ends_no_alarm_about_somebody_else(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    run(client, ledger, ANNA, BEN, CARA, DORA)
    anna = use(client, ledger, guild, ANNA)
    later(clock)
    run(client, ledger, ANNA, BEN, CARA, DORA)
    ben, cara = (use(client, ledger, guild, address) for address in (BEN, CARA))
    later(clock)
    run(client, ledger, ANNA, BEN, CARA, DORA)
    guild.take_role(anna)  # by hand, before the poll reads the refund
    later(clock)
    assert run(client, ledger, CARA, DORA).problems
    assert open_invites(ledger, EDITION).keys() == {key(BEN), key(CARA), key(DORA)}
    guild.take_role(ben)
    later(clock)
    assert run(client, ledger, CARA, DORA).problems == []
    assert bearers(guild) == {cara}


@pytest.mark.parametrize("meanwhile", ["a wave", "a stale event"])
def test_an_answer_to_the_alarm_outlives_polls_in_which_nobody_may_leave(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock, meanwhile: str
) -> None:
    run(client, ledger, ANNA, BEN, DORA)
    known = use(client, ledger, guild, DORA)
    later(clock)
    run(client, ledger, ANNA, BEN, DORA)
    for address in (ANNA, BEN):
        use(client, ledger, guild, address)
    assert run(client, ledger, BEN, DORA).problems
    guild.take_role(known)  # as the page says where the refunded one has left the guild
    later(clock)
    record_stale_events(ledger, EDITION, ["2031-corporate-2"] if meanwhile == "a stale event" else [])
    record_holders(ledger, [BEN, CARA, DORA])
    step = InviteStep(client, ledger, PSEUDONYMIZER, nullcontext)
    step.run(PARTITION, {key(BEN): ROLE, key(CARA): ROLE, key(DORA): ROLE}, only_add=meanwhile == "a wave")
    assert key(ANNA) in open_invites(ledger, EDITION)
    record_stale_events(ledger, EDITION, [])
    later(clock)
    assert run(client, ledger, BEN, CARA, DORA).problems == []
    assert key(ANNA) not in open_invites(ledger, EDITION)


def restore_without_role(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock, trace: InviteTrace = "unseen"
) -> str:
    """Let Anna use her invite, and lose its role in the ledger. Ben stays without an invite."""
    run(client, ledger, ANNA)
    user = use(client, ledger, guild, ANNA)
    [invite] = open_invites(ledger, EDITION).values()
    empty_ledger(ledger)
    ledger.clock = clock
    record_holders(ledger, [ANNA])
    gone = replace(invite, role_id=UNKNOWN_ROLE, state="used", trace=trace, gone_at=clock(), code_digest=None)
    restore_invites(ledger, [gone], [])
    return user


def run_for(client: DiscordClient, ledger: Ledger, roles: dict[str, str], *holders: str) -> InviteOutcome:
    record_holders(ledger, holders)
    step = InviteStep(client, ledger, PSEUDONYMIZER, nullcontext, role_ids={ROLE})
    return step.run(PARTITION, {key(address): role for address, role in roles.items()})


@pytest.mark.parametrize("trace", ["unseen", "nobody"])
def test_after_a_refund_an_invite_without_a_known_role_is_a_question_until_a_role_is_taken(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock, trace: InviteTrace
) -> None:
    user = restore_without_role(client, ledger, guild, clock, trace)
    for _ in range(3):
        later(clock)
        assert run_for(client, ledger, {}).problems
    assert listed_roles(ledger) == {ROLE}
    guild.take_role(user)
    later(clock)
    assert count_invite_work(ledger, PARTITION.key, EDITION, look_every=LOOK_EVERY)
    assert run_for(client, ledger, {}).problems == []
    assert open_invites(ledger, EDITION) == {}


def test_an_invite_without_a_known_role_gets_it_with_the_next_look_after_the_rules_fit(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    user = restore_without_role(client, ledger, guild, clock)
    run_for(client, ledger, {}, ANNA)
    later(clock)
    assert count_invite_work(ledger, PARTITION.key, EDITION, look_every=LOOK_EVERY) == 1
    assert run_for(client, ledger, {ANNA: ROLE}, ANNA) == InviteOutcome()
    [invite] = open_invites(ledger, EDITION).values()
    assert (invite.role_id, invite.trace) == (ROLE, "unclear")
    later(clock)
    assert run_for(client, ledger, {}).problems
    guild.take_role(user)
    later(clock)
    assert run_for(client, ledger, {}).problems == []
    assert open_invites(ledger, EDITION) == {}


@pytest.mark.parametrize(("added_by_us", "deleted"), [(True, 0), (False, 1)], ids=["guest of ours", "of others"])
def test_an_invite_lives_until_its_holder_has_left_the_guest_list(
    client: DiscordClient, ledger: Ledger, guild: Guild, added_by_us: bool, deleted: int
) -> None:
    """Buying again before that brings no mail with another link. Guests of others may stay on the list for good."""
    run(client, ledger, ANNA, BEN)
    intend_grants(ledger, EDITION, PARTITION.key, {key(ANNA)}, added_by_us=added_by_us, state="granted")
    record_holders(ledger, [BEN])
    step = InviteStep(client, ledger, PSEUDONYMIZER, nullcontext, awaited=("granted",))
    assert step.run(PARTITION, {key(BEN): ROLE}).deleted == deleted
    set_grants(ledger, EDITION, {key(ANNA)}, "revoked")
    step.run(PARTITION, {key(BEN): ROLE})
    assert len(guild.invites) == 1


def test_a_removal_that_was_cut_off_is_not_awaited_once_the_guest_is_gone(
    client: DiscordClient, ledger: Ledger, guild: Guild
) -> None:
    """Gather's step looks for such a guest in twelve polls. Nobody keeps an invite that long."""
    run(client, ledger, ANNA, BEN)
    intend_grants(ledger, EDITION, PARTITION.key, {key(ANNA)}, added_by_us=True, state="revoking")
    record_holders(ledger, [BEN])
    step = InviteStep(client, ledger, PSEUDONYMIZER, nullcontext, awaited=("granted", "revoking"))
    assert step.run(PARTITION, {key(BEN): ROLE}).deleted == 0
    set_grants(ledger, EDITION, {key(ANNA)}, "revoking", attempts=1)
    assert step.run(PARTITION, {key(BEN): ROLE}).deleted == 1
    assert len(guild.invites) == 1


def test_a_guild_is_filled_in_waves_and_the_rest_wait(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycontw_assets.authorize.discord.invite_step.MOST_INVITES", 22)
    everybody = (ANNA, BEN, CARA, DORA)
    outcome = run(client, ledger, *everybody)
    assert (outcome.made, outcome.waiting) == (2, 2)
    assert "2 holders wait" in outcome.hints[0]
    assert set(links(client, ledger, *everybody)) == {ANNA, BEN}, "the first ones come first"
    assert count_without_link(ledger, PARTITION.key, EDITION) == 2
    assert count_invite_work(ledger, PARTITION.key, EDITION, look_every=LOOK_EVERY) == 0, "it is full for a while"
    came = next(iter(links(client, ledger, *everybody)))
    use(client, ledger, guild, came)
    later(clock)
    assert count_invite_work(ledger, PARTITION.key, EDITION, look_every=LOOK_EVERY) == 3
    assert run(client, ledger, *everybody).made == 1
    assert len(guild.invites) == 2


def test_an_invite_is_made_and_remembered_with_the_role_of_the_rules_at_that_time(
    client: DiscordClient, ledger: Ledger, guild: Guild
) -> None:
    intend_invites(ledger, EDITION, PARTITION.key, {key(ANNA): keys.DISCORD_OTHER_ROLE_ID})
    run(client, ledger, ANNA)
    assert [(i.state, i.role_id) for i in open_invites(ledger, EDITION).values()] == [("open", ROLE)]


def test_the_limit_of_discord_itself_ends_a_wave(client: DiscordClient, ledger: Ledger, guild: Guild) -> None:
    guild.switches.most_invites = 1
    outcome = run(client, ledger, ANNA, BEN)
    assert (outcome.made, outcome.waiting) == (1, 1)
    assert guild_state(ledger).full_until is not None


def test_a_lost_reply_costs_no_second_live_invite(server: SandboxServer, client: DiscordClient, ledger: Ledger) -> None:
    world = server.world
    world.faults.add("discord", "reset", method="POST", acts=True)
    with pytest.raises(Exception, match="create invite"):
        run(client, ledger, ANNA)
    assert len(world.discord.invites) == 1
    run(client, ledger, ANNA)
    assert [client.link(code) for code in world.discord.invites] == [links(client, ledger, ANNA)[ANNA]]


def test_invites_of_people_and_of_an_older_ledger_stay(
    client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    by_hand, forgotten = guild.invite_by_hand(), client.create_invite(ROLE)
    outcome = run(client, ledger, ANNA)
    assert "1 unused invites in Discord were made by this bot" in outcome.hints[0]
    assert {by_hand, forgotten} < guild.invites.keys()


def test_another_guild_is_refused_while_invites_are_open(
    server: SandboxServer, client: DiscordClient, ledger: Ledger, clock: FakeClock
) -> None:
    run(client, ledger, ANNA)
    with pytest.raises(LedgerError, match="DISCORD_GUILD_ID"):
        run(new_client(server, clock, "1"), ledger, ANNA, BEN)


def test_nobody_is_mailed_without_a_link_while_discord_is_a_venue(client: DiscordClient, ledger: Ledger) -> None:
    record_holders(ledger, [ANNA])
    intend_grants(ledger, EDITION, PARTITION.key, [key(ANNA)], added_by_us=True, state="granted")
    assert find_newcomers(ledger, PARTITION.key, EDITION)
    switch_discord(ledger, is_on=True)
    assert not find_newcomers(ledger, PARTITION.key, EDITION)
    run(client, ledger, ANNA)
    assert find_newcomers(ledger, PARTITION.key, EDITION)


# -- killed at every call -------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_every_moment_nobody_has_two_invites_or_keeps_the_role(
    server: SandboxServer, client: DiscordClient, ledger: Ledger, guild: Guild, clock: FakeClock
) -> None:
    """The killed run makes an invite, deletes another one, takes a role away and sees who used a fourth one."""
    moments, killed, is_over = 0, 0, False
    while not is_over:
        empty_ledger(ledger)
        ledger.clock = clock
        server.world.reset(clock)
        run(client, ledger, ANNA, BEN, CARA)
        anna = use(client, ledger, guild, ANNA)
        later(clock)
        run(client, ledger, ANNA, BEN, CARA)
        cara = use(client, ledger, guild, CARA)
        later(clock)
        fuse = Fuse(moments)
        try:
            run(Fused(client, fuse), fused_ledger(ledger, fuse), CARA, DORA)
            is_over = True
        except Killed:
            killed += 1
        for _ in range(3):
            run(client, ledger, CARA, DORA)
            later(clock)
        assert bearers(guild) == {cara}, moments
        assert [client.link(code) for code in guild.invites] == [links(client, ledger, DORA)[DORA]], moments
        assert run(client, ledger, DORA).roles_removed == 1, moments
        assert bearers(guild) == set(), moments
        assert guild.members.keys() == {anna, cara}
        moments += 1
    print(f"{killed} kills: 0 with two invites, 0 with somebody else's, 0 roles kept")
    assert killed >= 50
