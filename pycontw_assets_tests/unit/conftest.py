"""A clock, a ledger and invented people for the unit tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
import sqlalchemy as sa

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Poll, record_poll
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.postgres import PostgresServer

# A busy machine must not fail an example for being slow.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

PSEUDONYMIZER = Pseudonymizer()
PARTITION = EventPartition(90001, "2031", "individual")
OTHER_PARTITION = EventPartition(90002, "2031", "corporate")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def postgres_database(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.new_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Runs every test that uses it on both engines."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.sqlite"
        return
    server, database = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_database")
    yield server.url(database)
    server.empty_database(database)


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return memory_ledger(clock)


def memory_ledger(clock: FakeClock) -> Ledger:
    """A database in memory, kept alive by a connection of its own: no disk to wait for."""
    name = f"file:{uuid4().hex}?mode=memory&cache=shared"
    keeper = sqlite3.connect(name, uri=True)
    ledger = Ledger(f"sqlite:///{name}&uri=true", clock=clock)
    sa.event.listen(ledger.engine, "engine_disposed", lambda _engine: keeper.close())
    return ledger


def empty_ledger(ledger: Ledger) -> None:
    """Empty the ledger and reset the clock. Compiled statements stay, which hundreds of worlds need."""
    names = sorted(sa.inspect(ledger.engine).get_table_names(), key=lambda name: name != "invitations")
    with ledger.engine.begin() as db:
        for name in names:
            db.exec_driver_sql(f"delete from {name}")
    ledger.clock = FakeClock()


def holder(address: str) -> Holder:
    return Holder(PSEUDONYMIZER.address(address), address.lower(), address)


def holders(*addresses: str) -> dict[str, Holder]:
    return {found.key: found for found in map(holder, addresses)}


def keys(*addresses: str) -> set[str]:
    return set(holders(*addresses))


HoldTickets = Callable[..., None]


@pytest.fixture
def hold_tickets(ledger: Ledger) -> HoldTickets:
    """Record the holders of an event as its last good poll."""

    def hold(addresses: Iterable[str], partition: EventPartition = PARTITION) -> None:
        record_holders(ledger, addresses, partition)

    return hold


def record_holders(ledger: Ledger, addresses: Iterable[str], partition: EventPartition = PARTITION) -> None:
    found = keys(*addresses)
    poll = Poll(partition.key, ledger.clock(), "digest", len(found), 0, None, "content")
    record_poll(ledger, partition.edition, poll, found)
