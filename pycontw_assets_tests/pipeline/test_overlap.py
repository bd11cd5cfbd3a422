"""Two polls at once, in two processes on one home: nobody is mailed twice, nobody is lost, no table is torn."""

from __future__ import annotations

from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION


def test_two_polls_at_once_mail_nobody_twice_and_lose_nobody(install: Install, world: World, event: int) -> None:
    """Both find a new event, a newcomer, a transfer and a refund that was missed once."""
    world.klaviyo.switches.rate_limits = False
    world.klaviyo.switches.status_step = world.klaviyo.switches.estimation_delay = 0
    pipeline = install()
    refunded, moved = world.sell(event)[0], world.sell(event)[0]
    pipeline.poll()
    world.refund(refunded)
    pipeline.later_poll()
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    newcomer = world.kktix.people.next()
    for event_id in (event, other):
        world.sell(event_id, person=newcomer)
        world.sell(event_id)
    world.transfer(moved, "moved@example.org")
    pipeline.clock.advance(2 * 3600)
    children = [pipeline.start_child(), pipeline.start_child()]
    for child in children:
        child.go()
    assert {child.join() for child in children} <= {0, 1}
    assert pipeline.verdict(settled=False) == []
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    assert pipeline.guests() == entitled(world, EDITION)
    rows = {row["attendee_id"]: row["is_usable"] for table in pipeline.tables().values() for row in table}
    assert rows == {ticket.attendee_id: ticket.is_usable for ticket in world.kktix.tickets.values()}


def test_while_another_process_is_at_work_on_an_event_a_poll_steps_aside(
    install: Install, world: World, event: int
) -> None:
    """The other one is stopped in the middle of its sending; this one leaves its event to it, and says so."""
    world.klaviyo.switches.rate_limits = False
    pipeline = install(on_disk=True)
    world.sell(event)
    seen = []
    world.faults.add("klaviyo", "hook", path="send-jobs$", method="POST", action=lambda: seen.append(pipeline.poll()))
    assert pipeline.poll_in_child() == 0
    [report] = seen
    [decision] = report.tick.decisions.values()
    assert "1 run is still at work" in decision.reason
    assert "grant_access_job" not in {run.job for run in report.runs}
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == 1
    assert pipeline.verdict() == []
