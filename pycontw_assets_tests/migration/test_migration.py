"""An installation of an older version opens without a person's help, is remembered whole, and mails nobody again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.ledger.batches import cancelled_batches, get_batch, invitations_in, unfinished_batches
from pycontw_assets.ledger.database.migrations import SCHEMA_VERSION
from pycontw_assets.ledger.database.tables import meta, pool_lists, rate_slots, stale_events
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.grants import grants_without_ticket
from pycontw_assets.ledger.guest_lists import guest_list_state, has_space_changed
from pycontw_assets.ledger.lists import list_members, unconfirmed_members
from pycontw_assets.ledger.locks import LockName, lock_owner
from pycontw_assets.ledger.people import erased_ids, invitations_of, memberships_of, periods_of
from pycontw_assets.ledger.polls import last_poll, news_since, recorded_holders
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.ledger.reporting.problems import open_problems, sent_alerts
from pycontw_assets.ledger.reporting.sales import Counts, edition_before, last_report_day, sales_by_day
from pycontw_assets.ledger.reporting.unreachable import Unserved, last_search, rejected_guests, unserved_in
from pycontw_assets.ledger.restoration import beginning, has_begun
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.sandbox.oracle import Finding, verdict
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.migration.fixture import SETTINGS, build_ledger, fill_vault, people, rows_of, taken_at
from pycontw_assets_tests.migration.world import plant
from pycontw_assets_tests.pipeline.harness import EDITION, INTERVAL_SECONDS, Pipeline, TestClock
from pycontw_assets_tests.postgres import PostgresServer, age_locks

POLLS = 3
OLD, OVER, RESERVED, CORPORATE, INDIVIDUAL, EARLY = (
    "2030-individual-90001",
    "2031-reserved-90002",
    "2031-reserved-90003",
    "2031-corporate-90004",
    "2031-individual-90005",
    "2031-individual-90006",
)
PEOPLE = people()
STATES = {"waived": "assumed", "adopted": "marked"}
# The open batch, the scheduled one, and people who left before any attempt to invite them.
TO_BE_MAILED = {"berta", "bruno", "anna", "anton", "paul", "quentin", "nora", "jana"}
# Not on the guest list when the dump was taken: refused, in quarantine, and let in while the step was switched off.
TO_BE_LET_IN = {"paul", "quentin", "wanda"}
# Refunded; the removal had no effect yet.
TO_BE_REVOKED = {"victor"}
# People who must not be mailed, one for each reason why an older ledger could cause a mail.
NEVER = {
    "dora": "mailed, but the ledger does not know it yet",
    "emma": "marked as invited before the first ticket",
    "zara": "marked as invited in a cancelled batch",
    "zoe": "in a cancelled batch, not released",
    "zeno": "in a cancelled batch, not released",
    "flora": "erased",
    "gerd": "erased",
    "hans": "invited, and missing on the list that was cut",
    "wanda": "invited while the guest list was switched off",
    "rosa": "of a purged event",
    "olga": "of the edition before",
    "stina": "gave the ticket back",
    "victor": "gave the ticket back",
    "lena": "gave the ticket back before being seen on the list",
    "xaver": "suppressed at Klaviyo",
    "kim": "refused by Klaviyo",
    "udo": "has not paid",
    "egon": "marked as invited, without a ticket",
}


def key_of(name: str) -> str:
    """Return the pseudonym of the dump: plain SHA-256, independent of today's function."""
    return hashlib.sha256(PEOPLE[name].address.encode()).hexdigest()


def renamed(rows: list[list[Any]]) -> list[list[Any]]:
    """Return grants or invitations of the dump with the states of today."""
    return [[STATES.get(value, value) if isinstance(value, str) else value for value in row] for row in rows]


def renamed_batch(row: dict[str, Any]) -> dict[str, Any]:
    """Return the names of today for a batch of people who were marked as invited."""
    if row["poll_id"] != "adopted":
        return {}
    return {"poll_id": "marked", "campaign_name": "marked", "partition_key": f"{row['edition']}-marked"}


def kept_problems(table: str) -> list[dict[str, Any]]:
    """Return the problems or alerts of the dump, less those of guests, who are looked up by number now."""
    return [with_joined_cause(row) for row in rows_of(table) if "guests were sent to Gather" not in row["cause"]]


def with_joined_cause(row: dict[str, Any]) -> dict[str, Any]:
    """Return a problem or alert with its cause of today: brackets concern one attendee only."""
    before, _, rest = row["cause"].partition("(")
    is_of_attendee = rest and "attendee #" in before
    return {**row, "cause": f"{before}(…){rest.rpartition(')')[2]}" if is_of_attendee else row["cause"]}


def lines_of(problems: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return a row for every line of a problem. Problems that were joined keep the moment of one of them."""
    return sorted(
        (problem["partition_key"], problem["subject"], problem["cause"], line, problem["is_failure"], problem["times"])
        for problem in problems
        for line in problem["text"].splitlines()
    )


def note(name: str) -> str:
    """Return a note of the old key-value table."""
    [text] = [row["value"] for row in rows_of("meta") if row["name"] == name]
    return str(text)


def in_seconds(value: Any) -> Any:
    """Return a time as the dump has it."""
    return value.timestamp() if isinstance(value, datetime) else value


# -- an old installation ------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of the old ledger."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.url(server.new_database())
    return f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}"


@pytest.fixture
def old(ledger_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Set up today's code on the data folder of the older version, a moment after that stopped."""
    home = tmp_path / "home"
    home.mkdir()
    build_ledger(ledger_url)
    fill_vault(home)
    clock = TestClock((taken_at() - datetime.now(timezone.utc)).total_seconds())
    with SandboxServer(World(clock)) as server:
        plant(server.world)
        stored: dict[str, Any] = {} if ledger_url.startswith("sqlite") else {"ledger_url": ledger_url}
        yield Pipeline(server, clock, home, **SETTINGS, **stored)


def addresses(names: Iterable[str]) -> set[str]:
    return {PEOPLE[name].address for name in names}


# -- the facts of the dump, by the functions of today -------------------------------------------------
# A change of the ledger's functions changes the calls here, and none of the expected facts.


def check_facts(root: Composition) -> None:
    """Check that every fact of the older version is still known; reads only."""
    ledger = root.ledger
    assert {partition.key for partition in known_events(ledger).values()} == {
        OLD, OVER, RESERVED, CORPORATE, INDIVIDUAL, EARLY,
    }  # fmt: skip
    assert has_begun(ledger, "2030")
    assert has_begun(ledger, EDITION)
    assert beginning(ledger, "2030") == beginning(ledger, EDITION) == "new"
    check_people(root)
    check_lasting_facts(root)
    check_guest_list(root)
    check_batches(root)
    check_polls(root)
    check_alerts(root)
    check_identity_alone_is_left(root)
    check_vault(root)


def check_people(root: Composition) -> None:
    """Check the grants and invitations of every person, in every state."""
    for name, person in PEOPLE.items():
        periods = [[p.edition, p.period, p.state, p.added_by_us] for p in periods_of(root.ledger, key_of(name))]
        assert periods == renamed(person.grants), name
        invited = invitations_of(root.ledger, key_of(name))
        assert [[i.edition, i.period, i.state, i.batch_state] for i in invited] == renamed(person.invitations), name
    for row in rows_of("invitations"):
        [invitation] = [i for i in invitations_in(root.ledger, row["batch_key"]) if i.address_key == row["address_key"]]
        assert (invitation.reason, invitation.profile_id) == (row["reason"], row["profile_id"])
    [paul] = periods_of(root.ledger, key_of("paul"))
    assert paul.attempts == 2
    assert paul.retry_at is not None
    assert paul.retry_at > taken_at()
    [lena] = periods_of(root.ledger, key_of("lena"))
    assert lena.attempts == 1
    reasons = {name: invitations_of(root.ledger, key_of(name))[-1].reason for name in ("xaver", "kim", "zoe")}
    assert reasons == {
        "xaver": "HARD_BOUNCE",
        "kim": "Klaviyo refused the address",
        "zoe": "Cancelled: Billing Limit",
    }
    assert memberships_of(root.ledger, key_of("kim")) == {EARLY: None}
    assert unconfirmed_members(root.ledger, EARLY) == {key_of("jana")}


def check_lasting_facts(root: Composition) -> None:
    """Check facts that no poll may change either."""
    ledger = root.ledger
    assert erased_ids(ledger, CORPORATE) == {700121}
    assert erased_ids(ledger, INDIVIDUAL) == {700128}
    assert [key for key in (OLD, OVER, RESERVED, CORPORATE) if is_purged(ledger, key)] == [OLD, OVER]
    assert edition_before(ledger, EDITION) == "2030"
    assert sales_by_day(ledger, "2030") == {date(2027, 3, 1): {("individual", "Regular 一般票"): Counts(2, 2)}}
    days = sales_by_day(ledger, EDITION)
    assert list(days) == [date(2027, 3, 3), date(2027, 4, 12), date(2027, 4, 13)]
    assert days[date(2027, 4, 13)]["corporate", "Corporate 企業票"] == Counts(3, 3, 1, 1)
    last_report = last_report_day(ledger, "sales", "of any channel")
    assert last_report is not None
    assert last_report >= date(2027, 4, 13)
    for row in rows_of("remote_ids"):
        assert remembered_id(ledger, row["kind"], row["name"]) == row["remote_id"]


def check_guest_list(root: Composition) -> None:
    """Check the state of the list in Gather: its space, size, doubt and missing guests."""
    ledger = root.ledger
    state = guest_list_state(ledger)
    assert state.space_digest == "a838fdae631fe4954fa48b20654270e29a0f21acc6ed9a32cab3046ed7d4cbbd"
    assert not has_space_changed(ledger, root.settings.gather_space_id)
    assert state.size == 29
    assert state.doubted_size == 3
    assert state.doubted_in == "20270413T035119.929490"
    assert state.lacking == 20
    with ledger.engine.connect() as db:
        assert [list(row) for row in db.execute(sa.select(stale_events))] == [
            [row["partition_key"], row["edition"]] for row in rows_of("unread")
        ]
    assert grants_without_ticket(ledger, EDITION) == {}, "an event is stale: nobody's loss of a ticket is certain"
    assert lock_owner(ledger, LockName.GUEST_LIST) == "elsewhere~00000000~pid:[1]/4711/00000000-1/0badcafe"


def check_batches(root: Composition) -> None:
    """Check the accepted, open, doubtful and cancelled batches, and their pool lists."""
    ledger = root.ledger
    accepted, waiting = unfinished_batches(ledger, CORPORATE)
    assert (accepted.state, waiting.state) == ("accepted", "open")
    assert accepted.send_at is not None
    assert accepted.send_at > taken_at()
    assert waiting.campaign_id is not None
    assert waiting.send_intended_at is None
    [in_doubt] = unfinished_batches(ledger, EARLY)
    assert (in_doubt.state, in_doubt.accepted_at) == ("open", None)
    assert in_doubt.send_intended_at is not None
    [cancelled] = cancelled_batches(ledger, CORPORATE)
    assert cancelled.remote_status == "Cancelled: Billing Limit"
    with ledger.engine.connect() as db:
        pool = {row.list_name: row for row in db.execute(sa.select(pool_lists))}
        assert db.scalar(sa.select(sa.func.count()).select_from(rate_slots)) == 5
    for row in rows_of("batches"):
        batch = get_batch(ledger, row["batch_key"])
        assert {name: in_seconds(getattr(batch, name)) for name in row} == {**row, **renamed_batch(row)}
    used = {batch.list_name: batch.batch_key for batch in (accepted, waiting, in_doubt)}
    assert {name: row.batch_key for name, row in pool.items() if row.batch_key} == used
    assert sum(row.batch_key is None and row.released_at is not None for row in pool.values()) == 2


def check_polls(root: Composition) -> None:
    """Check the reading of every event, and since when an event has news that no poll processed."""
    ledger = root.ledger
    for row in rows_of("polls"):
        row["reread_count"] = row.pop("open_ids")
        before = row.pop("content_digest")
        poll = last_poll(ledger, row["partition_key"])
        assert poll is not None
        assert {name: in_seconds(getattr(poll, name)) for name in row} == row
        # Tables are made again once: the normal form of addresses changed. Purged orders make no rows.
        assert (poll.content_digest == before) == (row["partition_key"] in (OLD, OVER)), row["partition_key"]
    for table, ask in (("holdings", recorded_holders), ("members", list_members)):
        for partition_key in {row["partition_key"] for row in rows_of(table)}:
            keys = {row["address_key"] for row in rows_of(table) if row["partition_key"] == partition_key}
            assert set(ask(ledger, partition_key)) == keys
    poll = last_poll(ledger, CORPORATE)
    assert poll is not None
    assert (poll.known, poll.reread_count, poll.book_digest) == (12, 1, None)
    assert "the attendance book is empty" in (poll.problem or "")
    assert recorded_holders(ledger, RESERVED) == {key_of(n) for n in ("hans", "hilda", "hugo", "heidi", "nora")}
    noted = json.loads(note("unread since"))
    assert noted.keys() == {CORPORATE, INDIVIDUAL, EARLY, RESERVED}
    assert news_since(ledger) == {key: datetime.fromisoformat(text) for key, text in noted.items()}
    assert news_since(ledger)[CORPORATE].date() == date(2027, 3, 3)


def check_alerts(root: Composition) -> None:
    """Check open problems, sent alerts, and unreachable buyers."""
    ledger = root.ledger
    problems = open_problems(ledger)
    assert lines_of(asdict(problem) for problem in problems) == lines_of(kept_problems("troubles"))
    sent = [
        {"cause": a.cause, "title": a.title, "size": a.size, "raised_at": a.raised_at, "told_at": a.sent_at}
        for a in sent_alerts(ledger, channel="").values()
    ]
    known = [{name: in_seconds(value) for name, value in alert.items()} for alert in sent]
    expected = kept_problems("alarms")
    assert {alert["cause"] for alert in known} == {alert["cause"] for alert in expected}
    assert [alert for alert in known if alert not in expected] == []
    failures = {(p.partition_key, p.subject, p.cause) for p in problems if p.is_failure}
    assert (CORPORATE, "gather_guestlist", "Gather") in failures
    assert (EARLY, "klaviyo_list", "Klaviyo") in failures
    assert any(p.subject == "raw_kktix_orders" and not p.is_failure for p in problems)
    assert unserved_in(ledger, INDIVIDUAL) == {700137: Unserved("mail", "HARD_BOUNCE"), 700138: Unserved("mail")}
    assert unserved_in(ledger, EARLY) == {700143: Unserved("mail", "Klaviyo refused the address")}
    without_address = {row["partition_key"]: 0 for row in rows_of("polls")} | {INDIVIDUAL: 1}
    for partition_key, number in without_address.items():
        poll = last_poll(ledger, partition_key)
        assert poll is not None
        assert poll.without_address == number
    for partition_key in (INDIVIDUAL, EARLY):
        assert last_search(ledger, partition_key) == json.loads(note(f"unreachable {partition_key}"))["state"]
    assert rejected_guests(ledger, EDITION, INDIVIDUAL) == {key_of("paul")}


def check_identity_alone_is_left(root: Composition) -> None:
    """Check that the key-value table holds no fact about a person or event any more."""
    with root.ledger.engine.connect() as db:
        assert {row.name: row.value for row in db.execute(sa.select(meta))} == {
            "schema": str(SCHEMA_VERSION),
            "normalisation": "2",
            "pseudonym key": "plain",
            "environment": "sandbox",
        }


def check_vault(root: Composition) -> None:
    """Check that every object opens, purged ones are empty, and erased people are in none."""
    held = {}
    for partition in known_events(root.ledger).values():
        snapshot = root.vault.read(partition.key)
        assert snapshot is not None, partition.key
        held[partition.key] = {contact_address(record.attendee) for record in snapshot.records.values()}
        assert bool(snapshot.quarantine) == (partition.key == INDIVIDUAL)
        assert snapshot.rebuilding == (partition.key in (OLD, OVER))
    assert held[OLD] == held[OVER] == set()
    assert held[RESERVED] == addresses({"hans", "hilda", "hugo", "heidi", "nora"})
    assert not addresses({"flora", "gerd"}) & set().union(*held.values())
    assert addresses({"victor", "lena", "stina", "ines"}) <= held[INDIVIDUAL]


def check_after_polls(root: Composition) -> None:
    """Check the facts that the ledger must know after some polls."""
    ledger = root.ledger
    states = {name: [[p.period, p.state, p.added_by_us] for p in periods_of(ledger, key_of(name))] for name in PEOPLE}
    for name in TO_BE_MAILED | TO_BE_LET_IN | {"hans", "hilda", "hugo", "heidi", "dora"}:
        assert states[name] == [[1, "granted", True]], name
    assert states["victor"] == [[1, "revoked", True]]
    assert states["lena"] == [[1, "revoking", True]]
    assert states["yara"] == [[1, "revoked", True], [2, "granted", True]]
    invited = {
        name: [[i.period, i.state, i.batch_state] for i in invitations_of(ledger, key_of(name))] for name in PEOPLE
    }
    for name in TO_BE_MAILED | {"dora"}:
        assert invited[name] == [[1, "accepted", "sent"]], name
    for name in NEVER.keys() - {"dora"}:
        assert [row[:2] for row in invited[name]] == [row[1:3] for row in renamed(PEOPLE[name].invitations)], name
    assert (guest_list_state(ledger).doubted_size, guest_list_state(ledger).doubted_in) == (None, None)
    assert unconfirmed_members(ledger, EARLY) == set()
    assert memberships_of(ledger, key_of("kim")) == {EARLY: None}
    check_lasting_facts(root)


# -- the claims ---------------------------------------------------------------------------------------


def test_the_fixture_lists_the_mails_to_come() -> None:
    assert {name for name, person in PEOPLE.items() if person.mails_to_come} == TO_BE_MAILED
    assert not NEVER.keys() & TO_BE_MAILED
    assert NEVER.keys() < PEOPLE.keys()


def test_every_fact_is_still_known(old: Pipeline) -> None:
    old.root.check()
    check_facts(old.root)
    assert Counter(old.mailed()) == {p.address: p.mails for p in PEOPLE.values() if p.mails}


@pytest.mark.long
def test_nobody_is_mailed_again_and_waiting_people_once(old: Pipeline) -> None:
    before = judged(old)
    mark, listed, guests = old.mark(), len(old.world.gather.history), old.guests()
    poll(old, POLLS)
    assert Counter(old.mailed(mark)) == dict.fromkeys(addresses(TO_BE_MAILED), 1)
    assert not addresses(NEVER) & set(old.mailed(mark))
    facts = old.world.gather.history[listed:]
    assert sorted(fact.address for fact in facts if fact.listed) == sorted(addresses(TO_BE_LET_IN))
    assert sorted(fact.address for fact in facts if not fact.listed) == sorted(addresses(TO_BE_REVOKED))
    assert old.guests() == (guests | addresses(TO_BE_LET_IN)) - addresses(TO_BE_REVOKED)
    assert judged(old) == before, "what the older version did on purpose is judged as it was, and nothing came to it"
    check_after_polls(old.root)
    later = old.mark()
    poll(old, 1)
    assert old.mailed(later) == []
    assert [call for call in old.writes(later) if "Guestlist" in call] == []


def judged(pipeline: Pipeline) -> list[Finding]:
    """Judge the whole history of the world, of both editions."""
    return verdict(pipeline.world, EDITION, events=pipeline.world.kktix.events, settled=False)


def poll(pipeline: Pipeline, times: int) -> None:
    for _ in range(times):
        if pipeline.ledger.engine.dialect.name == "postgresql":
            age_locks(pipeline.ledger.engine, INTERVAL_SECONDS)  # the same time passes on the server
        pipeline.later_poll()
