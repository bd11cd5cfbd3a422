"""The oracle's rules about invites, judged by the history of the guild and by the links in the mails."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.discord.guild import Guild
from pycontw_assets.sandbox.klaviyo.account import Mail

_LINK = re.compile(r"https://discord\.gg/([A-Za-z0-9]+)")
_CHANNEL = f"https://discord.com/channels/{keys.DISCORD_GUILD_ID}/{keys.DISCORD_CHANNEL_ID}"


@dataclass(frozen=True)
class Broken:
    """A broken rule about one address; ``invariant`` is its number in the design."""

    invariant: int
    address: str = field(repr=False)
    text: str


def codes_in(mail: Mail) -> list[str]:
    """Return the codes of the invites that a mail links to."""
    return list(dict.fromkeys(_LINK.findall(mail.html)))


def broken_rules(
    guild: Guild,
    mails: Mapping[str, Sequence[Mail]],
    *,
    entitled: Collection[str],
    is_entitled: Callable[[str], bool],
    settled: bool,
) -> Iterator[Broken]:
    """Yield every broken rule. ``mails``: address -> its mails, oldest first; ``entitled``: who holds a ticket now."""
    owners: dict[str, set[str]] = defaultdict(set)
    for address, sent in mails.items():
        for mail in sent:
            for code in codes_in(mail):
                owners[code].add(address)
    yield from _given_to_several(owners)
    yield from _several_live(guild, owners)
    yield from _mailed_without_link(mails)
    if settled:
        yield from _live_without_ticket(guild, owners, is_entitled)
        yield from _owned_by_nobody(guild, owners, mails, entitled)
        yield from _without_way_in(guild, mails, entitled)
        yield from _roles(guild, owners, mails, is_entitled)


def _given_to_several(owners: Mapping[str, set[str]]) -> Iterator[Broken]:
    for addresses in owners.values():
        for address in sorted(addresses)[1:]:
            yield Broken(3, address, "was sent the invite of somebody else")


def _several_live(guild: Guild, owners: Mapping[str, set[str]]) -> Iterator[Broken]:
    live: dict[str, int] = defaultdict(int)
    for code, addresses in owners.items():
        for address in addresses if code in guild.invites else ():
            live[address] += 1
    for address, number in live.items():
        if number > 1:
            yield Broken(1, address, f"has {number} live invites")


def _mailed_without_link(mails: Mapping[str, Sequence[Mail]]) -> Iterator[Broken]:
    for address, sent in mails.items():
        for mail in sent:
            if not (codes_in(mail) or _CHANNEL in mail.html):
                yield Broken(5, address, f"was mailed at {mail.at.isoformat()} without a link to the guild")


def _live_without_ticket(
    guild: Guild, owners: Mapping[str, set[str]], is_entitled: Callable[[str], bool]
) -> Iterator[Broken]:
    for code in guild.invites:
        for address in owners.get(code, ()):
            if not is_entitled(address):
                yield Broken(3, address, "has a live invite without a usable ticket")


def _owned_by_nobody(
    guild: Guild, owners: Mapping[str, set[str]], mails: Mapping[str, Sequence[Mail]], entitled: Collection[str]
) -> Iterator[Broken]:
    """Find invites that were made and sent to nobody. Holders whom no mail reaches have one, too."""
    unsent = [i for i in guild.invites.values() if i.made_by == keys.DISCORD_BOT_ID and i.code not in owners]
    unmailed = sum(not mails.get(address) for address in entitled)
    if len(unsent) > unmailed:
        yield Broken(3, "", f"{len(unsent)} live invites were sent to nobody, for {unmailed} holders without a mail")


def _without_way_in(guild: Guild, mails: Mapping[str, Sequence[Mail]], entitled: Collection[str]) -> Iterator[Broken]:
    """Find holders whose mail leads nowhere. An invite that staff deleted counts as used; people look after those."""
    used = {use.code for use in guild.uses} | guild.deleted_by_hand
    for address in entitled:
        if not mails.get(address):
            continue  # another rule says who has to be mailed
        last = mails[address][-1]
        if not (_CHANNEL in last.html or any(code in guild.invites or code in used for code in codes_in(last))):
            yield Broken(2, address, "holds a usable ticket, and the last mail leads to no invite")


def _roles(
    guild: Guild,
    owners: Mapping[str, set[str]],
    mails: Mapping[str, Sequence[Mail]],
    is_entitled: Callable[[str], bool],
) -> Iterator[Broken]:
    """Find roles that were kept without a ticket, and roles that were lost with one.

    A holder who bought again has another invite, so an earlier one gives no claim to the role.
    """
    latest = {address: code for address, sent in mails.items() for mail in sent for code in codes_in(mail)}
    given: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for number, use in enumerate(guild.uses):
        if number >= guild.uses_before_leaving.get(use.user_id, 0):
            for role in use.roles:
                given[use.user_id, role] |= {(address, use.code) for address in owners.get(use.code, {""})}
    for (user_id, role), claims in given.items():
        member = guild.members.get(user_id)
        has_role = member is not None and role in member.roles
        entitled = {(address, code) for address, code in claims if is_entitled(address)}
        if has_role and not entitled and (user_id, role) not in guild.by_hand:
            yield Broken(3, min(claims)[0], "keeps the role without a usable ticket")
        lost = sorted(address for address, code in entitled if latest.get(address) == code)
        if member is not None and lost and not has_role and (user_id, role) not in guild.taken_by_hand:
            yield Broken(4, lost[0], "lost the role with a usable ticket")
