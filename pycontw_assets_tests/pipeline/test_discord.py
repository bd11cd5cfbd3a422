"""Discord as a venue in whole polls, over real sockets, also under ``kill -9`` at every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, Definitions

from pycontw_assets.commands.plan import describe_plan, make_plan
from pycontw_assets.commands.status import look_up
from pycontw_assets.commands.trace import Passage, trace
from pycontw_assets.extract.waves import WaveSize
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.dry_run import EventPlan, PlannedInvites
from pycontw_assets.pipeline.rebuild import rebuild_ledger
from pycontw_assets.pipeline.reconcile import RunHistory
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.discord.judge import codes_in
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, call, describe
from pycontw_assets_tests.pipeline.kill_matrix import KILLED, all_points, try_all
from pycontw_assets_tests.pipeline.kill_points import KillPoint, Kind
from pycontw_assets_tests.postgres import PostgresServer

pytestmark = pytest.mark.thorough  # says little about tables

ANNA, BEN, CARA, DORA = "anna@example.org", "ben@example.com", "cara@example.net", "dora@example.org"
EVA = "eva@example.com"
ROLE = keys.DISCORD_ROLE_ID
FLOW_MAIL = '<p><a href="{{ event.venue_url }}">Enter</a> <a href="{{ event.discord_url }}">Discord</a></p>'


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
    assert traced(pipeline, ANNA).discord == "has an invite, not used yet"
    user = world.discord.accept(code_of(world, ANNA))
    assert user is not None
    pipeline.clock.advance(1800)
    pipeline.until_quiet()
    assert str(traced(pipeline, ANNA).discord).startswith("the invite was used by a member who has the role, seen ")
    world.refund(anna)
    world.refund(ben)
    pipeline.until_quiet()
    assert traced(pipeline, BEN).discord == "no invite; the last one has ended"
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


def traced(pipeline: Pipeline, address: str) -> Passage:
    [passage] = pipeline.call(trace, address).passages
    return passage


def planned(pipeline: Pipeline) -> EventPlan:
    [event] = pipeline.call(make_plan).events
    return event


@pytest.mark.long
def test_a_plan_counts_invites_and_roles_and_only_reads(
    install: Install, world: World, event: int, roles: Path
) -> None:
    pipeline = install(venues="discord,gather", discord_roles=roles)
    sold = {address: world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA, DORA)}
    mark = pipeline.mark()
    first = planned(pipeline)
    assert first.invites == PlannedInvites(made=4)
    assert [len(batch.people) for batch in first.batches] == [4], "mailed once their invites exist"
    assert pipeline.writes(mark) == []
    pipeline.poll()
    world.discord.accept(code_of(world, ANNA))
    pipeline.clock.advance(1800)
    pipeline.poll()
    world.refund(sold[ANNA])
    world.refund(sold[BEN])
    pipeline.later_poll()
    pipeline.clock.advance(300)
    mark = pipeline.mark()
    assert planned(pipeline).invites == PlannedInvites(deleted=1, roles_removed=1)
    assert pipeline.writes(mark) == []
    assert (len(world.discord.invites), _bearers(world)) == (3, 1)


@pytest.mark.slow
def test_a_plan_for_a_full_guild_makes_those_wait_for_their_mail(
    install: Install, world: World, event: int, roles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycontw_assets.authorize.discord.invite_step.MOST_INVITES", 21)
    pipeline = install(venues="discord,gather", discord_roles=roles)
    for address in (ANNA, BEN):
        world.sell(event, address=address)
    found = planned(pipeline)
    assert found.invites == PlannedInvites(made=1, waiting=1)
    assert [len(batch.people) for batch in found.batches] == [1]
    assert "1 holders wait for their invite" in "\n".join(describe_plan(pipeline.call(make_plan)))
    pipeline.poll()
    [status] = pipeline.call(look_up, history=RunHistory()).events
    assert (status.counts["no invite"], len(pipeline.mailed())) == (1, 1)
    [waiting] = {ANNA, BEN} - set(pipeline.mailed())
    assert traced(pipeline, waiting).discord == "waits for an invite"
    assert traced(pipeline, waiting).next.startswith("the next poll makes their invite to Discord, unless the guild")


@pytest.mark.slow
def test_a_dry_run_makes_no_invite_and_shows_how_many_it_would_make(
    install: Install, world: World, event: int, roles: Path
) -> None:
    pipeline = install(venues="discord,gather", discord_roles=roles, pycontw_dry_run=True)
    world.sell(event, address=ANNA)
    mark = pipeline.mark()
    for _ in range(2):
        assert pipeline.later_poll().ok
    assert pipeline.writes(mark) == []
    for asset in ("discord_invites", "klaviyo_campaign"):
        latest = pipeline.instance.get_latest_materialization_event(AssetKey(asset))
        assert latest is not None
        assert latest.asset_materialization is not None
        shown = {name: item.value for name, item in latest.asset_materialization.metadata.items()}
        assert (shown["would_make_invites"], shown["would_invite"]) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["campaign", "event"])
def test_a_rebuilt_ledger_gives_no_second_invite_and_takes_the_first_away(
    install: Install, world: World, event: int, roles: Path, way: str
) -> None:
    world.klaviyo.flows.prepare(INVITATION_METRIC, html=FLOW_MAIL)
    pipeline = install(venues="discord,gather", discord_roles=roles, invite_via=way)
    sold = {address: world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)}
    pipeline.until_quiet()
    pipeline.clock.advance(1)  # until a flow's last mail has left
    user = world.discord.accept(code_of(world, ANNA))
    assert user is not None
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    mark, made = pipeline.mark(), dict(world.discord.made)
    report = pipeline.call(rebuild_ledger)
    assert report.counts["invites to Discord"] == 3
    assert any(problem.startswith("1 people had invites to Discord") for problem in report.problems)
    assert pipeline.writes(mark) == []
    pipeline.until_quiet()
    assert pipeline.mailed(mark) == []
    assert world.discord.made == made, "nobody got a second invite"
    world.refund(sold[BEN])
    world.refund(sold[ANNA])
    texts = [describe(pipeline.later_poll()) for _ in range(3)]
    assert list(world.discord.invites) == [code_of(world, CARA)]
    assert any("does not say who they are" in text for text in texts)
    world.discord.take_role(user)
    pipeline.clock.advance(1800)
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    assert pipeline.mailed(mark) == []


def _rebuild(_definitions: Definitions, root: Composition, _instance: DagsterInstance) -> bool:
    call(root, rebuild_ledger)
    return True


def _count_commits(pipeline: Pipeline) -> int:
    exit_code, points = pipeline.run_in_child(command=_rebuild)
    assert exit_code == 0
    return points.counts["after a COMMIT"]


def _die_and_rebuild(point: KillPoint, pipeline: Pipeline) -> tuple[int, list[str], int]:
    """Return the exit code of the killed rebuilding, the mails after it, and the number of invites made after it."""
    mark, made = pipeline.mark(), len(pipeline.world.discord.made)
    exit_code, _ = pipeline.run_in_child(point, _rebuild)
    pipeline.restart()
    with suppress(LedgerError):  # it came far enough, and is refused now
        pipeline.call(rebuild_ledger)
    pipeline.until_quiet()
    return exit_code, pipeline.mailed(mark), len(pipeline.world.discord.made) - made


@pytest.mark.slow
def test_a_rebuilding_that_is_killed_costs_no_second_invite(
    install_in_memory: Install, world: World, event: int, roles: Path
) -> None:
    pipeline = install_in_memory(venues="discord,gather", discord_roles=roles)
    for address in (ANNA, BEN):
        world.sell(event, address=address)
    pipeline.until_quiet()
    world.discord.accept(code_of(world, ANNA))
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    commits = pipeline.branch(_count_commits).result()
    points = all_points({"after a COMMIT": commits}, ["after a COMMIT"])
    outcomes = [got for _, got in try_all(pipeline, points, _die_and_rebuild)]
    print(f"{len(points)} kill points of rebuild-ledger")
    assert outcomes == [(KILLED, [], 0)] * len(points)


def links_are_right(world: World, buyers: Collection[str]) -> None:
    """Everybody was mailed once, with a link of their own."""
    assert sorted(mail.address for mail in world.outbox) == sorted(buyers)
    assert {code_of(world, address) for address in buyers} == world.discord.invites.keys()


@pytest.mark.slow
def test_invites_work_with_events_and_their_links_are_in_the_flow(
    install: Install, world: World, event: int, roles: Path
) -> None:
    world.klaviyo.flows.prepare(INVITATION_METRIC, html=FLOW_MAIL)
    a_season(install(venues="discord,gather", discord_roles=roles, invite_via="event"), world, event)


@pytest.mark.slow
def test_invites_work_with_a_ledger_on_a_server(
    install: Install, world: World, event: int, roles: Path, postgres: PostgresServer
) -> None:
    url = postgres.url(postgres.new_database())
    a_season(install(venues="discord,gather", discord_roles=roles, ledger_url=url), world, event)


def a_season(pipeline: Pipeline, world: World, event: int) -> None:
    """Let four people buy. One enters Discord, two are refunded, a fifth buys; then everything is in line."""
    sold = {address: world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA, DORA)}
    pipeline.until_quiet()
    pipeline.clock.advance(1)  # until a flow's last mail has left
    links_are_right(world, sold)
    user = world.discord.accept(code_of(world, ANNA))
    assert user is not None
    pipeline.clock.advance(1800)
    pipeline.until_quiet()
    world.refund(sold[ANNA])
    world.refund(sold[BEN])
    world.sell(event, address=EVA)
    pipeline.until_quiet()
    pipeline.clock.advance(1)
    assert world.discord.members[user].roles == set()
    assert world.discord.invites.keys() == {code_of(world, address) for address in (CARA, DORA, EVA)}
    assert pipeline.verdict() == []


def sell_seven(world: World, event: int) -> list[str]:
    """Sell a ticket to each of seven people, and return their addresses."""
    return [world.kktix.tickets[number].person.address for _ in range(7) for number in world.sell(event)]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["campaign", "event"])
def test_in_a_rush_nobody_is_mailed_without_a_link(
    install: Install, world: World, event: int, roles: Path, way: str
) -> None:
    world.klaviyo.flows.prepare(INVITATION_METRIC, html=FLOW_MAIL)
    pipeline = install(
        wave_size=WaveSize(2, pause=0), venues="discord,gather", discord_roles=roles, invite_via=way, revoke_limit=100
    )
    buyers = sell_seven(world, event)
    report = pipeline.later_poll()
    pipeline.clock.advance(1)
    assert report.ok
    [counts] = [run.counts["raw_kktix_orders"] for run in report.runs if run.job == "grant_access_job"]
    assert (counts["waves"], counts["waves_invited"]) == (3, 6)
    links_are_right(world, buyers)
    pipeline.until_quiet()
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_whoever_has_an_invite_and_no_mail_yet_is_mailed_the_link_in_a_wave(
    install: Install, world: World, event: int, roles: Path
) -> None:
    pipeline = install(wave_size=WaveSize(2, pause=0), venues="discord,gather", discord_roles=roles)
    world.sell(event, address=ANNA)
    world.faults.add("klaviyo", "status", times=None, status=503)
    assert not pipeline.later_poll().ok
    assert len(world.discord.invites) == 1
    world.faults.clear()
    world.sell(event, address=ANNA)  # so the first wave serves them, too
    buyers = sell_seven(world, event)
    pipeline.until_quiet()
    links_are_right(world, [ANNA, *buyers])
    assert pipeline.verdict() == []


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


def _count(pipeline: Pipeline) -> tuple[dict[Kind, int], list[str]]:
    """Return the number of points in a poll without a kill, and its calls to Discord."""
    mark = pipeline.mark()
    exit_code, points = pipeline.run_in_child()
    assert exit_code == 0
    calls = [f"{call.method} {call.path}" for call in pipeline.world.calls.find("discord", since=mark.calls)]
    return points.counts, calls


@dataclass(frozen=True)
class Recovered:
    """The outcome of one killed poll, and of the refund after it."""

    was_killed: bool
    mailed: list[str]
    findings: list[str]
    invites: int
    bearers: int
    after_refund: list[str]
    bearers_after_refund: int


def _bearers(world: World) -> int:
    return sum(ROLE in member.roles for member in world.discord.members.values())


def _die_and_recover(cara: int, point: KillPoint, pipeline: Pipeline) -> Recovered:
    world, mark = pipeline.world, pipeline.mark()
    exit_code, _ = pipeline.run_in_child(point)
    assert exit_code in (KILLED, 0), f"exit code {exit_code}"
    pipeline.clock.advance(300)  # the locks of the killed process
    pipeline.until_quiet()
    mailed, findings = pipeline.mailed(mark), [finding.text for finding in pipeline.verdict()]
    invites, bearers = len(world.discord.invites), _bearers(world)
    world.refund(cara)
    pipeline.until_quiet()
    after = [finding.text for finding in pipeline.verdict()]
    return Recovered(exit_code == KILLED, mailed, findings, invites, bearers, after, _bearers(world))


@pytest.mark.slow
def test_killed_at_every_call_nobody_gets_two_invites_or_keeps_a_role(
    install_in_memory: Install, world: World, event: int, roles: Path
) -> None:
    """The killed poll makes an invite, deletes an unused one, takes a role away, and sees who used another."""
    pipeline = install_in_memory(venues="discord,gather", discord_roles=roles)
    sold = {address: world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)}
    pipeline.until_quiet()
    world.discord.accept(code_of(world, ANNA))
    pipeline.clock.advance(1800)
    pipeline.until_quiet()
    world.refund(sold[ANNA])
    world.refund(sold[BEN])
    pipeline.later_poll()
    world.sell(event, address=DORA)
    world.discord.accept(code_of(world, CARA))
    pipeline.clock.advance(1800)
    counts, calls = pipeline.branch(_count).result()
    assert {call.partition(" ")[0] for call in calls} == {"GET", "POST", "DELETE"}
    assert any("/roles/" in call for call in calls)
    killed, faults, points = Counter[Kind](), Counter[str](), all_points(counts, KINDS)
    for point, got in try_all(pipeline, points, partial(_die_and_recover, sold[CARA])):
        wrong = ["stuck"] if isinstance(got, str) else _faults(got)
        killed[point.kind] += not isinstance(got, str) and got.was_killed
        faults.update(wrong)
        if wrong:
            print(point, wrong, got)
    print(f"{killed.total()} points, {len(calls)} calls to Discord in the poll: {dict(killed)}; faults: {dict(faults)}")
    assert not faults
    assert killed.total() > 0.95 * len(points), "a few points depend on how fast Klaviyo and the warehouse are"


def _faults(got: Recovered) -> list[str]:
    found = {
        "mailed twice": len(got.mailed) > 1,
        "not mailed": got.mailed[:1] != [DORA],
        "wrong person or two invites": bool(got.findings) or got.invites != 1,
        "role lost or kept": got.bearers != 1,
        "role kept after a refund": got.bearers_after_refund != 0 or bool(got.after_refund),
    }
    return [name for name, is_wrong in found.items() if is_wrong]
