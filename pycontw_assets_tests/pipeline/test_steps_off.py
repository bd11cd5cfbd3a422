"""Steps that are switched off, in whole polls: what is left works, and nothing is asked of a service that is off."""

from __future__ import annotations

import itertools

import pytest

from pycontw_assets.pipeline.rebuild import mark_all_holders
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, describe

pytestmark = pytest.mark.thorough  # says little about tables

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"
SWITCHES = {"gather": "gather_api_url", "klaviyo": "klaviyo_api_url", "video": "invitation_video_url"}
EVERY = [frozenset(chosen) for size in range(1, 4) for chosen in itertools.combinations(SWITCHES, size)]
USUAL = [frozenset({"klaviyo"}), frozenset({"gather", "klaviyo"}), frozenset({"gather", "video"})]


def story(pipeline: Pipeline, world: World, event: int) -> None:
    """Sell, refund and sell again, until nothing is due."""
    world.add_guest(CARA)
    world.sell(event, address=ANNA)
    [refunded] = world.sell(event, address=BEN)
    pipeline.poll()
    world.refund(refunded)
    pipeline.until_quiet()
    world.sell(event, address=CARA)
    assert pipeline.until_quiet().ok


@pytest.mark.parametrize(
    "off",
    [*USUAL, *(pytest.param(off, marks=pytest.mark.slow) for off in EVERY if off not in USUAL)],
    ids=lambda off: "-".join(sorted(off)),
)
def test_with_any_steps_off_the_others_are_right_and_no_service_that_is_off_is_asked(
    install: Install, world: World, event: int, off: frozenset[str]
) -> None:
    pipeline = install(**{SWITCHES[name]: "off" for name in off})
    story(pipeline, world, event)
    has_mail, has_list = "klaviyo" not in off, "gather" not in off
    assert pipeline.guests() == ({ANNA, CARA} if has_list else {CARA})
    assert sorted(set(pipeline.mailed())) == ([ANNA, BEN, CARA] if has_mail else [])
    assert len(pipeline.mailed()) == len(set(pipeline.mailed()))
    assert pipeline.ticket_holders(event) == ({ANNA, CARA} if has_mail else set())
    assert [row["is_cancelled"] for row in pipeline.tables()["individual"]].count(False) == 2
    assert [world.calls.count(service) for service in ("gather", "klaviyo") if service in off] == [0] * len(
        off & {"gather", "klaviyo"}
    )
    made = {record.asset_entry.asset_key.to_user_string() for record in pipeline.instance.get_asset_records()}
    assert ("klaviyo_campaign" in made, "gather_guestlist" in made) == (has_mail, has_list)


@pytest.mark.long
@pytest.mark.parametrize("decision", ["everybody", "from now on"])
def test_switched_on_again_mail_waits_until_a_person_says_whom_to_invite(
    install: Install, world: World, server: SandboxServer, event: int, decision: str
) -> None:
    pipeline = install(klaviyo_api_url="off")
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    pipeline.restart(klaviyo_api_url=server.environment["KLAVIYO_API_URL"])
    world.sell(event, address=BEN)
    assert "mail was switched off" in describe(pipeline.later_poll())
    assert pipeline.mailed() == []
    if decision == "everybody":
        pipeline.poll("invite")
    else:
        assert mark_all_holders(EDITION, ledger=pipeline.ledger) == (2, 0)
    world.sell(event, address=CARA)
    pipeline.until_quiet()
    assert sorted(pipeline.mailed()) == ([ANNA, BEN, CARA] if decision == "everybody" else [CARA])
