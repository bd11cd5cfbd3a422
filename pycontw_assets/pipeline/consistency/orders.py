"""Whether an event's orders in the vault and the ledger are of the same time. Neither is trusted alone.

An older vault would let former holders in and new ones out; an older ledger would mail everybody since. A crash between
the two writes is no disagreement: the ledger knows which write was about to come.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pycontw_assets.ledger.consistency.marks import KnownOrders, known_orders, record_orders
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import erased_ids
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.ledger.restoration import doubt
from pycontw_assets.records import AttendeeRecord, EventPartition, OrderSnapshot, Quarantined
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.by_event.rebuild_from_events import count_unknown_events
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.rebuild_from_klaviyo import count_unknown_campaigns
from pycontw_assets.vault.vault import OrdersStore, VaultError

_READ_AGAIN = "read again, because what was stored may be of any time"

Verdict = Literal["same time", "older vault", "older ledger", "read again"]


class OlderVault(VaultError):
    """The vault holds orders of another time than the ledger. A person restores them, or has them read again."""


def compare(known: KnownOrders | None, stored: OrderSnapshot) -> Verdict:
    """Return which of the two is older. Orders and ledgers of older versions have no marks, and agree."""
    if known is None:
        return "same time" if stored.mark is None else "older ledger"
    if known.must_reread:
        return "read again"
    if stored.mark == known.mark or (stored.mark is not None and stored.mark == known.intended):
        return "same time"
    if stored.mark is None:
        return "older vault"
    return "older ledger" if stored.generation > known.generation else "older vault"


def started_over(stored: OrderSnapshot, erased: Collection[int] = ()) -> OrderSnapshot:
    """Return the orders without everything that may have changed since: attendees who left stay, others are read.

    Their numbers stay, so that one whom a book lacks just then is asked for, too. ``erased`` ones are never asked for.
    """
    gone = {number: record for number, record in stored.records.items() if record.gone_at is not None}
    again = {
        number: Quarantined(_READ_AGAIN, record.first_seen_at, attempts=0)
        for number, record in stored.records.items()
        if record.gone_at is None and number not in erased
    }
    return replace(stored, records=gone, quarantine=again, rotated_at=None, rebuilding=True)


class AgreedOrders:
    """An ``OrdersStore`` over ``vault`` that refuses orders of another time than ``ledger``, and marks each write.

    ``is_reading``: a poll reads the event now, so orders that are to be read again are. ``may_start_over``: the
    override by which orders older than the ledger are, too. An import has no mark: nothing outside depends on it.
    """

    def __init__(
        self, vault: OrdersStore, ledger: Ledger, *, is_reading: bool = False, may_start_over: bool = False
    ) -> None:
        self._vault = vault
        self._ledger = ledger
        self._read_again: dict[Verdict, bool] = {"read again": is_reading, "older vault": may_start_over}
        self._mark = uuid.uuid4().hex[:16]
        self._seen: dict[str, KnownOrders] = {}  # what the ledger has to know until the next write is done

    def read(self, key: str) -> OrderSnapshot | None:
        snapshot = self._vault.read(key)
        if snapshot is None or self._agrees(key, snapshot):
            return snapshot
        return started_over(snapshot, erased_ids(self._ledger, key))

    def stream(self, key: str) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]] | None:
        """Return the orders as ``Vault.stream`` does; the header alone tells their time."""
        stored = self._vault.stream(key)
        if stored is None or self._agrees(key, stored[0]):
            return stored
        header = started_over(stored[0])
        return header, (record for record in stored[1] if record.gone_at is not None)

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        key = snapshot.partition.key
        if snapshot.partition.is_imported:
            return self._vault.write(snapshot)
        seen = self._seen.get(key) or KnownOrders(snapshot.mark, snapshot.generation)
        record_orders(self._ledger, key, replace(seen, intended=self._mark))
        stored = self._vault.write(replace(snapshot, mark=self._mark))
        self._seen[key] = KnownOrders(stored.mark, stored.generation)
        record_orders(self._ledger, key, self._seen[key])
        return stored

    def _agrees(self, key: str, stored: OrderSnapshot) -> bool:
        if stored.partition.is_imported:
            return True
        known = known_orders(self._ledger, key)
        verdict = compare(known, stored)
        if verdict == "older ledger":
            edition = stored.partition.edition
            if self._ledger.can_write:
                doubt(self._ledger, edition)
            raise older_ledger(edition, f"the vault has newer orders of {key}")
        if verdict == "same time":
            self._seen[key] = KnownOrders(stored.mark, stored.generation)
            return True
        if self._read_again[verdict]:
            self._seen[key] = known or KnownOrders()  # what is stored stays unknown until it is replaced
            return False
        if verdict == "read again":
            raise OlderVault(f"vault: the orders of {key} are read again by its next poll; nothing is done before")
        raise OlderVault(
            f"vault: the orders of {key} are older than the ledger, as if the vault had been restored from a backup; "
            "nothing is done for the event. Put the newer vault back, or have everybody read again: "
            "`pycontw-assets poll --allow re-read`"
        )


@dataclass(frozen=True, slots=True)
class ReadOrders:
    """The stored orders of one event as a person may be shown them, or ``unread``: why they may not. Never both empty.

    ``note``: what is uncertain about orders that are shown.
    """

    snapshot: OrderSnapshot | None = None
    unread: str = ""
    note: str = ""


def read_for_people(vault: OrdersStore, ledger: Ledger) -> dict[EventPartition, ReadOrders]:
    """Return what is stored of every known event. Orders of another time than the ledger, or none, are not fine."""
    return {partition: _read_for_people(partition, vault, ledger) for partition in known_events(ledger).values()}


def _read_for_people(partition: EventPartition, vault: OrdersStore, ledger: Ledger) -> ReadOrders:
    try:
        snapshot = AgreedOrders(vault, ledger).read(partition.key)
    except (VaultError, LedgerError) as error:
        return ReadOrders(unread=str(error))
    if snapshot is None:
        poll = last_poll(ledger, partition.key)
        lost = f"vault: the orders of {partition.key} are gone; the next poll reads everybody again"
        return ReadOrders(unread=lost) if poll and poll.known else ReadOrders(OrderSnapshot(partition))
    if not snapshot.rebuilding:
        return ReadOrders(snapshot)
    if is_purged(ledger, partition.key):
        return ReadOrders(snapshot, note=f"the orders of {partition.key} left the vault after RETENTION_DAYS")
    return ReadOrders(snapshot, note=f"the orders of {partition.key} are being read again, so some may be missing here")


def refuse_older_ledger(edition: str, *, klaviyo: KlaviyoClient, ledger: Ledger) -> None:
    """Refuse to mail where Klaviyo has campaigns of the edition that this ledger did not make. Two requests."""
    if unknown := count_unknown_campaigns(klaviyo, ledger, edition):
        if ledger.can_write:
            doubt(ledger, edition)
        raise older_ledger(edition, _campaigns(unknown))


def signs_of_older_ledger(
    edition: str, *, klaviyo: KlaviyoClient | None, vault: OrdersStore, ledger: Ledger
) -> Iterator[str]:
    """Yield what vault and Klaviyo know and the ledger does not. Writes nothing; ``ServiceError`` where unreadable.

    ``klaviyo`` is ``None`` where all mail is switched off.
    """
    for partition in known_events(ledger).values():
        stored = vault.stream(partition.key) if partition.edition == edition else None
        if stored and compare(known_orders(ledger, partition.key), stored[0]) == "older ledger":
            yield f"the vault has newer orders of {partition.key}"
    if klaviyo is None:
        return
    if unknown := count_unknown_campaigns(klaviyo, ledger, edition):
        yield _campaigns(unknown)
    if events := count_unknown_events(EventsClient(klaviyo), ledger, edition):
        yield f"Klaviyo has {events} events that invited people of it and that this ledger does not know"


def refuse_signs(edition: str, *, klaviyo: KlaviyoClient | None, vault: OrdersStore, ledger: Ledger) -> None:
    """Refuse a doubted ledger until nothing speaks against it any more, because the newer one is back."""
    if signs := list(signs_of_older_ledger(edition, klaviyo=klaviyo, vault=vault, ledger=ledger)):
        raise older_ledger(edition, "; ".join(signs))


def _campaigns(unknown: int) -> str:
    return f"Klaviyo has {unknown} campaigns of it that this ledger did not make"


def older_ledger(edition: str, sign: str) -> LedgerError:
    """Return the refusal of a ledger that is older than what others know."""
    return LedgerError(
        f"the ledger is older than its edition {edition}: {sign}. It was restored from a backup, or another "
        "installation works with the same services. Nothing is done. Put the newer ledger back, or run "
        "`pycontw-assets rebuild-ledger`"
    )
