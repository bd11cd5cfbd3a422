"""Several spaces in whole polls: nobody moves when they are added, and every mail leads to the reader's space."""

from __future__ import annotations

import pytest

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, describe

pytestmark = pytest.mark.thorough  # says little about tables

NORTH, SOUTH = keys.GATHER_SPACE_ID, "SandboxSpace0002\\South Wing"
LINKS = {"invitation_venue_url": "https://venue.example/app/{space}"}
ANNA, BEN, CARA, DORA = (f"{name}@example.org" for name in ("anna", "ben", "cara", "dora"))


def links(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return, by address, the spaces that the mails lead to."""
    found: dict[str, list[str]] = {}
    parts = {"SandboxSpace0001/Py%20Venue": "north", "SandboxSpace0002/South%20Wing": "south"}
    for mail in pipeline.world.outbox:
        named = [name for part, name in parts.items() if f"https://venue.example/app/{part}" in mail.html]
        found.setdefault(mail.address, []).extend(named)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", ["campaign", pytest.param("event", marks=pytest.mark.slow)])
def test_a_second_space_takes_the_newcomers_and_moves_or_mails_nobody_else(
    install: Install, world: World, event: int, way: str
) -> None:
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = install(invite_via=way, **LINKS)
    [anna] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    world.gather.open_space(SOUTH)
    pipeline.restart(gather_space_id=f"{NORTH}:2,{SOUTH}:1")
    assert pipeline.until_quiet().ok
    world.sell(event, address=CARA)
    pipeline.until_quiet()
    world.sell(event, address=DORA)
    assert "1 holders wait for a place" in describe(pipeline.later_poll())
    assert DORA not in pipeline.mailed()
    world.refund(anna)
    pipeline.until_quiet()
    assert [set(world.gather.guests_of(space)) for space in (NORTH, SOUTH)] == [{BEN, DORA}, {CARA}]
    assert links(pipeline) == {ANNA: ["north"], BEN: ["north"], CARA: ["south"], DORA: ["north"]}
    assert pipeline.verdict() == []
    pipeline.restart(gather_space_id=SOUTH)
    with pytest.raises(LedgerError, match="GATHER_SPACE_ID does not name any more"):
        pipeline.later_poll()
