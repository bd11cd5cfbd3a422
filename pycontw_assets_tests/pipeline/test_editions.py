"""The live edition is a person's word: no name in KKTIX ends a sale at work or begins another one."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet

from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.pipeline.consistency.renaming import Renaming, partition_named
from pycontw_assets.sandbox.world import World
from pycontw_assets.settings import InvalidSettings
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, describe

pytestmark = pytest.mark.thorough

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"
LAST_YEAR, NEXT_YEAR = "PyCon TW 2030 Registration: Individual", "PyCon TW 2032 Registration: Individual"
PRODUCTION: dict[str, Any] = {
    "pycontw_env": "production",
    "vault_key": Fernet.generate_key().decode(),
    "klaviyo_from_email": "tickets@example.org",
    "klaviyo_from_label": "PyCon TW",
    "klaviyo_reply_to": "help@example.org",
    "invitation_venue_url": "https://venue.example",
    "invitation_video_url": "https://youtu.be/invented000",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [NEXT_YEAR, pytest.param("PyCon TW 2091 Registration: Individual", marks=pytest.mark.slow)],
    ids=["early", "misspelt"],
)
def test_an_event_of_a_later_year_stops_nobody_at_the_door(
    pipeline: Pipeline, world: World, event: int, name: str
) -> None:
    [refunded] = world.sell(event, address=ANNA)
    pipeline.until_quiet()
    early = world.add_event(name)
    world.sell(early, address=CARA)
    world.sell(event, address=BEN)
    world.refund(refunded)
    pipeline.until_quiet()
    assert pipeline.guests() == {BEN}
    assert pipeline.mailed() == [ANNA, BEN]
    assert set(known_events(pipeline.ledger)) == {event}
    assert any(f"event {early} is listed and left alone" in problem.text for problem in open_problems(pipeline.ledger))
    world.rename_event(early, "PyCon TW 2031 Registration: Corporate")
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA, BEN, CARA], "mended, it is one of the sale"


def test_a_new_production_installation_waits_for_a_person_to_name_the_edition(install: Install, world: World) -> None:
    pipeline = install(**PRODUCTION)
    world.sell(world.add_event(LAST_YEAR), address=ANNA)
    with pytest.raises(InvalidSettings, match=r"EDITION: is not set.*2030"):
        pipeline.poll()
    assert pipeline.guests() == set()
    assert pipeline.mailed() == []
    assert known_events(pipeline.ledger) == {}
    pipeline.restart(edition="2031")
    report = pipeline.later_poll()
    assert report.ok
    assert report.tick.warnings == ("no event of edition 2031 is listed, but of 2030; is EDITION right?",)
    assert pipeline.guests() == set()


@pytest.mark.slow
def test_an_installation_at_work_goes_on_without_the_variable(install: Install, world: World, event: int) -> None:
    """It began before the variable was required."""
    pipeline = install(**PRODUCTION, edition="2031")
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    world.add_event(NEXT_YEAR)
    pipeline.restart(edition=None)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA, BEN]


@pytest.mark.slow
def test_another_edition_begins_with_a_persons_word_and_stays(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    world.sell(world.add_event(NEXT_YEAR), address=BEN)
    pipeline.restart(edition="2032")
    pipeline.until_quiet()
    pipeline.restart(edition=None)
    world.sell(event, address=CARA)
    assert pipeline.later_poll().tick.discovery.edition == "2032"
    assert pipeline.mailed() == [ANNA, BEN]


@pytest.mark.long
@pytest.mark.parametrize("is_listed", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_mapping_that_the_ledger_contradicts_is_an_error_and_the_event_waits(
    pipeline: Pipeline, world: World, event: int, is_listed: bool
) -> None:
    corporate = world.add_event("PyCon TW 2031 Registration: Corporate")
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    if not is_listed:
        world.end_event(event)
    world.sell(event, address=BEN)
    world.sell(corporate, address=CARA)
    pipeline.restart(kktix_events={str(event): {"edition": "2031", "family": "reserved"}})
    report = pipeline.later_poll()
    assert not report.ok
    assert f"rename-event 2031-individual-{event} 2031-reserved-{event}" in describe(report)
    assert pipeline.guests() == {ANNA, CARA}, "the other events go on, and nobody is thrown out"


# -- an event under a wrong key ---------------------------------------------------------------------


def rename(pipeline: Pipeline, event: int, key: str) -> None:
    """Correct the key of an event, as the command does, and show no change outside by it."""
    mark = pipeline.mark()
    renaming = Renaming(**{name: getattr(pipeline.root, name) for name in Renaming.__dataclass_fields__})
    renaming.run(str(event), partition_named(key))
    assert pipeline.writes(mark) == []


def rows(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return the partition keys of all rows by table."""
    return {family: [row["partition_key"] for row in table] for family, table in pipeline.tables().items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "misspelt",
    ["PyCon TW 2031 Registration: Corporate", pytest.param(NEXT_YEAR, marks=pytest.mark.slow)],
    ids=["family", "year"],
)
def test_an_event_seen_once_under_a_wrong_name_gets_its_right_key_and_mails_nobody_again(
    pipeline: Pipeline, world: World, misspelt: str
) -> None:
    event = world.add_event(misspelt)
    [seat, *_] = world.sell(event, address=ANNA) + world.sell(event, address=BEN)
    pipeline.poll()
    assert sorted(pipeline.mailed()) == [ANNA, BEN]
    key = f"2031-individual-{event}"
    world.rename_event(event, "PyCon TW 2031 Registration: Individual")
    pipeline.restart(edition="2031", kktix_events={str(event): {"edition": "2031", "family": "individual"}})
    assert "rename-event" in describe(pipeline.later_poll())
    rename(pipeline, event, key)
    assert rows(pipeline) == {"corporate": [], "individual": [key, key], "reserved": []}
    world.refund(seat)
    world.sell(event, address=CARA)
    pipeline.until_quiet()
    assert set(pipeline.later_poll().tick.facts) == {key}
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CARA]
    assert pipeline.guests() == {BEN, CARA}
    assert pipeline.ticket_holders(event) == {BEN, CARA}
    assert rows(pipeline) == {"corporate": [], "individual": [key] * 3, "reserved": []}
