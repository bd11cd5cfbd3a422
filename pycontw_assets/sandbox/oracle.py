"""An independent judge: from what really happened in the world, which of the design's invariants were broken.

Works only on histories kept by the simulated services (tickets, guest list, outbox), never on what the pipeline says
about itself. The rules are written a second time here on purpose; do not share code with the pipeline.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pycontw_assets.sandbox.klaviyo.account import Mail
from pycontw_assets.sandbox.world import World

_DIGEST = re.compile(r"[0-9a-fA-F]{32,128}")
_PART = r"[^\s@<>,;:\"()\[\]\\.-][^\s@<>,;:\"()\[\]\\.]*"
_SHAPE = re.compile(rf"[^\s@<>,;:\"()\[\]\\]+@(?:{_PART}\.)+{_PART}")
_LONGEST = 254


@dataclass(frozen=True)
class Finding:
    """A broken invariant by its number in the design; the text masks addresses."""

    invariant: int
    text: str


@dataclass(frozen=True)
class _Period:
    """A half-open stretch of time, ``[start, end)``; ``end`` is ``None`` while it lasts."""

    start: datetime
    end: datetime | None
    by_hand: bool = False

    def holds(self, at: datetime) -> bool:
        """Both edges count: with a coarse clock a mail and a grant may bear the same time."""
        return self.start <= at and (self.end is None or at <= self.end)


def normalise(address: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", address).strip().lower()).strip()


def is_mailable(address: str) -> bool:
    return len(address) <= _LONGEST and _SHAPE.fullmatch(address) is not None


def mask(address: str) -> str:
    """Enough to find a person again in an invented world, too little to write to anybody."""
    local, at, domain = address.partition("@")
    return f"{local[:1]}***{at}{domain[:1]}***({len(address)})"


def events_of(world: World, edition: str) -> set[int]:
    """Events that truly belong to the edition and to one of the three families."""
    return {event.event_id for event in world.kktix.events.values() if event.edition == edition and event.family}


def entitled(world: World, edition: str) -> set[str]:
    """Normalised, mailable addresses that hold a usable ticket now (at its end for an ended event)."""
    with world.ground.lock:
        return {
            address
            for address, periods in _entitlements(world, events_of(world, edition)).items()
            if periods[-1].end is None
        }


def reachable(world: World, address: str) -> bool:
    """Whether mail can reach a normalised address: nobody refuses it, and its owner takes mail."""
    refused = {normalise(one) for one in world.klaviyo.switches.refused_addresses}
    profile = world.klaviyo.find_profile(address)
    return _may_enter(world, address) and address not in refused and (profile is None or profile.can_receive_mail)


def _may_enter(world: World, address: str) -> bool:
    return address not in {normalise(one) for one in world.gather.switches.poison}


def verdict(
    world: World,
    edition: str,
    *,
    events: Collection[int] | None = None,
    guest_list: bool = True,
    settled: bool = True,
) -> list[Finding]:
    """Everything that went wrong, worst first; empty when every invariant held.

    ``settled``: the pipeline had time to finish, so that nobody may be missing any more; without it only what
    must hold at every moment is judged. ``guest_list=False``: the pipeline runs with that step switched off.
    ``events``: judge these events instead of the edition's own.
    """
    with world.ground.lock:
        world.klaviyo.settle()
        chosen = events_of(world, edition) if events is None else set(events)
        return sorted(_Judge(world, chosen, guest_list).findings(settled), key=lambda finding: finding.invariant)


def _entitlements(world: World, events: Collection[int]) -> dict[str, list[_Period]]:
    """When each address held at least one usable ticket, by replaying the history of the tickets."""
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
    """One examination of one world."""

    def __init__(self, world: World, events: set[int], guest_list: bool) -> None:
        self._world = world
        self._guest_list = guest_list
        self._entitled = _entitlements(world, events)
        self._listed = self._listing_periods()
        self._mails: dict[str, list[Mail]] = defaultdict(list)
        for mail in world.klaviyo.outbox:
            if not mail.by_hand:
                self._mails[normalise(mail.address)].append(mail)

    def findings(self, settled: bool) -> list[Finding]:
        found = self._mailed_twice() + self._mailed_or_let_in_wrongly() + self._withdrawn_wrongly()
        found += self._hand_made_changed() + self._private_data_leaked()
        if self._guest_list:
            found += self._mailed_before_access()
        if settled:
            found += self._forgotten() + self._still_in()
        return found

    # -- what the histories say -----------------------------------------------------------------------

    def _listing_periods(self) -> dict[str, list[_Period]]:
        """When each normalised address was on the guest list, whatever its spelling."""
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

    def _spans(self, address: str) -> list[_Period]:
        """Stretches in which one invitation is due: being listed, where a loss of access while still entitled
        (somebody's overwrite) does not end the span. Without a guest list: being entitled."""
        if not self._guest_list:
            return self._entitled.get(address, [])
        spans: list[_Period] = []
        for period in self._listed.get(address, []):
            last = spans[-1] if spans else None
            if last is not None and last.end is not None and self._is_entitled(address, last.end):
                spans[-1] = _Period(last.start, period.end, last.by_hand)
            else:
                spans.append(period)
        return spans

    # -- the invariants -------------------------------------------------------------------------------

    def _mailed_twice(self) -> list[Finding]:
        """Mails beyond one per span; with equal times an earlier span takes the mail if it has none yet."""
        found = []
        for address, mails in self._mails.items():
            unused = list(self._spans(address))
            for mail in mails:
                home = next((span for span in unused if span.holds(mail.at)), None)
                if home is not None:
                    unused.remove(home)
                elif any(span.holds(mail.at) for span in self._spans(address)):
                    found.append(Finding(1, f"{mask(address)} was mailed again at {mail.at.isoformat()}"))
        return found

    def _forgotten(self) -> list[Finding]:
        found = []
        for address in filter(self._is_entitled, self._entitled):
            is_listed = self._listed.get(address, [_GONE])[-1].end is None
            if self._guest_list and not is_listed and _may_enter(self._world, address):
                found.append(Finding(2, f"{mask(address)} holds a usable ticket and is not on the guest list"))
            spans = self._spans(address)
            is_invited = bool(spans) and any(spans[-1].holds(mail.at) for mail in self._mails.get(address, []))
            if not is_invited and reachable(self._world, address):
                found.append(Finding(2, f"{mask(address)} holds a usable ticket and was not invited"))
        return found

    def _mailed_or_let_in_wrongly(self) -> list[Finding]:
        found = [
            Finding(3, f"{mask(address)} was mailed without ever having held a usable ticket")
            for address, mails in self._mails.items()
            if not self._was_ever_entitled(address, mails[0].at)
        ]
        for address, periods in self._listed.items():
            for period in periods:
                if not period.by_hand and not self._was_ever_entitled(address, period.start):
                    found.append(Finding(3, f"{mask(address)} was let in without ever having held a usable ticket"))
        return found

    def _still_in(self) -> list[Finding]:
        return [
            Finding(3, f"{mask(address)} is still on the guest list without a usable ticket")
            for address, periods in self._listed.items()
            if periods[-1].end is None and not periods[-1].by_hand and not self._is_entitled(address)
        ]

    def _withdrawn_wrongly(self) -> list[Finding]:
        by_hand_removals = {
            (normalise(f.address), f.at) for f in self._world.gather.history if f.by_hand and not f.listed
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
        """Guests and lists made by people. A guest whom the pipeline had added before is not theirs alone."""
        guests = self._world.gather.guests
        found = []
        for address, entry in self._world.gather.hand_made.items():
            first = next(fact for fact in self._world.gather.history if normalise(fact.address) == normalise(address))
            spelling = address.strip().lower() if self._world.gather.switches.fold_case else address
            if first.by_hand and guests.get(address, guests.get(spelling)) != entry:
                found.append(Finding(3, f"{mask(address)}, a guest added by hand, was changed or removed"))
        for list_id, members in self._world.klaviyo.hand_made_lists.items():
            known = self._world.klaviyo.lists.get(list_id)
            if known is None or known.current().keys() != members:
                found.append(Finding(3, "a mailing list made by hand was changed or removed"))
        return found

    def _mailed_before_access(self) -> list[Finding]:
        return [
            Finding(5, f"{mask(address)} was mailed at {mail.at.isoformat()} without access")
            for address, mails in self._mails.items()
            for mail in mails
            if not any(period.holds(mail.at) for period in self._listed.get(address, []))
        ]

    def _private_data_leaked(self) -> list[Finding]:
        """Digests sent out in place of addresses; names, phones and door codes given to other services."""
        found = []
        sent = [f.address for f in self._world.gather.history if f.listed and not f.by_hand]
        sent += [profile.email or "" for profile in self._world.klaviyo.profiles.values()]
        if digests := sum(_DIGEST.fullmatch(one.partition("@")[0]) is not None for one in sent):
            found.append(Finding(6, f"{digests} digests were sent out as addresses"))
        secrets = {
            secret
            for ticket in self._world.kktix.tickets.values()
            for secret in (ticket.qrcode, ticket.person.phone, ticket.person.name, ticket.person.nickname)
        }
        given: list[Any] = [(p.attributes, p.properties) for p in self._world.klaviyo.profiles.values()]
        given += [
            entry for address, entry in self._world.gather.guests.items() if address not in self._world.gather.hand_made
        ]
        if leaks := sum(bool(secrets & set(_texts(one))) for one in given):
            found.append(Finding(6, f"{leaks} records at other services hold names, phones or door codes"))
        return found


_GONE = _Period(datetime.min, datetime.min)  # noqa: DTZ901 - a placeholder, never compared


def _texts(value: Any) -> list[str]:
    """All texts inside a JSON-like value."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []
