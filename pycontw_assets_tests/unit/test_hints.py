"""Hints in the ledger: one row per event however many come, three looks at most, and an alarm when they stop."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.extract.hook.delivery import name_digest
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.hints.deliveries import (
    ANY_EVENT,
    Hint,
    deliveries,
    let_in_since,
    record_delivery,
    waiting_hints,
)
from pycontw_assets.ledger.hints.looks import (
    end_looks,
    has_due_hints,
    hinted,
    learned_slugs,
    record_look,
    take_hints,
)
from pycontw_assets.ledger.hints.pool import PoolUse
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.pipeline.hints.pace import leaves_enough
from pycontw_assets.pipeline.hints.report import hook_finding, record_silence, silence
from pycontw_assets.pipeline.hints.resolve import needs_listing, resolve
from pycontw_assets.pipeline.hints.waking import Waker
from pycontw_assets.records import Event
from pycontw_assets.send_email.campaign_sending import POOL_SIZE
from pycontw_assets.settings import InvalidSettings, hook_secrets, load_settings
from pycontw_assets_tests.fakes.clock import START, FakeClock
from pycontw_assets_tests.unit.conftest import HoldTickets

KEY = "2031-individual-90001"
NAME = "PyCon TW 2031 Registration: Individual"
HINT = Hint("slug", name_digest(NAME))
SECRET = "a secret of the tests"


def test_a_flood_of_hints_is_one_row_per_event(ledger: Ledger) -> None:
    for _ in range(3):
        record_delivery(ledger, [HINT, HINT], ["hint"])
    assert waiting_hints(ledger) == [HINT]
    assert deliveries(ledger)["hint"].times == 3


def test_more_slugs_than_there_are_events_mean_every_event(ledger: Ledger) -> None:
    for number in range(60):
        record_delivery(ledger, [Hint(f"{number:03}")], ["hint"])
    subjects = {hint.subject for hint in waiting_hints(ledger)}
    assert len(subjects) == 51
    assert ANY_EVENT in subjects


def test_a_test_delivery_makes_nothing_due(ledger: Ledger) -> None:
    record_delivery(ledger, [], ["test"])
    assert not has_due_hints(ledger)


def test_an_event_is_looked_at_three_times_and_then_left_to_the_poll(ledger: Ledger, clock: FakeClock) -> None:
    record_delivery(ledger, [HINT], ["hint"])
    take_hints(ledger, [HINT], due=[KEY])
    looked = []
    while has_due_hints(ledger) or hinted(ledger):
        if has_due_hints(ledger):
            record_look(ledger, hinted(ledger)[0], "before")
            looked.append((clock() - START).total_seconds())
        clock.advance(seconds=5)
    assert looked == [0, 15, 60]


def test_a_hint_during_the_looks_begins_them_again(ledger: Ledger, clock: FakeClock) -> None:
    take_hints(ledger, [], due=[KEY])
    [event] = hinted(ledger)
    record_look(ledger, event, "before")
    [looked_at] = hinted(ledger)
    clock.advance(seconds=1)
    take_hints(ledger, [], due=[KEY])
    end_looks(ledger, looked_at)
    [event] = hinted(ledger)
    assert (event.looks, event.next_look_at) == (0, clock())


def test_a_slug_is_learned_once_and_for_good(ledger: Ledger) -> None:
    take_hints(ledger, [HINT], due=[KEY], learned={"slug": 90001})
    take_hints(ledger, [HINT], due=[KEY], learned={"slug": 90002})
    assert learned_slugs(ledger) == {"slug": 90001}


# -- which event ----------------------------------------------------------------------------------------


def test_a_name_of_one_event_is_learned() -> None:
    found = resolve([HINT], {}, [Event(90001, NAME), Event(90002, "PyCon TW 2031 Volunteer Party")])
    assert (found.event_ids, found.every_event, found.learned) == ({90001}, False, {"slug": 90001})


def test_a_name_of_two_events_makes_both_due_and_is_not_learned() -> None:
    found = resolve([HINT], {}, [Event(90001, NAME), Event(90002, NAME.upper())])
    assert (found.event_ids, found.every_event, found.learned) == ({90001, 90002}, False, {})


def test_a_name_of_no_event_makes_every_event_due() -> None:
    assert resolve([HINT], {}, [Event(90002, "another")]).every_event
    assert resolve([Hint(ANY_EVENT)], {}, []).every_event


def test_a_known_slug_is_found_without_kktix_whatever_the_name_is_now() -> None:
    renamed = Hint("slug", name_digest("a new name"))
    assert not needs_listing([renamed, Hint(ANY_EVENT)], {"slug": 90001})
    assert needs_listing([renamed], {})
    found = resolve([renamed], {"slug": 90001}, [])
    assert (found.event_ids, found.every_event) == ({90001}, False)


# -- polls for hints -----------------------------------------------------------------------------------


class Polls:
    """Counts polls by the second. ``finds``: the numbers of the polls that see something new."""

    def __init__(self, ledger: Ledger, clock: FakeClock, hold: HoldTickets, finds: set[int]) -> None:
        self.at: list[float] = []
        self.now, self._clock, self._hold, self._finds = 0.0, clock, hold, finds
        self.waker = Waker(ledger, self.poll, monotonic=lambda: self.now)

    def poll(self) -> None:
        self.at.append(self.now)
        if len(self.at) in self._finds:
            self._hold([f"buyer-{len(self.at)}@example.org"])

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.waker.step()
            self.now += 1


@pytest.mark.parametrize(("finds", "at"), [(set[int](), [0, 15, 60]), ({1}, [0]), ({2}, [0, 15])], ids=str)
def test_without_a_daemon_a_hint_starts_polls_until_one_sees_something(
    ledger: Ledger, clock: FakeClock, hold_tickets: HoldTickets, finds: set[int], at: list[int]
) -> None:
    polls = Polls(ledger, clock, hold_tickets, finds)
    record_delivery(ledger, [HINT], ["hint"])
    polls.run(300)
    assert polls.at == at


def test_hints_of_a_rush_make_a_poll_every_few_seconds_and_no_more(
    ledger: Ledger, clock: FakeClock, hold_tickets: HoldTickets
) -> None:
    polls = Polls(ledger, clock, hold_tickets, set())
    for _ in range(20):
        record_delivery(ledger, [HINT], ["hint"])
        polls.run(1)
    assert polls.at == [0, 5, 10, 15]


def test_a_ledger_that_is_away_does_not_end_the_waker(ledger: Ledger) -> None:
    class Away:
        def begin(self) -> None:
            raise LedgerError("away")

    ledger.engine.dispose()
    ledger.engine = Away()  # type: ignore[assignment]
    pauses: list[float] = []

    class StopAfterTwo(Stop):
        def sleep(self, seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) > 1:
                raise Stopped

    with pytest.raises(Stopped):
        Waker(ledger, lambda: None, monotonic=lambda: 0.0).run(StopAfterTwo())
    assert pauses == [30, 30]


@pytest.mark.parametrize(
    ("busy", "seconds", "enough"),
    [(0, None, True), (24, 1, True), (25, 99, False), (25, 100, True), (35, 100, True), (36, 3600, False)],
)
def test_hints_use_half_of_the_pool_freely_then_one_list_at_a_time_and_leave_those_of_polls(
    clock: FakeClock, busy: int, seconds: int | None, enough: bool
) -> None:
    last = None if seconds is None else clock() - timedelta(seconds=seconds)
    rest = timedelta(hours=1)
    assert POOL_SIZE == 48
    assert leaves_enough(PoolUse(busy, last), kept=12, rest=rest, now=clock()) is enough


def test_while_lists_are_scarce_no_poll_is_started_for_a_hint(
    ledger: Ledger, clock: FakeClock, hold_tickets: HoldTickets
) -> None:
    polls = Polls(ledger, clock, hold_tickets, {1})
    polls.waker = Waker(ledger, polls.poll, monotonic=lambda: polls.now, may_poll=lambda: polls.now >= 45)
    record_delivery(ledger, [HINT], ["hint"])
    polls.run(200)
    assert polls.at == [60]


# -- silence -------------------------------------------------------------------------------------------


def test_a_silent_hook_is_an_alarm_only_while_tickets_are_sold_and_only_if_it_was_heard(clock: FakeClock) -> None:
    heard, hour = clock(), timedelta(hours=1)
    late = heard + 4 * hour
    assert silence(heard, 3, heard + hour, late)
    assert silence(None, 3, heard + hour, late) == []
    assert silence(heard, 2, heard + hour, late) == [], "KKTIX may send nothing for an order by hand"
    assert silence(heard, 3, heard + 2 * hour, late) == []
    assert silence(heard, 0, None, late) == []


def test_the_alarm_of_a_silent_hook_comes_and_ends(ledger: Ledger, clock: FakeClock) -> None:
    settings = load_settings(kktix_hook_secret=SECRET)
    record_delivery(ledger, [HINT], ["hint"])
    clock.advance(minutes=30)
    let_in(ledger, 3)
    assert let_in_since(ledger, clock() - timedelta(minutes=1)) == (3, clock())
    for hours, problems in ((2, 0), (1, 1)):
        clock.advance(hours=hours)
        record_silence(ledger=ledger, settings=settings)
        assert len(open_problems(ledger)) == problems
    record_silence(ledger=ledger, settings=load_settings())
    assert open_problems(ledger) == [], "without a secret nobody expects deliveries"
    record_silence(ledger=ledger, settings=settings)
    record_delivery(ledger, [HINT], ["hint"])
    record_silence(ledger=ledger, settings=settings)
    assert open_problems(ledger) == []


def let_in(ledger: Ledger, buyers: int) -> None:
    from pycontw_assets.ledger.database.tables import grants

    with ledger.engine.begin() as db:
        for number in range(buyers):
            row = {"edition": "2031", "address_key": f"{number:064}", "period": 1, "partition_key": KEY}
            db.execute(grants.insert().values(**row, state="granted", added_by_us=True, intended_at=ledger.clock()))


def test_one_line_says_what_was_heard_of_the_webhook(ledger: Ledger) -> None:
    settings = load_settings(kktix_hook_secret=SECRET)
    assert hook_finding(ledger, load_settings()).level == "ok"
    assert hook_finding(ledger, settings).what == "no delivery arrived yet"
    record_delivery(ledger, [], ["test"])
    assert "test delivery arrived at 2031-06-01 02:00 UTC" in hook_finding(ledger, settings).what
    record_delivery(ledger, [Hint(ANY_EVENT)], ["unknown"])
    assert hook_finding(ledger, settings).level == "warn"


# -- the secret ----------------------------------------------------------------------------------------


def test_a_secret_may_be_changed_without_a_gap() -> None:
    settings = load_settings(kktix_hook_secret="the old one of sixteen, the new one of sixteen")
    assert hook_secrets(settings.kktix_hook_secret) == ["the old one of sixteen", "the new one of sixteen"]
    assert hook_secrets(None) == []


@pytest.mark.parametrize("value", ["short", "long enough for all, short", ",", "壹貳參肆伍陸柒捌玖拾壹貳參肆伍陸"])
def test_a_secret_that_can_be_guessed_or_not_be_sent_is_refused(value: str) -> None:
    with pytest.raises(InvalidSettings, match=r"KKTIX_HOOK_SECRET: .*at least 16") as caught:
        load_settings(kktix_hook_secret=value)
    assert value not in str(caught.value) or value == ","
