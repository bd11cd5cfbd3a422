"""Letters to everybody: recorded before their first call, and sent once.

The key of a letter is a digest of its subject and words. So nobody gets the same letter twice by the program, whatever
families it was for, and whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import LetterState, insert_missing, letters, upsert
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One letter and its campaign. ``families`` has blanks between. ``people``: addresses on its lists, if known."""

    edition: str
    letter_key: str
    families: str
    state: LetterState
    campaign_name: str
    created_at: datetime
    send_at: datetime | None = None
    campaign_intended_at: datetime | None = None
    campaign_id: str | None = None
    message_id: str | None = None
    template_id: str | None = None
    send_intended_at: datetime | None = None
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    remote_status: str | None = None
    people: int | None = None


def find_letter(ledger: Ledger, edition: str, letter_key: str) -> Letter | None:
    with ledger.engine.begin() as db:
        row = db.execute(sa.select(letters).where(*_is(edition, letter_key))).one_or_none()
    return None if row is None else Letter(**row._mapping)


def letters_of(ledger: Ledger, edition: str | None = None) -> list[Letter]:
    """Return the letters of an edition, or of all, the oldest first."""
    query = sa.select(letters).order_by(letters.c.created_at, letters.c.letter_key)
    if edition is not None:
        query = query.where(letters.c.edition == edition)
    with ledger.engine.begin() as db:
        return [Letter(**row._mapping) for row in db.execute(query)]


def record_letter(ledger: Ledger, letter: Letter) -> Letter:
    """Record a letter before its first call, unless it is there. Return the recorded one."""
    with ledger.engine.begin() as db:
        insert_missing(db, letters, [_values(letter)])
        row = db.execute(sa.select(letters).where(*_is(letter.edition, letter.letter_key))).one()
    return Letter(**row._mapping)


def restore_letters(ledger: Ledger, found: Iterable[Letter]) -> None:
    """Write letters as the mail service has them, over what an older ledger may know of them."""
    with ledger.engine.begin() as db:
        for letter in found:
            values = _values(letter)
            key = {name: values.pop(name) for name in ("edition", "letter_key")}
            upsert(db, letters, key, values)


def update_letter(ledger: Ledger, letter: Letter, **values: Any) -> Letter:
    with ledger.engine.begin() as db:
        db.execute(sa.update(letters).where(*_is(letter.edition, letter.letter_key)).values(**values))
        row = db.execute(sa.select(letters).where(*_is(letter.edition, letter.letter_key))).one()
    return Letter(**row._mapping)


def intend_sending(ledger: Ledger, letter: Letter) -> bool:
    """Write "about to send", unless somebody did; ``False``: another process sends, or has withdrawn, this letter."""
    unsent = (letters.c.state.in_(("begun", "ready")), letters.c.send_intended_at.is_(None))
    change = sa.update(letters).where(*_is(letter.edition, letter.letter_key), *unsent)
    with ledger.engine.begin() as db:
        return db.execute(change.values(send_intended_at=ledger.clock())).rowcount == 1


def _is(edition: str, letter_key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (letters.c.edition == edition, letters.c.letter_key == letter_key)


def _values(letter: Letter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in Letter.__dataclass_fields__}
