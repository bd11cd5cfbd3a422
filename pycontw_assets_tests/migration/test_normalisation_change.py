"""A ledger at work goes through the change of the normal form of addresses: nobody is mailed, let in or removed by it.

The installation was left by the last version with normalisation 1. Its people typed odd spellings, some of them two.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.commands.plan import make_plan
from pycontw_assets.commands.trace import trace
from pycontw_assets.ledger.database.engine import LedgerError, open_engine
from pycontw_assets.ledger.database.migrations import prepare
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import entitlements_of, invitations_of, memberships_of, periods_of
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.pipeline.erase import Erasure
from pycontw_assets.pipeline.rebuild import mark_people_invited, renew_ledger
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.sandbox.oracle import Finding, normalise, verdict
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.migration.fixture import V2, build_ledger, fill_vault, fill_warehouse, rows_of, taken_at
from pycontw_assets_tests.migration.test_schema_change import Statements, Stopped, content
from pycontw_assets_tests.migration.world import plant
from pycontw_assets_tests.pipeline.crash_scenarios import DEEDS
from pycontw_assets_tests.pipeline.harness import EDITION, INTERVAL_SECONDS, Pipeline, TestClock
from pycontw_assets_tests.pipeline.kill_points import KillPoint, Kind
from pycontw_assets_tests.postgres import PostgresServer, age_locks

INDIVIDUAL, CORPORATE, ENDED = "2031-individual-90001", "2031-corporate-90002", "2031-reserved-90003"
MEI, LIN, JO = "mei.chen@example.org", "lin@xn--r8jz45g.example.org", "jo@xn--strae-oqa.example.org"
# What was typed -> the mailbox. Those with another person in the old ledger under the second spelling are one now.
TYPED = {
    "Mei\u200b.Chen@example.org": MEI,
    "lin@例え.example.org": LIN,
    "lin@XN--R8JZ45G.example.org": LIN,
    "ta\u00adro@example.org": "taro@example.org",
    "taro@example.org": "taro@example.org",
    "kai\u200b@example.org": "kai@example.org",
    "Kai@example.org": "kai@example.org",
    "rosa\u200b@example.org": "rosa@example.org",
    "rosa@example.org": "rosa@example.org",
    "jo@straße.example.org": JO,
    "jo@xn--strae-oqa.example.org": JO,
    "rin@example.org.": "rin@example.org",
    "sora@範例。example.org": "sora@xn--fsqy19h.example.org",
    "han\u3164@example.org": "han@example.org",
    "\ufeffnoa@example.org": "noa@example.org",
    "ende\u200b@example.org": "ende@example.org",
    "udo\u200b@example.org": "udo@example.org",
    "ｗｅｉ＠ｅｘａｍｐｌｅ．ｏｒｇ": "wei@example.org",
    "OTTO@EXAMPLE.ORG": "otto@example.org",
    "anna@example.org": "anna@example.org",
}
# On the guest list in a spelling that nobody can sign in with.
HIDDEN = {MEI, "rin@example.org", "sora@xn--fsqy19h.example.org", "han@example.org", "noa@example.org"}


def key_of(address: str) -> str:
    """Return the pseudonym of today, independent of today's function."""
    return hashlib.sha256(address.encode()).hexdigest()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.url(server.new_database())
    return f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}"


@pytest.fixture
def old(ledger_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Set up today's code on the data folder of the older version, a moment after that stopped."""
    yield from installed(ledger_url, tmp_path / "home")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Pipeline]:
    """Set up the same with a ledger in a file."""
    yield from installed(f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}", tmp_path / "home")


def installed(url: str, home: Path) -> Iterator[Pipeline]:
    home.mkdir()
    build_ledger(url, V2)
    fill_vault(home, V2)
    fill_warehouse(home)
    clock = TestClock((taken_at(V2) - datetime.now(timezone.utc)).total_seconds())
    with SandboxServer(World(clock)) as server:
        plant(server.world, V2)
        yield Pipeline(server, clock, home, **({} if url.startswith("sqlite") else {"ledger_url": url}))


def poll(pipeline: Pipeline, times: int = 1) -> None:
    for _ in range(times):
        if pipeline.ledger.engine.dialect.name == "postgresql":
            age_locks(pipeline.ledger.engine, INTERVAL_SECONDS)
        assert pipeline.later_poll().ok


def judged(pipeline: Pipeline) -> list[Finding]:
    return verdict(pipeline.world, EDITION, settled=False)


def digests(pipeline: Pipeline) -> dict[int, str]:
    """Return attendee -> digest of the address, as a reader of the tables sees them."""
    return {row["attendee_id"]: row["email_sha256"] for rows in pipeline.tables().values() for row in rows}


def odd_rows(ledger: Ledger) -> set[str]:
    """Return the old pseudonyms that anything is still known of."""
    dumped = {row["address_key"] for table in ("grants", "invitations") for row in rows_of(table, V2)}
    old_keys = dumped - {key_of(address) for address in TYPED.values()}
    facts = (periods_of, invitations_of, entitlements_of, memberships_of)
    return {key for key in old_keys if any(facts_of(ledger, key) for facts_of in facts)}


MARKED = {key_of("egon@例え.example.org"), key_of("emma\u200b@example.org")}


# -- the change ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nobody_is_mailed_let_in_or_removed_by_it(old: Pipeline) -> None:
    before, mails, history = judged(old), len(old.world.outbox), len(old.world.gather.history)
    guests, rows = old.guests(), old.tables()
    poll(old, 2)
    assert len(old.world.outbox) == mails
    assert len(old.world.gather.history) == history
    assert old.guests() == guests
    assert judged(old) == before
    assert old.ledger.normalisation == 2
    assert odd_rows(old.ledger) - MARKED == {key_of("gast@xn--r8jz45g.example.org"), key_of("greta@example.org")}
    check_one_person_each(old)
    check_ticket_holder_lists(old)
    assert digests(old) == {
        ticket.attendee_id: key_of(normalise(ticket.address)) for ticket in old.world.kktix.tickets.values()
    }
    assert {family: len(table) for family, table in rows.items()} == {f: len(t) for f, t in old.tables().items()}
    for key in (INDIVIDUAL, CORPORATE, ENDED):
        found = last_poll(old.ledger, key)
        assert found is not None
        assert found.content_digest == found.loaded_digest
    mark = old.mark()
    poll(old)
    assert old.writes(mark) == [], "the change is over"


def check_one_person_each(pipeline: Pipeline) -> None:
    """Check that two people of one mailbox are one, and know what became of them."""

    def states(address: str) -> list[tuple[int, str, bool]]:
        return [(p.period, p.state, p.added_by_us) for p in periods_of(pipeline.ledger, key_of(address))]

    def invited(address: str) -> list[tuple[int, str]]:
        return [(i.period, i.state) for i in invitations_of(pipeline.ledger, key_of(address))]

    for address in (MEI, LIN, "taro@example.org", "kai@example.org", "ende@example.org", "rin@example.org"):
        assert states(address) == [(1, "granted", True)], address
        assert invited(address) == [(1, "accepted")], address
    assert entitlements_of(pipeline.ledger, key_of(LIN)) == {INDIVIDUAL, CORPORATE, ENDED}
    # One spelling of each was refunded and removed before; the other is in.
    for address in (JO, "rosa@example.org"):
        assert states(address) == [(1, "revoked", True), (2, "granted", True)], address
        assert invited(address) == [(1, "accepted"), (2, "accepted")], address


def check_ticket_holder_lists(pipeline: Pipeline) -> None:
    """Check that the lists hold the deliverable spelling of everybody, once."""
    for event in (90001, 90002, 90003):
        usable = {t.address for t in pipeline.world.kktix.tickets.values() if t.event_id == event and t.is_usable}
        listed = pipeline.ticket_holders(event)
        assert {str(address).lower() for address in listed} == {normalise(address) for address in usable}
        assert len(listed) == len({normalise(address) for address in usable})


def test_every_invented_spelling_is_the_mailbox_that_the_sandbox_says() -> None:
    assert {normalise(typed) for typed in TYPED} == set(TYPED.values())
    assert {Pseudonymizer().address(typed) for typed in TYPED} == set(map(key_of, TYPED.values()))


# -- afterwards ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_people_the_ledger_knows_without_orders_are_recognised_when_they_buy(embedded: Pipeline) -> None:
    poll(embedded)
    mark, world = embedded.mark(), embedded.world
    for address in ("egon@XN--R8JZ45G.example.org", "emma\u200b@example.org", "new@例え.example.org"):
        world.sell(90001, address=address)
    udo = next(ticket for ticket in world.kktix.tickets.values() if ticket.address.startswith("udo"))
    world.pay(udo.attendee_id)
    poll(embedded, 2)
    assert sorted(embedded.mailed(mark)) == ["new@xn--r8jz45g.example.org", "udo@example.org"]
    come = {"egon@xn--r8jz45g.example.org", "emma@example.org", "new@xn--r8jz45g.example.org", "udo@example.org"}
    assert come <= embedded.guests()
    assert not odd_rows(embedded.ledger) & MARKED


@pytest.mark.slow
def test_a_guest_who_could_not_sign_in_can_when_the_list_is_read_next(embedded: Pipeline) -> None:
    poll(embedded)
    before, mark = embedded.guests(), embedded.mark()
    embedded.world.sell(90001, address="new@example.org")
    poll(embedded)
    assert embedded.guests() == before | HIDDEN | {"new@example.org"}
    assert embedded.mailed(mark) == ["new@example.org"]
    poll(embedded, 2)
    assert embedded.guests() == before | HIDDEN | {"new@example.org"}


@pytest.mark.slow
def test_a_refund_takes_every_spelling_off_the_list(embedded: Pipeline) -> None:
    poll(embedded)
    leaving = {LIN, MEI, "taro@example.org"}
    for ticket in list(embedded.world.kktix.tickets.values()):
        if normalise(ticket.address) in leaving and ticket.event_id != 90003:
            embedded.world.refund(ticket.attendee_id)
    poll(embedded, 4)
    left = {address for address in embedded.guests() if normalise(address) in leaving}
    assert left == {"lin@例え.example.org", LIN}, "a ticket of the ended event is left"


def test_marking_a_person_again_in_another_spelling_marks_nobody_twice(embedded: Pipeline) -> None:
    lines = ["egon@例え.example.org", "EMMA\u200b@example.org", "lin@例え.example.org"]
    report = mark_people_invited(EDITION, lines, ledger=embedded.ledger, pseudonymizer=embedded.root.pseudonymizer)
    assert (report.marked, report.known) == (0, 3)


@pytest.mark.long
def test_an_erased_person_is_gone_in_every_spelling(old: Pipeline) -> None:
    check_that_erased_is_gone(old, "lin@例え。example.org")


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["LIN@xn--r8jz45g.example.org.", "lin@例え.example.org"])
def test_an_erased_person_is_gone_however_the_address_is_typed(embedded: Pipeline, typed: str) -> None:
    check_that_erased_is_gone(embedded, typed)


def check_that_erased_is_gone(old: Pipeline, typed: str) -> None:
    seats = {t.attendee_id for t in old.world.kktix.tickets.values() if normalise(t.address) == LIN}
    both = {p.id for p in old.world.klaviyo.profiles.values() if p.email and normalise(p.email) == LIN}
    assert (len(seats), len(both)) == (3, 2)
    erasure = old.call(Erasure)
    found = erasure.find(typed)
    assert {number for numbers in found.tickets.values() for number in numbers} == seats
    result = erasure.run(typed)
    assert result.problems == []
    assert not {address for address in old.guests() if normalise(address) == LIN}
    assert not {address for event in (90001, 90002, 90003) for address in old.ticket_holders(event)} & {
        profile.email for profile in old.world.klaviyo.profiles.values() if profile.id in both
    }
    assert [line for line in result.remains if all(profile_id in line for profile_id in both)]
    assert not seats & digests(old).keys()
    for partition in found.tickets:
        snapshot = old.root.vault.read(partition.key)
        assert snapshot is not None
        assert not seats & snapshot.records.keys()
    mark = old.mark()
    poll(old)
    assert old.mailed(mark) == []
    assert not seats & digests(old).keys()
    assert old.call(Erasure).find(typed).tickets == {}


# -- before the change: commands that change nothing ---------------------------------------------------


def stored(url: str) -> dict[str, list[Any]]:
    engine = open_engine(url)
    found = content(engine)
    engine.dispose()
    return found


def test_commands_that_change_nothing_know_everybody_and_leave_it_as_it_is(old: Pipeline, ledger_url: str) -> None:
    before = stored(ledger_url)
    plan = make_plan(
        kktix=old.root.kktix,
        gather=old.root.gather,
        discord=None,
        discord_roles=None,
        klaviyo=old.root.klaviyo,
        vault=old.root.vault,
        pseudonymizer=old.root.pseudonymizer,
        waits=old.root.waits,
        settings=old.settings,
        clock=old.clock,
    )
    assert [event for event in plan.events if event.granted or event.revoked or event.batches] == []
    for typed in ("mei.chen@example.org", "LIN@例え.example.org", "emma\u200b@example.org"):
        root = old.root
        shown = trace(typed, vault=root.vault, ledger=root.ledger_to_read, pseudonymizer=root.pseudonymizer)
        [passage] = shown.passages
        assert passage.invitation != "none yet", typed
    assert stored(ledger_url) == before


def test_orders_that_cannot_be_read_refuse_the_change(embedded: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "home" / "vault" / f"{INDIVIDUAL}.orders").write_bytes(b"not encrypted")
    with pytest.raises(LedgerError, match=r"older version.*cannot be read.*Nothing was changed"):
        _ = embedded.ledger
    ledger = Ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}")
    assert ledger.normalisation == 1
    with ledger.engine.begin() as db:
        for name in ("entitlements", "grants", "invitations", "members"):
            keys = sorted(db.scalars(sa.text(f"SELECT address_key FROM {name}")))
            assert keys == sorted(row["address_key"] for row in rows_of(name, V2)), name


# -- kills ---------------------------------------------------------------------------------------------


@pytest.fixture
def renewing(ledger_url: str, tmp_path: Path) -> Iterator[Callable[[Ledger], None]]:
    """Return the change of a ledger whose schema is today's, by the orders of the vault."""
    home = tmp_path / "home"
    home.mkdir()
    build_ledger(ledger_url, V2)
    prepare(open_engine(ledger_url))
    fill_vault(home, V2)
    clock = TestClock()
    with SandboxServer(World(clock)) as server:
        vault = Pipeline(server, clock, home).root.vault
        yield lambda ledger: renew_ledger(ledger=ledger, vault=vault, pseudonymizer=Pseudonymizer())


def test_a_stopped_change_leaves_the_ledger_whole(ledger_url: str, renewing: Callable[[Ledger], None]) -> None:
    ledger, before = Ledger(ledger_url), stored(ledger_url)
    statements = Statements(ledger.engine)
    for number in itertools.count(1, 9):
        statements.stop_at(number)
        with suppress(Stopped):
            renewing(ledger)
            break
        assert stored(ledger_url) == before, f"statement {number}"
    assert statements.number > 60, "hardly a statement was stopped"
    after = stored(ledger_url)
    renewing(ledger)
    assert stored(ledger_url) == after, "once is enough"


@pytest.mark.parametrize("number", [1, 40, 70])
def test_after_a_kill_the_ledger_is_whole(ledger_url: str, renewing: Callable[[Ledger], None], number: int) -> None:
    before = stored(ledger_url)

    def die() -> None:
        ledger = Ledger(ledger_url)
        Statements(ledger.engine, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
        renewing(ledger)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert stored(ledger_url) == before
    renewing(Ledger(ledger_url))
    assert Ledger(ledger_url).normalisation == 2


def _outcome(pipeline: Pipeline, point: KillPoint) -> tuple[int, int, set[str], int, set[str]]:
    """Die in the first poll, go on with ordinary ones, and return what changed outside and who is still doubled."""
    mails, history = len(pipeline.world.outbox), len(pipeline.world.gather.history)
    pipeline.run_in_child(point)
    for _ in range(3):
        pipeline.later_poll()
    check_one_person_each(pipeline)
    new_mails = len(pipeline.world.outbox) - mails
    doubled = odd_rows(pipeline.ledger) - MARKED
    return new_mails, len(pipeline.world.gather.history) - history, pipeline.guests(), len(digests(pipeline)), doubled


@pytest.mark.slow
def test_killed_anywhere_in_the_first_poll_nobody_notices(embedded: Pipeline) -> None:
    embedded.world.klaviyo.switches.rate_limits = False
    embedded.world.klaviyo.switches.status_step = embedded.world.klaviyo.switches.estimation_delay = 0

    def count(pipeline: Pipeline) -> dict[Kind, int]:
        return pipeline.run_in_child()[1].counts

    counts = embedded.branch(count).result()
    # The renewal is one transaction of the first; then come the orders, the tables and the lists.
    points = [KillPoint("before a write to the ledger", 60), KillPoint("before a COMMIT", 2)]
    points += [KillPoint(kind, counts[kind] // 2) for kind in DEEDS if counts[kind] > 1]
    expected = embedded.branch(lambda pipeline: _outcome(pipeline, KillPoint("before a request", 10**6))).result()
    assert expected[:2] == (0, 0)
    for point in points:
        assert embedded.branch(lambda pipeline, point=point: _outcome(pipeline, point)).result() == expected, point


def test_the_dump_is_of_the_last_version_before_the_change() -> None:
    assert {row["name"]: row["value"] for row in rows_of("meta", V2)} == {
        "schema": "2",
        "normalisation": "1",
        "pseudonym key": "plain",
    }
    sold = json.loads(V2.world.read_text(encoding="utf-8"))["kktix"]["tickets"]["rows"]
    assert len(sold) == 23
