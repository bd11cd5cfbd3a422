"""``trace`` shows the help desk the state of one buyer and the next step, without a name."""

from __future__ import annotations

import io
import re
import sys

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.trace import Passage, Trace, describe_trace, trace
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough  # says little about tables

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"


def trace_of(pipeline: Pipeline, buyer: str) -> Trace:
    return pipeline.call(trace, buyer)


def passage(pipeline: Pipeline, buyer: str) -> Passage:
    [found] = trace_of(pipeline, buyer).passages
    return found


def conditions(pipeline: Pipeline, who: str) -> list[str]:
    return [ticket.condition for ticket in passage(pipeline, who).tickets]


def test_the_answers_after_a_first_poll(pipeline: Pipeline, world: World, event: int) -> None:
    """One poll, with buyers in every state: invited, unpaid, unreachable in three ways, let in by hand, unreadable."""
    world.klaviyo.suppress("suppressed@example.org")
    world.klaviyo.unsubscribe("unsubscribed@example.org")
    world.add_guest("speaker@example.org", {"affiliation": "Speaker"})
    [paid] = world.sell(event, address="Anna@Example.org ")
    world.sell(event, address=BEN, paid=False)
    for address in ("suppressed@example.org", "unsubscribed@example.org", "speaker@example.org"):
        world.sell(event, address=address)
    [nowhere] = world.sell(event, address="not an address")
    [broken] = world.sell(event, address=CARA)
    world.faults.add("kktix", "shape", path=f"attendees/{broken}$", times=None)
    pipeline.poll()

    invited = passage(pipeline, ANNA)
    assert [ticket.condition for ticket in invited.tickets] == ["usable"]
    assert invited.tickets[0].text.startswith("usable: paid and valid since")
    assert invited.tickets[0].table == "row up to date"
    assert invited.guest_list.startswith("on it, by us, seen there ")
    assert invited.invitation.startswith("handed to Klaviyo ")
    assert invited.next == "nothing: they may enter, and were invited"
    assert passage(pipeline, str(paid)) == invited

    unpaid = passage(pipeline, BEN)
    assert (unpaid.tickets[0].condition, unpaid.guest_list, unpaid.invitation) == ("unpaid", "never let in", "none yet")
    assert unpaid.next.startswith("every poll looks; once KKTIX says paid")

    for address, reason in (("suppressed@example.org", "HARD_BOUNCE"), ("unsubscribed@example.org", "UNSUBSCRIBE")):
        unreachable = passage(pipeline, address)
        assert unreachable.guest_list.startswith("on it, by us")
        assert unreachable.invitation == f"not reachable: {reason}"
        assert unreachable.next.startswith("no mail: tell them in person")

    assert "by hand, before us" in passage(pipeline, "speaker@example.org").guest_list
    assert "have it corrected in KKTIX" in passage(pipeline, str(nowhere)).next

    quarantined = passage(pipeline, str(broken))
    assert [ticket.condition for ticket in quarantined.tickets] == ["quarantined"]
    assert quarantined.next.startswith("every poll tries")

    unknown = trace_of(pipeline, CARA)
    assert unknown.passages == ()
    assert any("1 attendees of" in hint for hint in unknown.hints)

    lines = list(describe_trace(trace_of(pipeline, ANNA)))
    assert [line.split()[0] for line in lines] == ["a…@example.org,", "ticket", "table", "guest", "invitation", "next"]
    assert_live_asks_what_the_services_say_now(pipeline)


def assert_live_asks_what_the_services_say_now(pipeline: Pipeline) -> None:
    pipeline.world.remove_guest(ANNA)
    pipeline.world.klaviyo.unsubscribe(ANNA)
    mark = pipeline.mark()
    trace_of(pipeline, ANNA)
    assert pipeline.requests(mark) == 0
    found = pipeline.call(trace, ANNA, is_live=True)
    *now, mail = found.live
    assert now == ["Gather: not on the guest list", "Klaviyo: mail is not delivered (UNSUBSCRIBE)"]
    assert re.fullmatch(r"Klaviyo: the mail of batch \w+: delivered", mail)
    assert pipeline.writes(mark) == []


@pytest.mark.slow
def test_a_cancelled_ticket_is_followed_off_the_list(pipeline: Pipeline, world: World, event: int) -> None:
    [ticket] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.poll()
    world.refund(ticket)
    pipeline.later_poll()
    assert conditions(pipeline, ANNA) == ["missing"]
    pipeline.later_poll()
    gone = passage(pipeline, ANNA)
    assert [each.condition for each in gone.tickets] == ["cancelled"]
    assert gone.guest_list.startswith("removed ")
    assert gone.next == "nothing: there is no usable ticket"


@pytest.mark.slow
def test_a_buyer_who_waits_for_a_limit_sees_it(install: Install, world: World, event: int) -> None:
    pipeline = install(invite_limit=0)
    world.sell(event, address=ANNA)
    pipeline.poll()
    assert "INVITE_LIMIT" in passage(pipeline, ANNA).next


@pytest.mark.slow
def test_the_command_shows_a_masked_address_and_exits_with_what_it_found(
    server: SandboxServer, pipeline: Pipeline, world: World, event: int, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name, value in {**server.environment, "PYCONTW_HOME": str(pipeline.home)}.items():
        monkeypatch.setenv(name, value)
    world.sell(event, address=ANNA)
    pipeline.poll()
    assert main(["trace", ANNA]) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{BEN}\n"))
    assert main(["trace", "-"]) == 1
    out = capsys.readouterr().out
    assert "a…@example.org, edition 2031" in out
    assert "b…@example.com: unknown" in out
    assert not any(address in out for address in (ANNA, BEN))
    assert pipeline.grep_home([BEN]) == []
