"""Letters in a poll: send those whose time has come, find out how others ended, say what a person must know.

A season without a letter costs one look into the ledger. A letter that was begun and is not ready needs its file, so a
person runs the command again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.letters.letters import Letter, find_letter, letters_of
from pycontw_assets.ledger.locks import Busy, LockName, lock
from pycontw_assets.pipeline.consistency.accounts import refuse_other_klaviyo_account
from pycontw_assets.pipeline.letters.announcing import letter_sending, send_now
from pycontw_assets.pipeline.letters.recipients import events_of_letter
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.letters.audience import ListsUnfit
from pycontw_assets.send_email.letters.letter_sending import LONGEST_WAY, LetterWaits, describe_letter_end
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore, VaultError

LATEST = timedelta(hours=12)
"""How late a letter may leave without a person: after an outage of a day, words about this morning are wrong."""

_LEFT_ALONE = timedelta(minutes=15)  # a command at work needs a few minutes
_REPORTED_FOR = timedelta(days=7)


def follow_letters(
    *, klaviyo: KlaviyoClient | None, vault: OrdersStore, ledger: Ledger, waits: WaitPolicy, settings: Settings
) -> Iterator[str]:
    """Do what is due, and yield the problems of letters. ``klaviyo`` is ``None`` where all mail is switched off."""
    if klaviyo is None:
        return
    for letter in letters_of(ledger):
        if is_due(letter, ledger.clock()) and not settings.pycontw_dry_run:
            try:
                letter = _advance(letter, klaviyo=klaviyo, vault=vault, ledger=ledger, waits=waits, settings=settings)
            except (ListsUnfit, LetterWaits, ServiceError, VaultError) as error:
                yield f"letter {letter.letter_key} was due and is not sent: {error}"
                continue
        if problem := describe_problem(letter, ledger.clock()):
            yield problem


def is_due(letter: Letter, now: datetime) -> bool:
    """Whether a poll goes on with the letter: it has left, or may have, or its time has come and is not long past."""
    if letter.state not in ("begun", "ready") or letter.send_intended_at is not None:
        return letter.state in ("begun", "ready", "accepted")
    return letter.state == "ready" and letter.send_at is not None and letter.send_at <= now <= letter.send_at + LATEST


def describe_problem(letter: Letter, now: datetime) -> str | None:
    """Return what a person must know of a letter; ``None``: nothing. Pure."""
    key, again = letter.letter_key, "run the same `announce` command again, or `pycontw-assets announce --cancel"
    if letter.state == "cancelled" and now - (letter.ended_at or letter.created_at) < _REPORTED_FOR:
        return f"letter {key} ended as {letter.remote_status}: {describe_letter_end(letter.remote_status)}"
    if letter.state == "accepted" and now - (letter.accepted_at or letter.created_at) > LONGEST_WAY:
        return f"letter {key} is {letter.remote_status} long after Klaviyo took it over; look at it there"
    if letter.state == "begun" and now - letter.created_at > _LEFT_ALONE:
        return f"letter {key} was begun and is not sent; {again} {key}`"
    if letter.state == "ready" and letter.send_at is not None and now > letter.send_at + LATEST:
        return f"letter {key} was due at {letter.send_at:%Y-%m-%d %H:%M} UTC, and no poll ran then; {again} {key}`"
    return None


def _advance(
    letter: Letter, *, klaviyo: KlaviyoClient, vault: OrdersStore, ledger: Ledger, waits: WaitPolicy, settings: Settings
) -> Letter:
    refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=settings)
    sending = letter_sending(klaviyo=klaviyo, ledger=ledger, waits=waits, settings=settings)
    # A command that holds the lock is at work on them now.
    with suppress(Busy), lock(ledger, LockName.LETTERS, letter.edition, wait_seconds=0):
        letter = find_letter(ledger, letter.edition, letter.letter_key) or letter  # a person may have been faster
        if letter.state in ("begun", "ready") and letter.send_intended_at is not None:
            letter = sending.resolve_doubt(letter)
        elif letter.state == "ready":
            letter = sending.accept_if_sent_elsewhere(letter)
        if letter.state == "ready" and is_due(letter, ledger.clock()):
            partitions = events_of_letter(ledger, letter.edition, letter.families.split())
            letter, _notes = send_now(letter, partitions, vault=vault, sending=sending)
        if letter.state == "accepted":
            letter = sending.follow(letter, 0)
    return letter
