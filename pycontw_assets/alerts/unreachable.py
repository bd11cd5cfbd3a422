"""Buyers who hold a usable ticket and whom no mail can reach: told by attendee number, so that somebody asks them.

A cancelled campaign is another matter, with an alarm and a way back of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import sqlalchemy as sa
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.tables import LET_IN, batches, entitlements, grants, invitations, same_period
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pseudonyms import is_mailable, normalise_address
from pycontw_assets.records import AttendeeRecord

_COUNTED = "tickets_without_usable_address"


def unreachable_buyers(services: Services, instance: DagsterInstance, tick: Tick) -> Iterator[str]:
    """One line per seat, of events that are on sale. The orders are only opened where somebody is known to be one."""
    for key, fact in sorted(tick.facts.items()):
        if fact.book is None:
            continue
        reasons = _refused(services.ledger, fact.partition.edition, key)
        if reasons or _without_address(instance, key):
            yield from _found(services, key, fact.poll.content_digest if fact.poll else "", reasons)


def _found(services: Services, key: str, content_digest: str, reasons: dict[str, str]) -> list[str]:
    """Searched for when the orders or the reasons changed, not by every tick: to open many orders takes seconds."""
    state = hashlib.sha256(repr((content_digest, sorted(reasons.items()))).encode()).hexdigest()
    known = json.loads(services.ledger.noted(f"unreachable {key}") or "{}")
    if known.get("state") != state:
        known = {"state": state, "lines": list(_search(services, key, reasons))}
        services.ledger.note(f"unreachable {key}", json.dumps(known))
    lines: list[str] = known["lines"]
    return lines


def _search(services: Services, key: str, reasons: dict[str, str]) -> Iterator[str]:
    snapshot = services.vault.read(key)
    for record in snapshot.present if snapshot else ():
        if reason := _why(services, record, reasons):
            yield f"{key}: attendee {record.attendee.attendee_id} {reason}"


def _why(services: Services, record: AttendeeRecord, reasons: dict[str, str]) -> str | None:
    if not record.is_usable:
        return None
    address = normalise_address(contact_address(record.attendee) or "")
    if not is_mailable(address):
        return "gave no address that mail could reach: correct it in KKTIX"
    refused = reasons.get(services.pseudonymizer.digest(address))
    return f"cannot be mailed by Klaviyo ({refused}): ask for another address, correct it in KKTIX" if refused else None


def _refused(ledger: Ledger, edition: str, partition_key: str) -> dict[str, str]:
    """Pseudonym of an address that holds a ticket -> why its present invitation cannot arrive."""
    mine = sa.and_(invitations.c.address_key == entitlements.c.address_key, invitations.c.edition == edition)
    current = sa.and_(same_period, grants.c.state.in_(LET_IN))
    query = (
        sa.select(invitations.c.address_key, invitations.c.reason)
        .select_from(entitlements.join(invitations, mine).join(grants, current).join(batches))
        .where(entitlements.c.partition_key == partition_key, invitations.c.state == "unreachable")
        .where(batches.c.state != "cancelled")
    )
    with ledger.engine.begin() as db:
        return {row.address_key: row.reason or "no reason given" for row in db.execute(query)}


def _without_address(instance: DagsterInstance, partition_key: str) -> bool:
    """What the last reading of the orders counted."""
    latest = AssetRecordsFilter(AssetKey("raw_kktix_orders"), asset_partitions=[partition_key])
    for record in instance.fetch_materializations(latest, limit=1).records:
        found = record.asset_materialization
        counted = found.metadata.get(_COUNTED) if found else None
        return bool(counted and counted.value)
    return False
