"""An invitation that was lost is sent once more, over real services, also under ``kill -9`` at every call."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions

from pycontw_assets.commands.cli import main
from pycontw_assets.ledger.resending.repeats import repeats_of
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.erase import Erasure
from pycontw_assets.pipeline.resending.resend import NotResent, Resending
from pycontw_assets.pipeline.resending.ways import chosen_way
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.by_event.rebuild_from_events import count_unknown_events
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, call
from pycontw_assets_tests.pipeline.kill_points import KillPoint

ANNA, BEN = "anna@example.org", "ben@example.com"


@pytest.fixture
def sold(pipeline: Pipeline, world: World, event: int) -> Pipeline:
    """Sell to two buyers, and invite them."""
    for address in (ANNA, BEN):
        world.sell(event, address=address)
    pipeline.until_quiet()
    assert sorted(pipeline.mailed()) == [ANNA, BEN]
    return pipeline


def resend(root: Composition, address: str) -> Any:
    way, send = call(root, chosen_way)
    return call(root, Resending, way=way, send=send).run(address)


def recorded(pipeline: Pipeline, address: str = ANNA) -> int:
    return len(repeats_of(pipeline.ledger, pipeline.root.pseudonymizer.address(address)))


@pytest.mark.long
def test_a_repeat_is_one_mail_that_the_buyer_asked_for(sold: Pipeline, world: World) -> None:
    mark = sold.mark()
    world.ask_again(ANNA)
    assert resend(sold.root, ANNA).is_handed_over
    sold.until_quiet()
    assert sold.mailed(mark) == [ANNA]
    assert sold.verdict() == []
    assert recorded(sold) == 1
    world.wanted_again.clear()
    assert [finding.invariant for finding in sold.verdict()] == [1], "without her question it was a mistake"


@pytest.mark.long
def test_a_repeat_by_event_is_one_more_event_that_the_ledger_knows(install: Install, world: World, event: int) -> None:
    flow = world.klaviyo.flows.prepare(INVITATION_METRIC)
    pipeline = install(invite_via="event")
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    flow.status = "draft"
    with pytest.raises(NotResent, match="no flow of the metric"):
        resend(pipeline.root, ANNA)
    assert recorded(pipeline) == 0
    flow.status = "live"
    mark = pipeline.mark()
    world.ask_again(ANNA)
    assert resend(pipeline.root, ANNA).is_handed_over
    pipeline.until_quiet()
    assert pipeline.mailed(mark) == [ANNA]
    assert pipeline.verdict() == []
    assert recorded(pipeline) == 1
    unknown = count_unknown_events(EventsClient(pipeline.root.klaviyo), pipeline.ledger, EDITION)
    assert unknown == 0, "otherwise the ledger would look like an older one"


@pytest.mark.slow
def test_the_command_shows_asks_and_never_names_anybody(
    server: SandboxServer, sold: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in {**server.environment, "PYCONTW_HOME": str(sold.home)}.items():
        monkeypatch.setenv(name, value)
    mark = sold.mark()
    assert main(["resend", ANNA]) == 2
    assert main(["resend", "nobody@example.org", "--yes"]) == 1
    assert sold.mailed(mark) == []
    assert main(["resend", ANNA, "--yes"]) == 0
    assert main(["resend", ANNA, "--yes"]) == 1
    printed = capsys.readouterr()
    assert "handed to Klaviyo" in printed.out
    assert "once an hour is the most" in printed.out
    assert ANNA not in printed.out + printed.err
    sold.clock.advance(60)
    assert sold.mailed(mark) == [ANNA]


def _resend_anna(_definitions: Definitions, root: Composition, _instance: DagsterInstance) -> bool:
    return bool(resend(root, ANNA).is_handed_over)


def _points(pipeline: Pipeline) -> list[KillPoint]:
    """Return every request before and after it acted, and every COMMIT of the ledger."""
    exit_code, points = pipeline.run_in_child(command=_resend_anna)
    assert exit_code == 0
    kinds = ("before a request", "request acted, reply unheard", "before a COMMIT", "after a COMMIT")
    return [KillPoint(kind, number) for kind in kinds for number in range(1, points.counts[kind] + 1)]


def _die_and_poll(point: KillPoint, pipeline: Pipeline) -> tuple[list[str], int, list[int]]:
    mark = pipeline.mark()
    pipeline.world.ask_again(ANNA)
    pipeline.run_in_child(point, _resend_anna)
    pipeline.clock.advance(300)  # the lock of the killed process
    pipeline.until_quiet()
    mailed, repeats = pipeline.mailed(mark), recorded(pipeline)
    assert len(mailed) <= repeats, point
    if len(mailed) < repeats:  # by event: the command is run again, as its text and the runbook say
        assert resend(pipeline.root, ANNA).is_handed_over
        pipeline.until_quiet()
    return pipeline.mailed(mark), recorded(pipeline), [finding.invariant for finding in pipeline.verdict()]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["campaign", "event"])
def test_killed_at_every_call_a_repeat_is_one_mail_at_most_and_recorded(
    install: Install, world: World, event: int, way: str
) -> None:
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    sold = install(invite_via=way)
    world.sell(event, address=ANNA)
    sold.until_quiet()
    outcomes = {}
    for point in sold.branch(_points).result():
        mailed, repeats, findings = sold.branch(partial(_die_and_poll, point)).result()
        assert mailed == [ANNA] * repeats, point
        assert repeats <= 1, point
        assert findings == [], point
        outcomes[point] = repeats
    print(f"{len(outcomes)} points, {sum(outcomes.values())} with a repeat, 0 with two mails, 0 unrecorded")
    assert set(outcomes.values()) == {0, 1}


@pytest.mark.long
def test_an_erased_profile_is_gone_from_klaviyo_and_from_every_list(install: Install, world: World, event: int) -> None:
    pipeline = install(klaviyo_delete_profiles=True)
    for address in (ANNA, BEN):
        world.sell(event, address=address)
    pipeline.until_quiet()
    assert pipeline.call(Erasure).run(ANNA).problems == []
    assert {profile.email for profile in world.klaviyo.profiles.values()} == {BEN}
    assert {owner for found in world.klaviyo.lists.values() for owner in found.current()} == set(world.klaviyo.profiles)
    pipeline.until_quiet()
    assert {profile.email for profile in world.klaviyo.profiles.values()} == {BEN}
