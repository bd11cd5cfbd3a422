"""What the access chain would do for one event: its own steps, run on a dry_run_copy. For ``plan`` and for dry runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pycontw_assets.deidentify.holders import holders_of
from pycontw_assets.ledger.batches import Batch, invitations_in, invitations_without_access, unfinished_batches
from pycontw_assets.ledger.lists import list_members, unconfirmed_members
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.masking import masked
from pycontw_assets.pipeline.steps import campaign_step, guest_list_step, stored_orders
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email.ticket_holders import list_changes


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """``people`` are masked; ``unreachable`` counts, by reason, those of them whom mail cannot reach."""

    people: tuple[str, ...]
    send_at: datetime | None
    is_new: bool
    unreachable: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EventPlan:
    """What would change outside for one event; addresses are masked."""

    partition_key: str
    new_attendees: int = 0
    granted: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    batches: tuple[PlannedBatch, ...] = ()
    list_joining: int = 0
    list_leaving: int = 0
    withdrawn: int = 0  # from scheduled campaigns, having lost the ticket
    problems: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        changes = (self.granted, self.revoked, self.batches, self.list_joining, self.list_leaving, self.withdrawn)
        return not any(changes)


def plan_access(
    copy: Services, partition: EventPartition, poll_id: str, overrides: frozenset[str], new_attendees: int = 0
) -> EventPlan:
    """From the stored orders on: the guest list, the ticket-holder list, the batches. ``copy`` is a dry_run_copy."""
    holders = holders_of(stored_orders(copy, partition), copy.pseudonymizer)
    before = _guests(copy)
    outcome = guest_list_step(copy, poll_id, overrides).run(partition, holders)
    after = _guests(copy)
    known, unsure = list_members(copy.ledger, partition.key), unconfirmed_members(copy.ledger, partition.key)
    joining, leaving = list_changes(holders, known, unsure)
    batches, problems = _plan_batches(copy, partition, holders, poll_id, overrides)
    return EventPlan(
        partition.key,
        new_attendees,
        tuple(masked(after[key]) for key in sorted(after.keys() - before.keys())),
        tuple(masked(before[key]) for key in sorted(before.keys() - after.keys())),
        batches,
        len(joining),
        len(leaving),
        _withdrawn(copy, partition),
        (*outcome.problems, *problems),
    )


def _withdrawn(copy: Services, partition: EventPartition) -> int:
    scheduled = [b for b in unfinished_batches(copy.ledger, partition.key) if b.send_at and b.send_at > copy.clock()]
    return sum(len(invitations_without_access(copy.ledger, batch)) for batch in scheduled)


def _guests(copy: Services) -> dict[str, str]:
    """Pseudonym -> address on the (rehearsed) guest list."""
    if copy.gather is None:
        return {}
    return {copy.pseudonymizer.address(address): address for address in copy.gather.read().entries}


def _plan_batches(
    copy: Services, partition: EventPartition, holders: Mapping[str, Holder], poll_id: str, overrides: frozenset[str]
) -> tuple[tuple[PlannedBatch, ...], list[str]]:
    step = campaign_step(copy, partition, poll_id, overrides, lambda: "")
    unsent = unfinished_batches(copy.ledger, partition.key)
    claimed = step.claim_newcomers(partition, holders, unsent)
    begun = [_planned(copy, batch, holders, is_new=False) for batch in unsent if batch.state == "open"]
    new = [_planned(copy, claimed, holders, is_new=True)] if claimed else []
    return (*begun, *new), step.outcome.problems


def _planned(copy: Services, batch: Batch, holders: Mapping[str, Holder], *, is_new: bool) -> PlannedBatch:
    invited = invitations_in(copy.ledger, batch.batch_key)
    people = [holders[item.address_key] for item in invited if item.state == "claimed" and item.address_key in holders]
    profiles = copy.klaviyo.find_profiles([holder.spelled for holder in people])
    reasons = Counter(reason for profile in profiles if (reason := profile.unreachable_because))
    return PlannedBatch(tuple(masked(holder.address) for holder in people), batch.send_at, is_new, dict(reasons))


def would_do(planned: EventPlan) -> dict[str, int | str]:
    """Counts for the metadata of a dry run's assets."""
    people = [len(batch.people) for batch in planned.batches]
    unreachable = sum(sum(batch.unreachable.values()) for batch in planned.batches)
    return {
        "would_let_in": len(planned.granted),
        "would_take_off": len(planned.revoked),
        "would_join_the_list": planned.list_joining,
        "would_leave_the_list": planned.list_leaving,
        "would_invite": sum(people) - unreachable,
        "would_not_reach": unreachable,
        "would_send_batches": len(people),
    }
