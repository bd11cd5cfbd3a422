"""A guild for dry runs shows the real one, and keeps every change to itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from pycontw_assets.api.client import NotFound
from pycontw_assets.authorize.discord.discord_client import MOST_INVITES, GuildFull, LiveInvite, Member
from pycontw_assets.pipeline.discord.dry_run import DryRunGuild

NOW = datetime(2031, 9, 1, tzinfo=timezone.utc)
ROLE = "11"


def invite(code: str) -> LiveInvite:
    return LiveInvite(
        code=code, made_by="1", channel_id="2", role_ids=(ROLE,), uses=0, max_uses=1, created_at=NOW
    )  # fmt: skip


class RealGuild:
    guild_id, channel_id = "3", "2"

    def __init__(self, invites: int = 1) -> None:
        self.reads = 0
        self._invites = [invite(f"code-{number}") for number in range(invites)]

    def bot_id(self) -> str:
        return "1"

    def invites(self) -> list[LiveInvite]:
        self.reads += 1
        return self._invites

    def members(self) -> Iterator[Member]:
        self.reads += 1
        yield Member("100", frozenset({ROLE}))

    def create_invite(self, _role_id: str) -> str:
        raise AssertionError("a dry run wrote")

    def delete_invite(self, _code: str) -> None:
        raise AssertionError("a dry run wrote")

    def remove_role(self, _user_id: str, _role_id: str) -> None:
        raise AssertionError("a dry run wrote")


def test_invites_are_read_once_and_changed_here_only() -> None:
    real = RealGuild()
    dry = DryRunGuild(real, lambda: NOW)
    made = dry.create_invite(ROLE)
    dry.delete_invite("code-0")
    assert [live.code for live in dry.invites()] == [made]
    assert (real.reads, len(real.invites())) == (1, 1)


def test_an_invite_that_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(NotFound):
        DryRunGuild(RealGuild(), lambda: NOW).delete_invite("another")


def test_a_role_is_taken_from_a_member_here_only() -> None:
    dry = DryRunGuild(RealGuild(), lambda: NOW)
    assert list(dry.members()) == [Member("100", frozenset({ROLE}))]
    dry.remove_role("100", ROLE)
    assert list(dry.members()) == [Member("100", frozenset())]
    with pytest.raises(NotFound):
        dry.remove_role("101", ROLE)


def test_a_full_guild_takes_no_invite() -> None:
    with pytest.raises(GuildFull):
        DryRunGuild(RealGuild(MOST_INVITES), lambda: NOW).create_invite(ROLE)
