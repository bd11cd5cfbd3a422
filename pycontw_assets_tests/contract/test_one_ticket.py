"""The one-ticket test asks before each write, and leaves nothing behind that it does not name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontw_assets.api.stopping import Stopped
from pycontw_assets.commands.one_ticket import Gatekeeper, OneTicket, settings_of_one, unfit
from pycontw_assets.commands.plan import Plan
from pycontw_assets.pipeline.dry_run import EventPlan, PlannedBatch
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.settings import Settings

EVENT = 90099
SETTINGS = Settings.model_construct(gather_api_url="http://127.0.0.1", klaviyo_api_url="http://127.0.0.1")
ME = "b…@example.org"


def plan(*events: EventPlan) -> Plan:
    return Plan(edition="2099", events=events, left_alone=(), problems=(), new_template=None)


def one(**details: object) -> EventPlan:
    batch = PlannedBatch((ME,), None, True, {})
    return EventPlan("2099-individual-90099", **{"new_attendees": 1, "granted": (ME,), "batches": (batch,), **details})  # type: ignore[arg-type]


def test_a_plan_of_one_guest_and_one_invitation_is_fit() -> None:
    assert unfit(plan(one()), SETTINGS) is None


@pytest.mark.parametrize(
    "events",
    [(), (one(), one()), (one(granted=(ME, ME)),), (one(batches=()),), (one(new_attendees=2),), (one(granted=()),)],
)
def test_any_other_plan_is_refused(events: tuple[EventPlan, ...]) -> None:
    assert unfit(plan(*events), SETTINGS)


def test_what_is_switched_off_is_not_expected() -> None:
    off = Settings.model_construct(gather_api_url="off", klaviyo_api_url="off")
    assert unfit(plan(one(granted=(), batches=())), off) is None
    assert unfit(plan(one()), off)


def test_reads_pass_without_a_question_and_a_no_ends_all_writes() -> None:
    questions: list[str] = []
    keeper = Gatekeeper(lambda question: questions.append(question) is None and len(questions) < 2)
    keeper.before("GET", "read guest list")
    keeper.before("POST", "read report")
    assert questions == []
    keeper.before("POST", "add guests")
    for _ in range(2):
        with pytest.raises(Stopped):
            keeper.before("POST", "create list")
    assert questions == [f"The next write: {what}. Let it go out?" for what in ("add guests", "create list")]


# -- in whole --------------------------------------------------------------------------------------------


class Person:
    """Says yes to everything but ``refuses``, and cancels the order when asked to."""

    def __init__(self, world: World, refuses: str = "nothing") -> None:
        self.world = world
        self.refuses = refuses
        self.questions: list[str] = []
        self.lines: list[str] = []

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        if "cancel the order" in question:
            self.world.cancel(next(t.attendee_id for t in self.world.kktix.tickets.values() if t.event_id == EVENT))
        return self.refuses not in question


@pytest.fixture
def world() -> World:
    world = World()
    world.add_event("PyCon TW 2031 Registration: Individual", 90001)
    world.sell(90001)
    world.add_event("A hidden event", EVENT)
    world.sell(EVENT, price=0)
    world.add_guest("speaker-desk@example.org", {"name": "Speaker Desk"})
    world.klaviyo.switches.rate_limits = False
    return world


@pytest.fixture
def settings(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Settings]:
    with SandboxServer(world) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield settings_of_one(EVENT, tmp_path / "test-of-one")


def run(person: Person, settings: Settings) -> OneTicket:
    test = OneTicket(settings=settings, confirm=person.confirm, say=person.lines.append)
    test.run()
    return test


def ours_in(world: World) -> list[str]:
    """Return the names of what can be found in Klaviyo and deleted: no sent campaign, and no copy of a template."""
    account = world.klaviyo
    templates = [template for template in account.templates.values() if not template.is_copy]
    drafts = [campaign for campaign in account.campaigns.values() if not campaign.accepted_at]
    things = [*account.lists.values(), *templates, *drafts]
    return [thing.name for thing in things if thing.name.startswith("pycontw-2099-")]


@pytest.mark.slow
def test_one_ticket_is_sold_mailed_given_back_and_cleaned_up(world: World, settings: Settings) -> None:
    guests = dict(world.gather.guests)
    person = Person(world)
    test = run(person, settings)
    assert set(test.findings.values()) == {True}, person.lines
    assert len(world.outbox) == 1
    assert world.gather.guests == guests
    assert ours_in(world) == []
    assert not settings.home.exists()
    asked = sum(question.startswith(("The next write", "Delete")) for question in person.questions)
    assert asked == len([call for call in world.calls.find() if call.is_write])
    assert any("which was sent" in thing for thing in test.left)


@pytest.mark.slow
@pytest.mark.parametrize("refuses", ["Is that you", "add guests", "send campaign"])
def test_a_no_ends_the_test_before_that_write_and_takes_back_the_others(
    world: World, settings: Settings, refuses: str
) -> None:
    guests = dict(world.gather.guests)
    test = run(Person(world, refuses), settings)
    assert not test.findings["the test came to its end"]
    assert world.outbox == []
    assert world.gather.guests == guests
    assert ours_in(world) == []
