"""An independent judge: which invariants of the design were broken, judged from the real events of a world.

The oracle reads only the histories of the simulated services (tickets, guest list, outbox) and of the people (who asked
for a mail once more), never the pipeline's own records. It repeats the rules on purpose; do not share code with the
pipeline.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import idna

from pycontw_assets.sandbox.discord.judge import broken_rules
from pycontw_assets.sandbox.klaviyo.account import Mail
from pycontw_assets.sandbox.world import World

_DIGEST = re.compile(r"[0-9a-fA-F]{32,128}")
_PART = r"[^\s@<>,;:\"()\[\]\\.-][^\s@<>,;:\"()\[\]\\.]*"
_SHAPE = re.compile(rf"[^\s@<>,;:\"()\[\]\\]+@(?:{_PART}\.)+{_PART}")
_LONGEST = 254
# A transactional mail does not reach them either, says Klaviyo's help article on such mails.
_UNDELIVERABLE = {"HARD_BOUNCE", "INVALID_EMAIL", "SOFT_BOUNCE", "SPAM_COMPLAINT"}
_LETTER = re.compile(r"pycontw-[0-9]{4}-letter-")  # how campaigns of letters to everybody are called
_REFUND_SEEN_WITHIN = timedelta(minutes=10)  # two good polls
# Characters that show nothing and are no format characters: fillers, selectors of variants, an empty Braille cell.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(n) for n in range(0xFE00, 0xFE10)}


@dataclass(frozen=True)
class Finding:
    """A broken invariant, by its number in the design. The text masks addresses."""

    invariant: int
    text: str


@dataclass(frozen=True)
class _Period:
    """A half-open period, ``[start, end)``; ``end`` is ``None`` while it lasts."""

    start: datetime
    end: datetime | None
    by_hand: bool = False

    def holds(self, at: datetime) -> bool:
        """Count both edges: with a coarse clock a mail and a grant may have the same time."""
        return self.start <= at and (self.end is None or at <= self.end)


def normalise(address: str) -> str:
    """Return the one form of a mailbox: compatible, visible, trimmed, lower-case, its domain in ASCII."""
    visible = (c for c in unicodedata.normalize("NFKC", address) if unicodedata.category(c) != "Cf" and c not in _BLANK)
    text = unicodedata.normalize("NFKC", "".join(visible)).strip().lower().replace("\u3002", ".")
    local, at, domain = text.rpartition("@")
    domain = domain.rstrip(". ")
    with suppress(idna.IDNAError):
        domain = idna.encode(domain, uts46=True).decode()
    return local + at + domain


def is_mailable(address: str) -> bool:
    return len(address) <= _LONGEST and _SHAPE.fullmatch(address) is not None


def mask(address: str) -> str:
    """Return enough to find a person in an invented world, and too little to write to anybody."""
    local, at, domain = address.partition("@")
    return f"{local[:1]}***{at}{domain[:1]}***({len(address)})"


def is_letter(mail: Mail) -> bool:
    """Return whether a mail is a letter to everybody, and no invitation."""
    return _LETTER.match(mail.campaign_name) is not None


def events_of(world: World, edition: str) -> set[int]:
    """Return the events that truly belong to the edition and to one of the three families."""
    return {event.event_id for event in world.kktix.events.values() if event.edition == edition and event.family}


def entitled(world: World, edition: str) -> set[str]:
    """Return the normalised, mailable addresses that hold a usable ticket now, or held one when their event ended."""
    with world.context.lock:
        return {
            address
            for address, periods in _entitlements(world, events_of(world, edition)).items()
            if periods[-1].end is None
        }


def reachable(world: World, address: str, *, by_flow: bool = False) -> bool:
    """Return whether mail can reach a normalised address: no service refuses it, and its owner accepts mail.

    ``by_flow``: the mail is a flow's. Where that is transactional, it reaches people who left the newsletter, too.
    """
    refused = {normalise(refused) for refused in world.klaviyo.switches.refused_addresses}
    profiles = [p for p in world.klaviyo.profiles.values() if p.email and normalise(p.email) == address]
    is_transactional = by_flow and any(flow.transactional for flow in world.klaviyo.flows.by_id.values())
    if is_transactional:
        accepts_mail = not {reason for profile in profiles for reason, _ in profile.suppressions} & _UNDELIVERABLE
    else:
        accepts_mail = all(profile.can_receive_mail for profile in profiles)
    return _may_enter(world, address) and address not in refused and accepts_mail


def _may_enter(world: World, address: str) -> bool:
    return address not in {normalise(rejected) for rejected in world.gather.switches.rejected_addresses}


def verdict(
    world: World,
    edition: str,
    *,
    events: Collection[int] | None = None,
    guest_list: bool = True,
    settled: bool = True,
    by_flow: bool = False,
    discord: bool = False,
) -> list[Finding]:
    """Return every broken invariant, worst first; empty when all of them held.

    ``settled``: the pipeline had time to finish, so nobody may be missing any more. Without it, judge only the
    invariants that must hold at every moment.
    ``guest_list=False``: the pipeline runs without the guest-list step.
    ``by_flow``: the pipeline has its mails sent by a flow.
    ``discord``: the pipeline invites holders to the guild.
    ``events``: judge these events instead of the events of the edition.
    """
    with world.context.lock:
        world.klaviyo.settle()
        judged = events_of(world, edition) if events is None else set(events)
        judge = _Judge(world, judged, guest_list, by_flow)
        findings = judge.findings(settled) + (judge.about_invites(settled) if discord else [])
        return sorted(findings, key=lambda finding: finding.invariant)


def _entitlements(world: World, events: Collection[int]) -> dict[str, list[_Period]]:
    """Replay the history of the tickets: return when each address held at least one usable ticket."""
    holding: dict[int, str] = {}
    open_since: dict[str, datetime] = {}
    periods: dict[str, list[_Period]] = defaultdict(list)
    for fact in world.kktix.history:
        event = world.kktix.events[fact.event_id]
        is_over = event.ended_at is not None and fact.at > event.ended_at
        if fact.event_id not in events or is_over:
            continue
        before = holding.pop(fact.attendee_id, None)
        address = normalise(fact.address)
        if fact.is_usable and is_mailable(address):
            holding[fact.attendee_id] = address
            open_since.setdefault(address, fact.at)
        if before is not None and before not in holding.values():
            periods[before].append(_Period(open_since.pop(before), fact.at))
    for address, since in open_since.items():
        periods[address].append(_Period(since, None))
    return dict(periods)


class _Judge:
    """One verdict about one world."""

    def __init__(self, world: World, events: set[int], guest_list: bool, by_flow: bool = False) -> None:
        self._world = world
        self._by_flow = by_flow
        self._guest_list = guest_list
        self._entitled = _entitlements(world, events)
        self._listed = self._listing_periods()
        self._mails: dict[str, list[Mail]] = defaultdict(list)
        self._letters: list[Mail] = []
        for mail in world.klaviyo.outbox:
            if is_letter(mail):
                self._letters.append(mail)
            elif not mail.by_hand:
                self._mails[normalise(mail.address)].append(mail)
        self._wanted_again: dict[str, list[datetime]] = defaultdict(list)
        for wanted in world.wanted_again:
            self._wanted_again[normalise(wanted.address)].append(wanted.at)

    def findings(self, settled: bool) -> list[Finding]:
        findings = self._mailed_twice() + self._mailed_or_let_in_wrongly() + self._withdrawn_wrongly()
        findings += self._hand_made_changed() + self._private_data_leaked()
        findings += self._letters_twice() + self._letters_without_ticket()
        if self._guest_list:
            findings += self._mailed_before_access()
        if settled:
            findings += self._forgotten() + self._still_in()
        return findings

    def about_invites(self, settled: bool) -> list[Finding]:
        holders = [address for address in self._entitled if self._is_entitled(address)]
        broken = broken_rules(
            self._world.discord, self._mails, entitled=holders, is_entitled=self._is_entitled, settled=settled
        )
        return [Finding(rule.invariant, f"{mask(rule.address)} {rule.text}") for rule in broken]

    # -- the histories --------------------------------------------------------------------------------

    def _listing_periods(self) -> dict[str, list[_Period]]:
        """Return when each normalised address was on the guest list, in any spelling."""
        spellings: Counter[str] = Counter()
        opened: dict[str, tuple[datetime, bool]] = {}
        periods: dict[str, list[_Period]] = defaultdict(list)
        for fact in self._world.gather.history:
            address = normalise(fact.address)
            spellings[address] += 1 if fact.listed else -1
            if spellings[address] and address not in opened:
                opened[address] = (fact.at, fact.by_hand)
            elif not spellings[address]:
                since, by_hand = opened.pop(address)
                periods[address].append(_Period(since, fact.at, by_hand))
        for address, (since, by_hand) in opened.items():
            periods[address].append(_Period(since, None, by_hand))
        return dict(periods)

    def _is_entitled(self, address: str, at: datetime | None = None) -> bool:
        periods = self._entitled.get(address, [])
        if at is None:
            return bool(periods) and periods[-1].end is None
        return any(period.start <= at and (period.end is None or at < period.end) for period in periods)

    def _was_ever_entitled(self, address: str, at: datetime) -> bool:
        return any(period.start <= at for period in self._entitled.get(address, []))

    def _access_periods(self, address: str) -> list[_Period]:
        """Return the periods in which one invitation is due.

        A period lasts as long as the address is listed. A loss of access with a usable ticket, for example by a
        person's overwrite, does not end the period. Without a guest list, a period lasts as long as the entitlement.
        """
        if not self._guest_list:
            return self._entitled.get(address, [])
        periods: list[_Period] = []
        for listed in self._listed.get(address, []):
            last = periods[-1] if periods else None
            if last is not None and last.end is not None and self._is_entitled(address, last.end):
                periods[-1] = _Period(last.start, listed.end, last.by_hand)
            else:
                periods.append(listed)
        return periods

    # -- the invariants -------------------------------------------------------------------------------

    def _mailed_twice(self) -> list[Finding]:
        """Find the mails beyond one per access period; at equal times the earlier period without a mail takes it.

        Each time that somebody asked for the mail once more allows one mail after it.
        """
        findings = []
        for address, mails in self._mails.items():
            unmailed = list(self._access_periods(address))
            wanted = sorted(self._wanted_again.get(address, []))
            for mail in mails:
                period = next((period for period in unmailed if period.holds(mail.at)), None)
                if period is not None:
                    unmailed.remove(period)
                elif wanted and wanted[0] <= mail.at:
                    wanted.pop(0)
                elif any(period.holds(mail.at) for period in self._access_periods(address)):
                    findings.append(Finding(1, f"{mask(address)} was mailed again at {mail.at.isoformat()}"))
        return findings

    def _letters_twice(self) -> list[Finding]:
        """Find the people who got a letter again: from campaigns of one name, or in the same words."""
        by_name = Counter((normalise(mail.address), mail.campaign_name) for mail in self._letters)
        by_words = Counter((normalise(mail.address), f"{mail.subject}\n{mail.text}") for mail in self._letters)
        twice = {address for count in (by_name, by_words) for (address, _), times in count.items() if times > 1}
        return [Finding(1, f"{mask(address)} got the same letter twice") for address in sorted(twice)]

    def _letters_without_ticket(self) -> list[Finding]:
        return [
            Finding(3, f"{mask(mail.address)} got a letter at {mail.at.isoformat()} without a usable ticket")
            for mail in self._letters
            if not self._may_get_letter(normalise(mail.address), mail.at)
        ]

    def _may_get_letter(self, address: str, at: datetime) -> bool:
        """Whether the address held a usable ticket then, or lost it so shortly before that no poll could know."""
        return any(
            period.start <= at and (period.end is None or at <= period.end + _REFUND_SEEN_WITHIN)
            for period in self._entitled.get(address, [])
        )

    def _forgotten(self) -> list[Finding]:
        findings = []
        for address in filter(self._is_entitled, self._entitled):
            is_listed = self._listed.get(address, [_GONE])[-1].end is None
            if self._guest_list and not is_listed and _may_enter(self._world, address):
                findings.append(Finding(2, f"{mask(address)} holds a usable ticket and is not on the guest list"))
            periods = self._access_periods(address)
            is_invited = bool(periods) and any(periods[-1].holds(mail.at) for mail in self._mails.get(address, []))
            if not is_invited and reachable(self._world, address, by_flow=self._by_flow):
                findings.append(Finding(2, f"{mask(address)} holds a usable ticket and was not invited"))
        return findings

    def _mailed_or_let_in_wrongly(self) -> list[Finding]:
        findings = [
            Finding(3, f"{mask(address)} was mailed without ever having held a usable ticket")
            for address, mails in self._mails.items()
            if not self._was_ever_entitled(address, mails[0].at)
        ]
        for address, periods in self._listed.items():
            for period in periods:
                if not period.by_hand and not self._was_ever_entitled(address, period.start):
                    findings.append(Finding(3, f"{mask(address)} was let in without ever having held a usable ticket"))
        return findings + self._in_two_spaces()

    def _in_two_spaces(self) -> list[Finding]:
        """Find people who were let into a space while they were on the list of another one."""
        spaces: dict[str, set[str]] = defaultdict(set)
        findings = []
        for fact in self._world.gather.history:
            listed = spaces[normalise(fact.address)]
            if fact.listed and not fact.by_hand and listed - {fact.space}:
                findings.append(Finding(3, f"{mask(normalise(fact.address))} was let into a second space"))
            (listed.add if fact.listed else listed.discard)(fact.space)
        return findings

    def _still_in(self) -> list[Finding]:
        return [
            Finding(3, f"{mask(address)} is still on the guest list without a usable ticket")
            for address, periods in self._listed.items()
            if periods[-1].end is None and not periods[-1].by_hand and not self._is_entitled(address)
        ]

    def _withdrawn_wrongly(self) -> list[Finding]:
        by_hand_removals = {
            (normalise(fact.address), fact.at)
            for fact in self._world.gather.history
            if fact.by_hand and not fact.listed
        }
        return [
            Finding(4, f"{mask(address)} lost access at {period.end.isoformat()} with a usable ticket")
            for address, periods in self._listed.items()
            for period in periods
            if period.end is not None
            and (address, period.end) not in by_hand_removals
            and self._is_entitled(address, period.end)
        ]

    def _hand_made_changed(self) -> list[Finding]:
        """Find changes to guests and lists made by hand. A guest that the pipeline added first is not handmade."""
        guests = self._world.gather.guests
        findings = []
        for address, entry in self._world.gather.hand_made.items():
            first = next(fact for fact in self._world.gather.history if normalise(fact.address) == normalise(address))
            spelling = address.strip().lower() if self._world.gather.switches.fold_case else address
            if first.by_hand and guests.get(address, guests.get(spelling)) != entry:
                findings.append(Finding(3, f"{mask(address)}, a guest added by hand, was changed or removed"))
        for list_id, members in self._world.klaviyo.hand_made_lists.items():
            mail_list = self._world.klaviyo.lists.get(list_id)
            if mail_list is None or mail_list.current().keys() != members:
                findings.append(Finding(3, "a mailing list made by hand was changed or removed"))
        return findings

    def _mailed_before_access(self) -> list[Finding]:
        return [
            Finding(5, f"{mask(address)} was mailed at {mail.at.isoformat()} without access")
            for address, mails in self._mails.items()
            for mail in mails
            if not any(period.holds(mail.at) for period in self._listed.get(address, []))
        ]

    def _private_data_leaked(self) -> list[Finding]:
        """Find digests sent out as addresses, and names, phones or door codes given to other services."""
        findings = []
        addresses = [fact.address for fact in self._world.gather.history if fact.listed and not fact.by_hand]
        addresses += [profile.email or "" for profile in self._world.klaviyo.profiles.values()]
        if digests := sum(_DIGEST.fullmatch(address.partition("@")[0]) is not None for address in addresses):
            findings.append(Finding(6, f"{digests} digests were sent out as addresses"))
        secrets = {
            secret
            for ticket in self._world.kktix.tickets.values()
            for secret in (ticket.qrcode, ticket.person.phone, ticket.person.name, ticket.person.nickname)
        }
        records: list[Any] = [(p.attributes, p.properties) for p in self._world.klaviyo.profiles.values()]
        records += [
            entry for address, entry in self._world.gather.guests.items() if address not in self._world.gather.hand_made
        ]
        if leaks := sum(bool(secrets & set(_texts(record))) for record in records):
            findings.append(Finding(6, f"{leaks} records at other services hold names, phones or door codes"))
        return findings


_GONE = _Period(datetime.min, datetime.min)  # noqa: DTZ901 - a placeholder, never compared


def _texts(value: Any) -> list[str]:
    """Return all texts inside a JSON-like value."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []
