"""A ticket has one name: ``poll``, ``status``, ``trace``, the asset and the sales report use the same word for it."""

from __future__ import annotations

import pytest

from pycontw_assets.alerts.sales_report import count
from pycontw_assets.commands.poll import describe_poll
from pycontw_assets.commands.status import describe_status, look_up
from pycontw_assets.commands.trace import trace
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.records import TICKET_STATES
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough  # says little about tables


def sell_one_of_each_state(pipeline: Pipeline, world: World, event: int) -> dict[str, int]:
    """Return the attendee of each state, as it is after two polls."""
    ids = {state: world.sell(event, paid=state != "unpaid")[0] for state in TICKET_STATES}
    world.kktix.override(ids["not activated"], state="registered")
    world.kktix.override(ids["unclear"], is_paid="perhaps")
    world.kktix.override(ids["cancelled"], state="cancelled")
    pipeline.poll()
    world.refund(ids["missing"])
    return ids


def test_every_view_calls_a_ticket_by_the_same_word(pipeline: Pipeline, world: World, event: int) -> None:
    ids = sell_one_of_each_state(pipeline, world, event)
    report = pipeline.later_poll()
    snapshot = pipeline.root.vault.read(f"2031-individual-{event}")
    assert snapshot
    assert {state: snapshot.records[number].ticket_state for state, number in ids.items()} == {s: s for s in ids}

    for state, number in ids.items():
        [passage] = pipeline.call(trace, str(number)).passages
        [ticket] = passage.tickets
        assert (ticket.condition, ticket.text.split(":")[0]) == (state, state)

    [line] = [line for line in describe_poll(report) if f"2031-individual-{event}:" in line]
    assert "usable 1, unpaid 1, not activated 1, missing 1, unclear 1, cancelled 1," in line

    status = pipeline.call(look_up, history=read_run_history(pipeline.instance, pipeline.ledger))
    [counted] = status.events
    assert [counted.counts[state] for state in TICKET_STATES] == [1] * len(TICKET_STATES)
    head = list(describe_status(status))[1]
    assert all(state in head for state in TICKET_STATES)

    [[_, sales]] = count(snapshot.records.values()).items()
    assert (sales.sold, sales.usable, sales.not_activated) == (3, 1, 1)
    assert (sales.unpaid, sales.unclear, sales.cancelled) == (1, 1, 1)


def test_a_ticket_that_is_not_activated_waits_for_kktix(pipeline: Pipeline, world: World, event: int) -> None:
    [number] = world.sell(event)
    world.kktix.override(number, state="registered")
    pipeline.poll()
    [passage] = pipeline.call(trace, str(number)).passages
    assert passage.next.startswith("every poll looks; once KKTIX says activated")
    world.kktix.tickets[number].overrides.clear()
    pipeline.later_poll()
    [passage] = pipeline.call(trace, str(number)).passages
    assert passage.next == "nothing: they may enter, and were invited"


def test_rare_states_get_a_column_only_where_there_are_some(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    pipeline.poll()
    head = list(describe_status(pipeline.call(look_up, history=read_run_history(pipeline.instance, pipeline.ledger))))[
        1
    ]
    assert "usable  unpaid  quarantined  let in" in head
