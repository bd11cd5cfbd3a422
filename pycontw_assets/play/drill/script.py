"""Write the script of an opening day: data, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from pycontw_assets.play.drill.sale import (
    BackUp,
    BreakAlarmChannel,
    BuyAgain,
    Crash,
    Fail,
    MendAlarmChannel,
    Part,
    Pay,
    ReadAgain,
    Recover,
    Refund,
    RestoreBackup,
    Sell,
    Step,
    Transfer,
)
from pycontw_assets.records import Family

FEWEST_ORDERS, MOST_ORDERS = 12, 2000  # more newcomers in one poll would need an override (INVITE_LIMIT)
_MINUTE = 60.0
_LAST_ORDER = 60 * _MINUTE
# Longer than a poll's interval, so that each meets at least one poll; far enough apart to tell them from each other.
_OUTAGES: dict[Part, tuple[float, float]] = {
    "KKTIX": (6, 12),
    "Gather": (17, 23),
    "Klaviyo": (32, 38),
    "warehouse": (42, 48),
    "books": (52, 58),
}
_CRASH = 26
# One of two alarm channels is broken while an alarm is raised that lasts: a buyer who cannot be mailed.
_BROKEN_CHANNEL, _UNSUBSCRIBED, _CORRECTED = (13, 36), 14, 56
# Refunds and a transfer follow the backup. It is put back when all orders are in, and the second failure is an alarm.
_BACKUP, _RESTORED, _READ_AGAIN = 7, 61, 78
LASTING_ALARM = "cannot be mailed by Klaviyo"
_FIRST_IN_LINE = 3  # their tickets are refunded and bought again, refunded, transferred
_WAVE_SHARE, _WAVE_MINUTES = 0.6, 4
_AT_THE_MACHINE_SHARE, _NEVER_PAID_SHARE = 0.3, 0.1
_GROUP_SHARE = 0.1
_FAMILIES: tuple[Family, ...] = ("individual", "individual", "corporate", "individual", "reserved")


def write_script(orders: int, seed: int) -> list[Step]:
    """Return the steps of an opening: most orders at once, the rest over an hour, every failure once."""
    chance = random.Random(seed)  # noqa: S311  # invented buyers, no secret
    steps: list[Step] = [Crash(_CRASH * _MINUTE), *_first_in_line(), *_an_older_vault()]
    for part, (start, end) in _OUTAGES.items():
        steps += [Fail(start * _MINUTE, part), Recover(end * _MINUTE, part)]
    certain = _certain_moments()
    steps += [Sell(at, order, _FAMILIES[order % len(_FAMILIES)]) for order, at in enumerate(certain)]
    steps += _a_broken_alarm_channel(len(certain))
    for order in range(len(certain) + 1, orders):
        steps += _order(order, chance)
    return sorted(steps, key=lambda step: step.at)


def _certain_moments() -> list[float]:
    """Return the moments of the orders that every seed has: the first in line, and one during each failure."""
    first = [20.0 + 10 * number for number in range(_FIRST_IN_LINE)]
    failures = (*(start for start, _ in _OUTAGES.values()), _CRASH, _RESTORED)
    return [*first, *(start * _MINUTE + 30 for start in failures)]


def _first_in_line() -> Iterator[Step]:
    """Yield what happens to the first in line. The refunded buyer buys again after access was withdrawn."""
    yield Refund(11 * _MINUTE, 0)
    yield BuyAgain(46 * _MINUTE, 0)
    yield Refund(16 * _MINUTE, 1)
    yield Transfer(8 * _MINUTE, 2)


def _a_broken_alarm_channel(order: int) -> Iterator[Step]:
    """Yield the outage of one of two channels, and an alarm within it that outlasts it."""
    start, end = _BROKEN_CHANNEL
    yield BreakAlarmChannel(start * _MINUTE)
    yield Sell(_UNSUBSCRIBED * _MINUTE, order, "individual", unsubscribed=True)
    yield MendAlarmChannel(end * _MINUTE)
    yield Transfer(_CORRECTED * _MINUTE, order)


def _an_older_vault() -> Iterator[Step]:
    yield BackUp(_BACKUP * _MINUTE)
    yield RestoreBackup(_RESTORED * _MINUTE)
    yield ReadAgain(_READ_AGAIN * _MINUTE)


def _order(order: int, chance: random.Random) -> Iterator[Step]:
    is_early = chance.random() < _WAVE_SHARE
    at = chance.expovariate(1 / (_WAVE_MINUTES * _MINUTE)) if is_early else chance.uniform(0, _LAST_ORDER)
    at = min(at, _LAST_ORDER)
    seats = chance.choice((2, 3)) if chance.random() < _GROUP_SHARE else 1
    is_paid = chance.random() >= _AT_THE_MACHINE_SHARE
    yield Sell(at, order, chance.choice(_FAMILIES), seats, is_paid)
    if not is_paid and chance.random() >= _NEVER_PAID_SHARE:
        yield Pay(chance.uniform(at, _LAST_ORDER), order)
