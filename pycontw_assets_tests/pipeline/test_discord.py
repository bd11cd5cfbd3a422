"""Discord as a venue in whole polls, over real sockets, also under ``kill -9`` at every call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.discord.judge import codes_in
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline
from pycontw_assets_tests.pipeline.kill_points import KillPoint, Kind

pytestmark = pytest.mark.thorough  # says little about tables

ANNA, BEN, CARA, DORA = "anna@example.org", "ben@example.com", "cara@example.net", "dora@example.org"
ROLE = keys.DISCORD_ROLE_ID


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    file = tmp_path / "roles.yaml"
    file.write_text(f'- {{family: individual, role: "{ROLE}"}}\n')
    return file


def code_of(world: World, address: str) -> str:
    """Return the code of the latest mail to an address."""
    return next(codes_in(mail)[0] for mail in reversed(world.outbox) if mail.address == address)


@pytest.mark.long
def test_every_holder_gets_one_invite_by_mail_and_loses_it_or_the_role_with_the_ticket(
    install: Install, world: World, event: int, roles: Path
) -> None:
    pipeline = install(venues="discord,gather", discord_roles=roles)
    [anna] = world.sell(event, address=ANNA)
    [ben] = world.sell(event, address=BEN)
    world.sell(event, address=CARA)
    assert pipeline.until_quiet().ok
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CARA]
    assert len(world.discord.invites) == 3
    user = world.discord.accept(code_of(world, ANNA))
    assert user is not None
    pipeline.clock.advance(1800)
    pipeline.until_quiet()
    world.refund(anna)
    world.refund(ben)
    pipeline.until_quiet()
    assert world.discord.members[user].roles == set()
    assert list(world.discord.invites) == [code_of(world, CARA)]
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    assert world.discord.accept(code_of(world, ANNA), user) == user
    pipeline.clock.advance(1800)
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    codes = [*world.discord.made]
    assert pipeline.grep_home(codes) == [], "codes are in Discord and in the mail only"


@pytest.mark.slow
@pytest.mark.parametrize("venues", ["discord,gather", "discord"])
def test_who_buys_again_while_another_service_is_down_still_has_a_link_that_works(
    install: Install, world: World, event: int, roles: Path, venues: str
) -> None:
    pipeline = install(venues=venues, discord_roles=roles)
    [anna], _ = (world.sell(event, address=address) for address in (ANNA, BEN))
    pipeline.until_quiet()
    for service in ("gather", "klaviyo"):
        world.faults.add(service, "status", status=503, times=None)
    world.refund(anna)
    for _ in range(3):
        pipeline.later_poll()
    world.sell(event, address=ANNA)
    pipeline.later_poll()
    world.faults.clear()
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    assert world.discord.accept(code_of(world, ANNA))


KINDS: tuple[Kind, ...] = ("before a request", "request acted, reply unheard", "before a COMMIT", "after a COMMIT")


def _points(pipeline: Pipeline) -> tuple[list[KillPoint], list[str]]:
    """Return every request before and after it acted, every COMMIT of the ledger, and the calls to Discord."""
    mark = pipeline.mark()
    exit_code, points = pipeline.run_in_child()
    assert exit_code == 0
    calls = [f"{call.method} {call.path}" for call in pipeline.world.calls.find("discord", since=mark.calls)]
    return [KillPoint(kind, number) for kind in KINDS for number in range(1, points.counts[kind] + 1)], calls


@dataclass(frozen=True)
class Recovered:
    """The outcome of one killed poll, and of the refund after it."""

    mailed: list[str]
    findings: list[str]
    invites: int
    bearers: int
    after_refund: list[str]
    bearers_after_refund: int


def _bearers(world: World) -> int:
    return sum(ROLE in member.roles for member in world.discord.members.values())


def _die_and_recover(point: KillPoint, cara: int, pipeline: Pipeline) -> Recovered:
    world, mark = pipeline.world, pipeline.mark()
    exit_code, _ = pipeline.run_in_child(point)
    assert exit_code == -9, point
    pipeline.clock.advance(300)  # the locks of the killed process
    pipeline.until_quiet()
    mailed, findings = pipeline.mailed(mark), [finding.text for finding in pipeline.verdict()]
    invites, bearers = len(world.discord.invites), _bearers(world)
    world.refund(cara)
    pipeline.until_quiet()
    after = [finding.text for finding in pipeline.verdict()]
    return Recovered(mailed, findings, invites, bearers, after, _bearers(world))


@pytest.mark.slow
def test_killed_at_every_call_nobody_gets_two_invites_or_keeps_a_role(
    install: Install, world: World, event: int, roles: Path
) -> None:
    """The killed poll makes an invite, deletes an unused one, takes a role away, and sees who used another."""
    pipeline = install(venues="discord,gather", discord_roles=roles)
    sold = {address: world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)}
    pipeline.until_quiet()
    world.discord.accept(code_of(world, ANNA))
    pipeline.clock.advance(1800)
    pipeline.until_quiet()
    world.refund(sold[ANNA])
    world.refund(sold[BEN])
    for _ in range(2):
        pipeline.later_poll()  # the second one takes them off Gather's list
    world.sell(event, address=DORA)
    world.discord.accept(code_of(world, CARA))
    pipeline.clock.advance(1800)
    points, calls = pipeline.branch(_points).result()
    assert {call.partition(" ")[0] for call in calls} == {"GET", "POST", "DELETE"}
    assert any("/roles/" in call for call in calls)
    worst: Counter[str] = Counter()
    for point in points:
        got = pipeline.branch(partial(_die_and_recover, point, sold[CARA])).result()
        worst["mailed twice"] += len(got.mailed) > 1
        worst["not mailed"] += got.mailed[:1] != [DORA]
        worst["wrong person or two invites"] += bool(got.findings) or got.invites != 1
        worst["role lost or kept"] += got.bearers != 1
        worst["role kept after a refund"] += got.bearers_after_refund != 0 or bool(got.after_refund)
        if got.mailed != [DORA] or got.findings or got.after_refund or (got.bearers, got.invites) != (1, 1):
            print(point, got)
    print(f"{len(points)} points, {len(calls)} calls to Discord in the poll: {dict(worst)}")
    assert set(worst.values()) == {0}
