"""A corrected address is in effect with the next poll, where it was unreachable or somebody asked for it."""

from __future__ import annotations

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.ledger.people import requested_refreshes
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough

ANNA, BEN = "anna@example.org", "ben@example.com"


def test_a_correction_is_seen_by_the_next_poll(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.suppress("bounced@example.org")
    [misspelt] = world.sell(event, address="jia.wu@example")
    [bounced] = world.sell(event, address="bounced@example.org")
    world.sell(event, address=ANNA)
    assert pipeline.poll().ok
    assert pipeline.mailed() == [ANNA]
    world.transfer(misspelt, "jia.wu@example.org")
    world.transfer(bounced, BEN)
    assert pipeline.later_poll().ok
    assert sorted(pipeline.mailed()) == [ANNA, BEN, "jia.wu@example.org"]
    mark = pipeline.mark()
    assert pipeline.later_poll().runs == ()
    assert not [call for call in world.calls.find("kktix", since=mark.calls) if "/attendees/" in call.path]


@pytest.mark.long
def test_a_request_makes_one_person_due_now(
    server: SandboxServer, pipeline: Pipeline, world: World, event: int, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name, value in {**server.environment, "PYCONTW_HOME": str(pipeline.home)}.items():
        monkeypatch.setenv(name, value)
    [ticket] = world.sell(event, address=ANNA)
    pipeline.poll()
    world.transfer(ticket, BEN)
    pipeline.later_poll()
    assert pipeline.guests() == {ANNA}, "a ticket in order is read again within a day"
    assert main(["refresh", "nobody@example.org"]) == 1
    assert main(["refresh", f"#{world.kktix.tickets[ticket].order_no}"]) == 0
    out = capsys.readouterr().out
    assert f"a…@example.org: the next poll reads attendees {ticket} of 2031-individual-{event} again" in out
    assert ANNA not in out
    pipeline.later_poll()
    assert pipeline.guests() == {BEN}
    assert requested_refreshes(pipeline.ledger, f"2031-individual-{event}") == frozenset()
