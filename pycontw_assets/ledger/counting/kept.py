"""Answers to questions about very many rows, kept until a table that they look at changes.

A file of SQLite numbers the changes of these tables by itself, whoever writes to it (the triggers of ``schema_6``).
What was counted at a number holds while the number is the same. A server counts fast, on processors of its own, and
its writers would wait for each other at one number: it numbers nothing, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import counted_changes, kept_counts, upsert
from pycontw_assets.ledger.ledger import Ledger

_LONGEST = 10_000  # characters; a longer answer is about people who wait for something, so the rows change soon


@dataclass(frozen=True, slots=True)
class Counted:
    """An answer, and the number of changes at which it holds. ``changes``: ``None`` for one that is not to be kept."""

    question: str
    answer: str
    changes: int | None = None


def counted(ledger: Ledger, question: str, ask: Callable[[], str]) -> Counted:
    """Return the kept answer, or else ask. Nothing is written: ``keep_counts`` does that.

    ``question`` names all that the answer depends on, but for the tables whose changes are numbered.
    """
    of_question = kept_counts.c.question == question
    with ledger.engine.begin() as db:
        # Read before the rows are counted: a change in between makes the answer one of an earlier number.
        changes = db.scalar(sa.select(counted_changes.c.number))
        kept = None if changes is None else db.execute(sa.select(kept_counts).where(of_question)).one_or_none()
    if kept is not None and kept.changes == changes:
        return Counted(question, kept.answer)
    answer = ask()
    return Counted(question, answer, changes if len(answer) <= _LONGEST else None)


def keep_counts(ledger: Ledger, answers: Iterable[Counted]) -> None:
    """Keep answers that were counted just now. One whose rows have changed since never counts as right."""
    new = [answer for answer in answers if answer.changes is not None]
    if not new:
        return
    with ledger.engine.begin() as db:
        for one in new:
            upsert(db, kept_counts, {"question": one.question}, {"changes": one.changes, "answer": one.answer})


def kept_answer(ledger: Ledger, question: str, ask: Callable[[], str]) -> str:
    """Return the answer as ``counted`` does, and keep it at once."""
    answer = counted(ledger, question, ask)
    keep_counts(ledger, [answer])
    return answer.answer
