"""The first two polls of a running sale: every entitled person is let in and invited exactly once."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from pycontw_assets.orchestration.poll import PollReport
from pycontw_assets.sandbox.oracle import entitled, events_of, normalise
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import EDITION, Mark, Pipeline, TestClock


class FirstRun:
    """A realistic sale after its first poll. The tests only read it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.world = pipeline.world
        self.families = seed_demo(self.world, EDITION, attendees=9)
        self.before = pipeline.mark()
        self.report: PollReport = pipeline.poll()
        self.after = pipeline.mark()


@pytest.fixture(scope="module")
def first(server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    clock = TestClock()
    server.world.reset(clock)
    return FirstRun(Pipeline(server, clock, tmp_path_factory.mktemp("first") / "home"))


def test_every_entitled_address_is_let_in_and_nobody_else(first: FirstRun) -> None:
    added = first.pipeline.guests() - first.world.gather.hand_made.keys()
    assert added == entitled(first.world, EDITION)
    assert len(added) > 10


def test_every_entitled_address_gets_exactly_one_mail_after_its_grant(first: FirstRun) -> None:
    assert Counter(map(normalise, first.pipeline.mailed())) == Counter(entitled(first.world, EDITION))
    granted_at = {fact.address: fact.at for fact in first.world.gather.history if fact.listed}
    assert all(granted_at[normalise(mail.address)] < mail.at for mail in first.world.outbox)


def test_no_invariant_is_broken(first: FirstRun) -> None:
    assert first.pipeline.verdict() == []


def test_the_tables_hold_exactly_the_attendees_of_their_family(first: FirstRun) -> None:
    for family, rows in first.pipeline.tables().items():
        sold = {t.attendee_id: t for t in first.world.kktix.tickets.values() if t.event_id == first.families[family]}
        in_the_book = {attendee_id for attendee_id, ticket in sold.items() if ticket.books}
        assert sorted(row["attendee_id"] for row in rows) == sorted(in_the_book)
        assert {row["family"] for row in rows} == {family}
        for row in rows:
            ticket = sold[row["attendee_id"]]
            address = normalise(ticket.address)
            assert row["email_sha256"] == (hashlib.sha256(address.encode()).hexdigest() if address else None)
            assert (row["is_usable"], row["is_paid"], row["order_no"]) == (
                ticket.is_usable,
                ticket.is_paid,
                ticket.order_no,
            )


def test_the_ticket_holder_list_mirrors_the_holders_of_its_event(first: FirstRun) -> None:
    for event_id in first.families.values():
        usable = {
            normalise(t.address) for t in first.world.kktix.tickets.values() if t.event_id == event_id and t.is_usable
        }
        listed = {normalise(address or "") for address in first.pipeline.ticket_holders(event_id)}
        assert listed == usable & entitled(first.world, EDITION)


def test_last_years_and_unrelated_events_are_reported_and_left_alone(first: FirstRun) -> None:
    tick = first.report.tick
    assert {fact.partition.event_id for fact in tick.facts.values()} == events_of(first.world, EDITION)
    assert [event.event_id for event in tick.discovery.unmatched] == [90007]
    assert not first.world.calls.find("kktix", path="/(90007|80001)/")


def test_a_second_poll_changes_nothing_outside_and_mails_nobody(first: FirstRun) -> None:
    mark = first.pipeline.mark()
    report = first.pipeline.later_poll()
    assert report.ok
    assert first.pipeline.writes(mark) == []
    assert first.pipeline.mailed(mark) == []
    assert {run.job for run in report.runs} == {"grant_access_job"}, "unpaid tickets are looked at, tables are not"


@pytest.mark.long
@pytest.mark.parametrize("events", [1, 2])
def test_an_idle_poll_costs_one_request_and_two_per_event(pipeline: Pipeline, world: World, events: int) -> None:
    for family in ("Individual", "Corporate")[:events]:
        world.sell(world.add_event(f"PyCon TW 2031 Registration: {family}"), 3)
    pipeline.poll()
    mark: Mark = pipeline.mark()
    report = pipeline.later_poll()
    assert report.ok
    assert report.runs == ()
    assert pipeline.requests(mark) == pipeline.requests(mark, "kktix") == 1 + 2 * events
