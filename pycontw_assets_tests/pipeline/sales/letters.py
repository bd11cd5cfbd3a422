"""Letters to everybody in a random sale: whoever announces them, and what alarms ask of that person."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from pycontw_assets.ledger.letters.letters import find_letter, letters_of
from pycontw_assets.ledger.locks import Busy
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.letters.announcing import Announcing, NotAnnounced
from pycontw_assets.records import FAMILIES, Family
from pycontw_assets.send_email.letters.letter import RenderedLetter, render_letter
from pycontw_assets.vault.vault import VaultError
from pycontw_assets_tests.pipeline.harness import EDITION, call

SUBJECTS = ("Check-in", "Lunch", "Rooms")
AUDIENCES: tuple[Sequence[Family], ...] = (FAMILIES, FAMILIES, FAMILIES, ("individual",), ("corporate", "reserved"))
NOT_NOW = (NotAnnounced, Busy, VaultError)  # an older vault ends the command, with the way out
REPORTED_FOR = timedelta(days=7)
_NAMED = re.compile(r"letter ([0-9a-f]{12}) ")


@cache
def letter(subject: str) -> RenderedLetter:
    page = (files("pycontw_assets.send_email.letters") / "letter.html").read_text(encoding="utf-8")
    links: dict[str, Any] = {"venue_url": "https://example.org/venue", "video_url": None}
    return render_letter(EDITION, subject=subject, source=page, file="FILE.html", **links)


_SUBJECT_OF = {letter(subject).key: subject for subject in SUBJECTS}


def announce(root: Composition, subject: str, families: Sequence[Family], after_minutes: int) -> str:
    """Announce a letter as the command does. Return its state. Raise one of ``NOT_NOW`` where it is refused."""
    send_at = root.ledger.clock() + timedelta(minutes=after_minutes) if after_minutes else None
    sent, _notes = call(root, Announcing).run(letter(subject), families, send_at)
    return sent.state


def withdraw(root: Composition, pick: int) -> bool:
    """Withdraw one of the letters that wait. ``False``: there is none."""
    waiting = [one.letter_key for one in letters_of(root.ledger) if one.state in ("begun", "ready")]
    if waiting:
        call(root, Announcing).withdraw(waiting[pick % len(waiting)])
    return bool(waiting)


def help_letters(root: Composition, text: str, tally: Counter[str]) -> datetime | None:
    """Do with every letter that alarms name what they ask: announce it again, or withdraw it.

    Return when the alarm of an ended one ends by itself; ``None``: nobody has to wait for that.
    """
    until: list[datetime] = []
    for key in dict.fromkeys(_NAMED.findall(text)):
        named = find_letter(root.ledger, EDITION, key)
        if named is None or named.state not in ("begun", "ready", "cancelled"):
            continue
        families = [family for family in FAMILIES if family in named.families.split()]
        tally["letters helped by people"] += 1
        try:
            state = announce(root, _SUBJECT_OF[key], families, 0)
        except NOT_NOW:
            state = named.state
            with suppress(*NOT_NOW):
                call(root, Announcing).withdraw(key)
        if state == "cancelled" and named.ended_at is not None:
            until.append(named.ended_at + REPORTED_FOR)
    return max(until, default=None)
