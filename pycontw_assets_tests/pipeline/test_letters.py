"""A letter to everybody over real services reaches each holder once, also under ``kill -9`` at every call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions

from pycontw_assets.commands.cli import main
from pycontw_assets.ledger.letters.letters import letters_of
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.letters.announcing import Announcing, NotAnnounced
from pycontw_assets.pipeline.letters.following import follow_letters
from pycontw_assets.pipeline.rebuild import rebuild_ledger
from pycontw_assets.records import FAMILIES
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.letters.letter import RenderedLetter, render_letter
from pycontw_assets_tests.pipeline.harness import EDITION, Command, Pipeline, call
from pycontw_assets_tests.pipeline.kill_points import KillPoint
from pycontw_assets_tests.pipeline.test_recovery import lose

ANNA, BEN, CLEO, DORA = "anna@example.org", "ben@example.com", "cleo@example.net", "dora@example.org"
PAGE = (files("pycontw_assets.send_email.letters") / "letter.html").read_text(encoding="utf-8")
CORPORATE = "PyCon TW 2031 Registration: Corporate"
KINDS = ("before a request", "request acted, reply unheard", "before a COMMIT", "after a COMMIT")


def a_letter(subject: str = "Check-in opens at half past eight") -> RenderedLetter:
    links = {"venue_url": "https://example.org/venue", "video_url": None}
    return render_letter(EDITION, subject=subject, source=PAGE, file="FILE.html", **links)


def announce(root: Composition, subject: str = "Check-in", after: timedelta | None = None) -> str:
    send_at = root.ledger.clock() + after if after else None
    return str(call(root, Announcing).run(a_letter(subject), FAMILIES, send_at)[0].state)


def states(pipeline: Pipeline) -> list[str]:
    return [letter.state for letter in letters_of(pipeline.ledger)]


@pytest.fixture
def sold(pipeline: Pipeline, world: World, event: int) -> Pipeline:
    """Sell Anna a ticket of each event, Ben and Cleo one each, invite them, and give Ben his money back."""
    other = world.add_event(CORPORATE)
    world.sell(event, address=ANNA)
    world.sell(other, address=ANNA)
    [bens] = world.sell(event, address=BEN)
    world.sell(other, address=CLEO)
    pipeline.later_poll()
    world.cancel(bens)
    for _ in range(2):
        pipeline.later_poll()  # the book lacks him; KKTIX is asked about him
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CLEO]
    return pipeline


@pytest.mark.long
def test_the_season_of_two_letters(sold: Pipeline, world: World, event: int) -> None:
    mark = sold.mark()
    assert announce(sold.root) == "sent"
    assert sorted(sold.mailed(mark)) == [ANNA, CLEO]
    with pytest.raises(NotAnnounced, match="nobody gets the same letter twice"):
        announce(sold.root)
    mark = sold.mark()
    assert announce(sold.root, "Second", timedelta(minutes=12)) == "ready"
    world.sell(event, address=DORA)
    [cleos] = [number for number, ticket in world.kktix.tickets.items() if ticket.address == CLEO]
    world.cancel(cleos)
    sold.later_poll()
    with pytest.raises(NotAnnounced, match="1 attendees are missing"):
        announce(sold.root, "Third")
    sold.later_poll()
    assert sold.mailed(mark) == [DORA], "her invitation; the letter's time has not come"
    sold.later_poll()
    sold.clock.advance(60)
    assert sorted(sold.mailed(mark)) == [ANNA, DORA, DORA]
    assert sold.verdict() == []
    lose(sold)
    report = sold.call(rebuild_ledger)
    assert report.counts["letters"] == 2
    assert states(sold) == ["sent", "sent"]
    for subject in ("Check-in", "Second"):
        with pytest.raises(NotAnnounced, match="nobody gets the same letter twice"):
            announce(sold.root, subject)


@pytest.mark.slow
def test_the_command_shows_asks_and_never_names_anybody(
    server: SandboxServer, sold: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in {**server.environment, "PYCONTW_HOME": str(sold.home)}.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "letter.html"
    file.write_text(PAGE, encoding="utf-8")
    command, mark = ["announce", "Check-in", str(file)], sold.mark()
    assert main(command) == 2
    assert main(["announce", "Check-in"]) == 2
    assert main(["announce", "Check-in", str(tmp_path / "none.html"), "--yes"]) == 2
    assert main(["announce", "--cancel", "0a1b2c3d4e5f"]) == 1
    monkeypatch.setenv("KLAVIYO_API_URL", "off")
    assert main([*command, "--yes"]) == 2
    monkeypatch.setenv("KLAVIYO_API_URL", server.environment["KLAVIYO_API_URL"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "3")
    assert main(command) == 1
    assert sold.mailed(mark) == []
    monkeypatch.setattr("builtins.input", lambda _: "2")
    assert main(command) == 0
    assert main([*command, "--yes"]) == 1
    assert main(["announce", "--status"]) == 0
    printed = capsys.readouterr()
    for text in ("2 people", "subject  Check-in", "nobody gets the same letter twice", "lists    of the last poll"):
        assert text in printed.out
    assert not [address for address in (ANNA, BEN, CLEO) if address in printed.out + printed.err]
    assert len(list((sold.home / "letters").iterdir())) == 2
    sold.clock.advance(60)
    assert sorted(sold.mailed(mark)) == [ANNA, CLEO]


# -- kill -9 ----------------------------------------------------------------------------------------


def _announce(_definitions: Definitions, root: Composition, _instance: DagsterInstance) -> bool:
    return announce(root) in ("accepted", "sent")


def _follow(_definitions: Definitions, root: Composition, _instance: DagsterInstance) -> bool:
    return not list(call(root, follow_letters))


def _points(command: Command, pipeline: Pipeline) -> list[KillPoint]:
    """Return every request before and after it acted, and every COMMIT of the ledger."""
    exit_code, points = pipeline.run_in_child(command=command)
    assert exit_code == 0
    return [KillPoint(kind, number) for kind in KINDS for number in range(1, points.counts[kind] + 1)]


Outcome = tuple[list[str], list[str], list[str], list[int]]
"""Mailed until the refund, mailed in all, states of the letters, broken invariants."""


def _die_refund_and_announce(point: KillPoint, pipeline: Pipeline) -> Outcome:
    world, mark = pipeline.world, pipeline.mark()
    pipeline.run_in_child(point, _announce)
    pipeline.clock.advance(60)  # what Klaviyo took over has left
    before = sorted(pipeline.mailed(mark))
    [cleos] = [number for number, ticket in world.kktix.tickets.items() if ticket.address == CLEO]
    world.cancel(cleos)
    for _ in range(2):
        pipeline.later_poll()
    pipeline.clock.advance(900)  # nobody may think that no poll could know
    for _ in range(2):
        with suppress(NotAnnounced):  # it had left
            announce(pipeline.root)
        pipeline.clock.advance(60)
    findings = [finding.invariant for finding in pipeline.verdict(settled=False)]
    return before, sorted(pipeline.mailed(mark)), states(pipeline), findings


def _die_and_poll(point: KillPoint, pipeline: Pipeline) -> Outcome:
    mark = pipeline.mark()
    pipeline.run_in_child(point, _follow)
    pipeline.clock.advance(60)
    before = sorted(pipeline.mailed(mark))
    for _ in range(2):
        pipeline.later_poll()
    findings = [finding.invariant for finding in pipeline.verdict(settled=False)]
    return before, sorted(pipeline.mailed(mark)), states(pipeline), findings


def _judge(
    sold: Pipeline, command: Command, die: Callable[[KillPoint, Pipeline], Outcome], *, later: list[str]
) -> None:
    """Die at every point. ``later``: who is mailed where nobody was before the process died."""
    left_before = 0
    points = sold.branch(partial(_points, command)).result()
    for point in points:
        before, mailed, letters, findings = sold.branch(partial(die, point)).result()
        assert before in ([], [ANNA, CLEO]), point
        assert mailed == (before or later), point
        assert letters == ["sent"], point
        assert findings == [], point
        left_before += bool(before)
    print(f"{len(points)} points, {left_before} after the sending, 0 twice, 0 to the wrong person, 0 without")
    assert 0 < left_before < len(points)


@pytest.mark.slow
def test_killed_at_every_call_a_letter_reaches_each_holder_once(sold: Pipeline) -> None:
    _judge(sold, _announce, _die_refund_and_announce, later=[ANNA])


@pytest.mark.slow
def test_killed_at_every_call_of_a_poll_a_scheduled_letter_reaches_each_holder_once(sold: Pipeline) -> None:
    assert announce(sold.root, after=timedelta(minutes=30)) == "ready"
    sold.clock.advance(1860)
    _judge(sold, _follow, _die_and_poll, later=[ANNA, CLEO])
