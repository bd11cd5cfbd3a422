"""Counts of a tick are kept until one of their rows changes, and they are always what counting anew says."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.alerts.unreachable import unserved_attendees
from pycontw_assets.ledger.batches import (
    Batch,
    accept_batch,
    claim_batch,
    close_batch,
    find_newcomers,
    release_invitations,
    update_invitations,
)
from pycontw_assets.ledger.counting.kept import keep_counts
from pycontw_assets.ledger.database.schema_6 import COUNTED_TABLES
from pycontw_assets.ledger.database.tables import kept_counts, metadata
from pycontw_assets.ledger.grants import intend_grants, postpone_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import confirm_members, forget_members, intend_members
from pycontw_assets.ledger.polls import record_stale_events
from pycontw_assets.pipeline.polling.open_work import OpenWork, open_work
from pycontw_assets.records import EventPartition
from pycontw_assets.settings import Settings
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.unit.conftest import (
    OTHER_PARTITION,
    PARTITION,
    PSEUDONYMIZER,
    empty_ledger,
    keys,
    memory_ledger,
    record_holders,
)

EDITION = PARTITION.edition
PEOPLE = [f"person{number}@example.org" for number in range(8)]
USUAL = Settings(_env_file=None)
WAYS = (
    USUAL,
    Settings(_env_file=None, gather_api_url="off"),
    Settings(_env_file=None, klaviyo_api_url="off"),
    Settings(_env_file=None, invite_via="event", invite_flow_is_transactional=True),
    Settings(_env_file=None, gather_space_id="another space"),
)
MINUTE = timedelta(minutes=1)


def keeping(ledger: Ledger, settings: Settings = USUAL, partition: EventPartition = PARTITION) -> OpenWork:
    """Ask as a tick does, which keeps what it counted."""
    work = open_work(partition, ledger=ledger, settings=settings)
    keep_counts(ledger, [work.counted])
    return work


def was_counted(work: OpenWork) -> bool:
    return work.counted.changes is not None


def anew(ledger: Ledger, settings: Settings, partition: EventPartition) -> OpenWork:
    """Ask where nothing is kept, and leave what was kept as it was."""
    with ledger.engine.begin() as db:
        kept = [dict(row) for row in db.execute(sa.select(kept_counts)).mappings()]
        db.execute(sa.delete(kept_counts))
    work = open_work(partition, ledger=ledger, settings=settings)
    with ledger.engine.begin() as db:
        db.execute(sa.insert(kept_counts), kept or [{"question": "none", "changes": -1, "answer": ""}])
    return work


class Deeds:
    """Random things that polls and people do to the rows which a tick counts."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        self.ledger, self.chance, self.batches, self.numbers = ledger, chance, [], count()  # type: ignore[var-annotated]

    def one(self) -> None:
        deeds = [name for name in dir(self) if name.startswith("do_")]
        getattr(self, self.chance.choice(deeds))()

    @property
    def people(self) -> list[str]:
        return self.chance.sample(PEOPLE, self.chance.randint(1, 5))

    @property
    def event(self) -> EventPartition:
        return self.chance.choice((PARTITION, OTHER_PARTITION))

    def do_hold(self) -> None:
        record_holders(self.ledger, self.people, self.event)

    def do_intend(self) -> None:
        us = self.chance.random() < 0.8
        intend_grants(self.ledger, EDITION, self.event.key, keys(*self.people), added_by_us=us)

    def do_move(self) -> None:
        state = self.chance.choice(("granted", "granted", "assumed", "revoking", "revoked"))
        set_grants(self.ledger, EDITION, keys(*self.people), state)

    def do_postpone(self) -> None:
        postpone_grants(self.ledger, EDITION, keys(*self.people), 2 * MINUTE, 60 * MINUTE)

    def do_wait(self) -> None:
        self.ledger.clock.advance(minutes=self.chance.choice((1, 3, 90)))  # type: ignore[attr-defined]

    def do_stale(self) -> None:
        record_stale_events(self.ledger, EDITION, self.chance.choice(([], [PARTITION.key])))

    def do_join(self) -> None:
        intend_members(self.ledger, self.event.key, dict.fromkeys(keys(*self.people), self.chance.choice((None, "P"))))

    def do_confirm(self) -> None:
        confirm_members(self.ledger, self.event.key, keys(*self.people))

    def do_leave(self) -> None:
        forget_members(self.ledger, self.event.key, keys(*self.people))

    def do_claim(self) -> None:
        event, key = self.event, f"batch {next(self.numbers)}"
        batch = Batch(key, EDITION, event.key, "poll", "open", "invitation", created_at=self.ledger.clock())
        claim_batch(self.ledger, batch, find_newcomers(self.ledger, event.key, EDITION))
        self.batches.append(key)

    def do_something_to_a_batch(self) -> None:
        if not self.batches:
            return
        key, people = self.chance.choice(self.batches), keys(*self.people)
        reason = self.chance.choice(("UNSUBSCRIBE", "HARD_BOUNCE"))
        self.chance.choice(
            (
                lambda: accept_batch(self.ledger, key),
                lambda: close_batch(self.ledger, key, "sent", "Sent"),
                lambda: close_batch(self.ledger, key, "cancelled", "Cancelled"),
                lambda: update_invitations(self.ledger, key, people, state="unreachable", reason=reason),
                lambda: update_invitations(self.ledger, key, people, state="marked"),
                lambda: release_invitations(self.ledger, key, people),
            )
        )()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_kept_counts_are_those_that_counting_says_whatever_was_done(ledger: Ledger, seed: int) -> None:
    chance = random.Random(seed)
    deeds, kept, seen = Deeds(ledger, chance), 0, set()
    for _ in range(120):
        if chance.random() < 0.8:
            deeds.one()
        settings, partition = chance.choice((USUAL, *WAYS)), deeds.event
        right = anew(ledger, settings, partition)
        work = keeping(ledger, settings, partition)
        assert replace(work, counted=right.counted) == right
        now = ledger.clock()
        assert work.entering_at(now) == right.entering_at(now)
        kept += not was_counted(work)
        seen.add(work.counted.answer)
    assert kept > 5, "hardly any answer was kept"
    assert len(seen) > 15, "hardly anything changed"


def test_an_answer_is_kept_until_a_row_changes(ledger: Ledger) -> None:
    record_holders(ledger, PEOPLE)
    assert was_counted(keeping(ledger))
    assert not was_counted(keeping(ledger))
    set_grants(ledger, EDITION, keys(PEOPLE[0]), "revoked")
    assert not was_counted(keeping(ledger)), "no row was changed by that"
    intend_grants(ledger, EDITION, PARTITION.key, keys(PEOPLE[0]), added_by_us=True, state="granted")
    work = keeping(ledger)
    assert was_counted(work)
    assert (work.entering, work.newcomers) == (len(PEOPLE) - 1, 1)


def test_a_row_that_changes_while_others_are_counted_makes_the_answer_one_of_the_past(ledger: Ledger) -> None:
    record_holders(ledger, PEOPLE[:1])
    work = open_work(PARTITION, ledger=ledger, settings=USUAL)
    record_holders(ledger, PEOPLE[:3])
    keep_counts(ledger, [work.counted])
    assert open_work(PARTITION, ledger=ledger, settings=USUAL).entering == 3


def test_a_pause_that_ends_counts_without_a_change_of_any_row(ledger: Ledger) -> None:
    record_holders(ledger, PEOPLE[:1])
    intend_grants(ledger, EDITION, PARTITION.key, keys(PEOPLE[0]), added_by_us=True)
    postpone_grants(ledger, EDITION, keys(PEOPLE[0]), 2 * MINUTE, 60 * MINUTE)
    assert keeping(ledger).entering_at(ledger.clock()) == 0
    later = ledger.clock() + 3 * MINUTE
    work = keeping(ledger)
    assert not was_counted(work)
    assert work.entering_at(later) == 1


def test_changes_by_hand_are_numbered_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=FakeClock())
    record_holders(ledger, PEOPLE)
    keeping(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as hand:
        hand.execute("DELETE FROM entitlements")
        hand.commit()
    assert keeping(ledger).entering == 0


def test_a_server_counts_by_itself(ledger_url: str) -> None:
    ledger = Ledger(ledger_url, clock=FakeClock())
    record_holders(ledger, PEOPLE)
    keeping(ledger)
    is_kept = bool(ledger.scalar(sa.select(sa.func.count()).select_from(kept_counts)))
    assert is_kept == ledger_url.startswith("sqlite")
    record_holders(ledger, PEOPLE[:2])
    assert keeping(ledger).entering == 2


def test_a_ledger_without_a_number_keeps_nothing(ledger: Ledger) -> None:
    empty_ledger(ledger)
    assert not was_counted(keeping(ledger))
    record_holders(ledger, PEOPLE)
    assert keeping(ledger).entering == len(PEOPLE)


def test_every_table_that_a_tick_counts_in_is_numbered(ledger: Ledger) -> None:
    asked: list[str] = []
    sa.event.listen(ledger.engine, "before_cursor_execute", lambda *details: asked.append(details[2]))
    for settings in WAYS:
        open_work(PARTITION, ledger=ledger, settings=settings)
    nobody: Any = None
    list(
        unserved_attendees(
            [(PARTITION, None)],
            ledger=ledger,
            vault=nobody,
            pseudonymizer=PSEUDONYMIZER,
            contact_address=nobody,
        )
    )
    statements = [text for text in asked if "counted_changes" not in text and "kept_counts" not in text]
    tables = {name for name in metadata.tables if any(re.search(rf"\b{name}\b", text) for text in statements)}
    # Which guest list it is, is part of the question.
    assert tables - {"guest_list_state"} == set(COUNTED_TABLES)


def test_a_new_file_has_a_trigger_for_every_way_to_change_a_counted_table() -> None:
    ledger = memory_ledger(FakeClock())
    assert set(triggers(ledger)) == {
        f"{deed}_{name}" for name in COUNTED_TABLES for deed in ("insert", "update", "delete")
    }


def triggers(ledger: Ledger) -> Iterator[str]:
    with ledger.engine.begin() as db:
        yield from db.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
