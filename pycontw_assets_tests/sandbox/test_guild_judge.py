"""The oracle finds what is wrong with invites and roles, and leaves alone what people did by hand."""

from __future__ import annotations

from datetime import datetime, timezone

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.context import SimulationContext
from pycontw_assets.sandbox.discord.guild import Guild
from pycontw_assets.sandbox.discord.judge import broken_rules
from pycontw_assets.sandbox.klaviyo.account import Mail

ANNA, ROLE = "anna@example.org", keys.DISCORD_ROLE_ID
NOW = datetime(2031, 9, 1, tzinfo=timezone.utc)


def a_guild() -> Guild:
    return Guild(SimulationContext(lambda: NOW, 0))


def a_mail(guild: Guild) -> tuple[Mail, str]:
    """Return a mail with a fresh invite of the bot, and its code."""
    code = guild._new_invite(keys.DISCORD_BOT_ID, (ROLE,), max_uses=1, max_age=0).code
    return mail_with(f"https://discord.gg/{code}"), code


def mail_with(link: str) -> Mail:
    return Mail(
        at=NOW, address=ANNA, profile_id="P", campaign_id="C", campaign_name="N", subject="S", html=link, text="",
        from_email="desk@example.org",
    )  # fmt: skip


def broken(guild: Guild, *mails: Mail, holds_ticket: bool = True) -> list[str]:
    entitled = [ANNA] if holds_ticket else []
    rules = broken_rules(
        guild, {ANNA: mails}, entitled=entitled, is_entitled=lambda address: address in entitled, settled=True
    )
    return [rule.text for rule in rules]


def test_a_mail_without_a_link_is_found() -> None:
    assert "without a link to the guild" in broken(a_guild(), mail_with("no link"))[0]


def test_a_link_that_leads_nowhere_is_found_unless_staff_deleted_the_invite() -> None:
    guild = a_guild()
    mail, code = a_mail(guild)
    assert broken(guild, mail) == []
    del guild.invites[code]
    assert broken(guild, mail) == ["holds a usable ticket, and the last mail leads to no invite"]
    guild.invites[code] = guild.made[code]
    guild.delete_by_hand(code)
    assert broken(guild, mail) == []


def test_a_role_that_is_kept_without_a_ticket_or_lost_with_one_is_found() -> None:
    guild = a_guild()
    mail, code = a_mail(guild)
    user = guild.accept(code)
    assert user is not None
    assert broken(guild, mail) == []
    assert broken(guild, mail, holds_ticket=False) == ["keeps the role without a usable ticket"]
    guild.members[user].roles.clear()
    assert broken(guild, mail) == ["lost the role with a usable ticket"]


def test_whoever_bought_again_is_judged_by_the_latest_invite() -> None:
    guild = a_guild()
    first, code = a_mail(guild)
    user = guild.accept(code)
    assert user is not None
    guild.members[user].roles.clear()
    assert broken(guild, first, a_mail(guild)[0]) == []


def test_a_member_who_leaves_and_comes_back_has_no_role_by_the_old_invite() -> None:
    guild = a_guild()
    mail, code = a_mail(guild)
    user = guild.accept(code)
    assert user is not None
    guild.leave(user)
    guild.accept(guild.invite_by_hand(), user)
    assert broken(guild, mail) == []
