"""The Discord client against the simulated guild, over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from pycontw_assets.api.client import Blocked, Misconfigured, NotFound, Unavailable
from pycontw_assets.authorize.discord.discord_client import DiscordClient, GuildFull
from pycontw_assets.authorize.discord.rights import guild_problems
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.clients.conftest import FakeTime

ROLE = keys.DISCORD_ROLE_ID


class MovingClock:
    """The world's clock, moved by the client's sleeps."""

    def __init__(self, time: FakeTime) -> None:
        self._time = time

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(1_940_000_000 + self._time.now, timezone.utc)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World()) as running:
        yield running


@pytest.fixture
def world(sandbox: SandboxServer, fake_time: FakeTime) -> World:
    sandbox.world.reset(MovingClock(fake_time))
    return sandbox.world


def client_of(sandbox: SandboxServer, time: FakeTime, token: str = keys.DISCORD_TOKEN) -> DiscordClient:
    url, guild, channel = f"{sandbox.url}/discord", keys.DISCORD_GUILD_ID, keys.DISCORD_CHANNEL_ID
    return DiscordClient(url, token, guild, channel, sleep=time.sleep, clock=time.clock)


@pytest.fixture
def client(sandbox: SandboxServer, world: World, fake_time: FakeTime) -> DiscordClient:
    return client_of(sandbox, fake_time)


def test_an_invite_is_for_one_use_never_expires_grants_the_role_and_is_our_bots(
    world: World, client: DiscordClient
) -> None:
    codes = {client.create_invite(ROLE), client.create_invite(ROLE)}
    assert len(codes) == 2
    listed = client.invites()
    assert {invite.code for invite in listed} == codes
    for invite in listed:
        assert (invite.uses, invite.max_uses, invite.role_ids) == (0, 1, (ROLE,))
        assert (invite.made_by, invite.channel_id) == (client.bot_id(), keys.DISCORD_CHANNEL_ID)
    assert {invite.max_age for invite in world.discord.invites.values()} == {0}
    assert not any(code in repr(listed) for code in codes)


def test_a_used_invite_is_gone_and_its_member_has_the_role_until_it_is_taken(
    world: World, client: DiscordClient
) -> None:
    user = world.discord.accept(client.create_invite(ROLE))
    assert user is not None
    assert client.invites() == []
    assert [(member.user_id, member.role_ids) for member in client.members()] == [(user, {ROLE})]
    client.remove_role(user, ROLE)
    client.remove_role(user, ROLE)
    assert [member.role_ids for member in client.members()] == [frozenset()]
    world.discord.leave(user)
    with pytest.raises(NotFound):
        client.remove_role(user, ROLE)


def test_a_deleted_invite_is_gone_and_cannot_be_deleted_again(client: DiscordClient) -> None:
    code = client.create_invite(ROLE)
    client.delete_invite(code)
    with pytest.raises(NotFound) as error:
        client.delete_invite(code)
    assert code not in str(error.value)


def test_members_come_in_pages(world: World, client: DiscordClient) -> None:
    for _ in range(1001):
        world.discord.give_role(world.discord.new_user())
    assert len({member.user_id for member in client.members()}) == 1001


def test_a_role_that_the_guild_does_not_have_is_a_matter_of_the_settings(client: DiscordClient) -> None:
    with pytest.raises(Misconfigured, match="DISCORD_ROLES"):
        client.create_invite("404")


def test_a_full_guild_is_an_error_of_its_own(world: World, client: DiscordClient) -> None:
    world.discord.switches.most_invites = 1
    client.create_invite(ROLE)
    with pytest.raises(GuildFull):
        client.create_invite(ROLE)


def test_no_call_leaves_while_the_headers_say_that_the_window_is_used_up(
    world: World, client: DiscordClient, fake_time: FakeTime
) -> None:
    world.discord.switches.window = (2, 10)
    for _ in range(5):
        client.create_invite(ROLE)
    assert [call.status for call in world.calls.find("discord")] == [200] * 5
    assert sum(fake_time.slept) == pytest.approx(20, abs=1)


def test_a_429_is_waited_out_also_a_global_one_and_nothing_is_made_twice(
    world: World, client: DiscordClient, fake_time: FakeTime
) -> None:
    world.discord.switches.global_limit_hits = 2
    client.create_invite(ROLE)
    assert [call.status for call in world.calls.find("discord")] == [429, 429, 200]
    assert sum(fake_time.slept) >= 2
    assert len(world.discord.invites) == 1


def test_a_lost_reply_to_a_new_invite_is_not_repeated(world: World, client: DiscordClient) -> None:
    world.faults.add("discord", "reset", method="POST", acts=True)
    with pytest.raises(Unavailable) as error:
        client.create_invite(ROLE)
    assert error.value.outcome_unknown
    assert len(world.discord.invites) == 1


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("MANAGE_GUILD", lambda client: client.invites()),
        ("CREATE_INSTANT_INVITE", lambda client: client.create_invite(ROLE)),
        ("MANAGE_ROLES", lambda client: client.create_invite(ROLE)),
    ],
)
def test_a_missing_right_stops_at_once(world: World, client: DiscordClient, missing: str, call) -> None:
    world.discord.switches.permissions.discard(missing)
    with pytest.raises(Misconfigured):
        call(client)


def test_the_intent_to_list_members_is_a_right_of_its_own(world: World, client: DiscordClient) -> None:
    world.discord.switches.lists_members = False
    with pytest.raises(Misconfigured):
        list(client.members())


def test_a_wrong_token_or_guild_is_a_matter_of_the_settings(sandbox: SandboxServer, fake_time: FakeTime) -> None:
    with pytest.raises(Misconfigured) as error:
        client_of(sandbox, fake_time, "another-token").bot_id()
    assert "another-token" not in str(error.value)
    other = DiscordClient(f"{sandbox.url}/discord", keys.DISCORD_TOKEN, "1", "2", sleep=fake_time.sleep)
    with pytest.raises(Misconfigured, match="DISCORD_GUILD_ID"):
        other.invites()


def test_a_page_of_the_network_in_front_is_no_wrong_token(world: World, client: DiscordClient) -> None:
    client.api._session.headers["User-Agent"] = "python-requests"
    with pytest.raises(Blocked):
        client.bot_id()


def test_the_doctor_names_every_right_that_the_bot_lacks(world: World, client: DiscordClient) -> None:
    assert list(guild_problems(client, {ROLE})) == []
    switches = world.discord.switches
    switches.permissions.clear()
    switches.lists_members, switches.highest_role = False, 5
    problems = " ".join(what for what, _ in guild_problems(client, {ROLE, "404"}))
    for right in ("CREATE_INSTANT_INVITE", "MANAGE_GUILD", "MANAGE_ROLES", "list the members"):
        assert right in problems
    assert f"cannot give the role {ROLE}" in problems
    assert "role 404, which the guild has not" in problems
