"""``pycontw-assets demo``: play the whole main job in the sandbox with invented buyers, then print the verdict.

Installation and judgement are in ``scratch_installation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pycontw_assets.orchestration.poll import PollReport, RunReport
from pycontw_assets.play.scratch_installation import EDITION, ScratchInstallation, scratch_installation, verdict_lines
from pycontw_assets.sandbox import oracle
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.world import World


def play() -> bool:
    """Play every act; return whether every invariant held."""
    with scratch_installation() as installation:
        stage = _Stage(installation)
        for act in (_opening, _again, _late_payment, _refund, _transfer, _outages, _crash, _history_deleted):
            print(f"\n== {(act.__doc__ or '').strip()}", flush=True)
            act(stage)
        installation.judge()
        print("\n== Every buyer (masked): guest list, mails, tickets\n")
        print("\n".join(_table(installation.world)))
        print("\n== Invariants\n")
        print("\n".join(verdict_lines(installation.broken)))
        return installation.held


class _Stage:
    """A scratch installation with a believable sale. Its polls are printed run by run."""

    def __init__(self, installation: ScratchInstallation) -> None:
        self.installation = installation
        self.world = installation.world
        self.expect = installation.expect
        self.events = seed_demo(self.world, EDITION)

    def poll(self, **changes: str) -> PollReport:
        return self.installation.poll(lambda run: print("  " + describe_run(run)), **changes)


# -- the acts -------------------------------------------------------------------------------------


def _opening(stage: _Stage) -> None:
    """Sales have opened: the first poll lets in everybody who paid, and invites them"""
    report = stage.poll()
    stage.expect(2, report.ok, "the first poll reported problems")


def _again(stage: _Stage) -> None:
    """Nothing has happened since: the second poll reads, and changes nothing"""
    print(f"  {stage.installation.poll_without_news()} calls to KKTIX")


def _late_payment(stage: _Stage) -> None:
    """A convenience-store payment arrives: that buyer is invited by the next poll"""
    unpaid = next(
        t for t in stage.world.kktix.tickets.values() if t.event_id in stage.events.values() and not t.is_paid
    )
    stage.world.pay(unpaid.attendee_id)
    stage.poll()
    _expect_mails(stage, unpaid.address, 1)


def _refund(stage: _Stage) -> None:
    """A ticket is refunded: two good polls later its holder is off the guest list"""
    refunded = _sole_ticket(stage)
    stage.world.refund(refunded)
    stage.poll()
    stage.poll()
    address = oracle.normalise(stage.world.kktix.tickets[refunded].address)
    stage.expect(3, address not in map(oracle.normalise, stage.world.gather.guests), "a refunded guest is still in")


def _transfer(stage: _Stage) -> None:
    """A ticket changes hands: the new holder is let in and invited, the old one is removed"""
    moved = _sole_ticket(stage)
    old = stage.world.kktix.tickets[moved].address
    stage.world.transfer(moved, "successor@example.org")
    stage.poll(REFRESH_SECONDS="0")
    _expect_mails(stage, "successor@example.org", 1)
    guests = set(map(oracle.normalise, stage.world.gather.guests))
    stage.expect(3, oracle.normalise(old) not in guests, "the previous holder is still in")


def _outages(stage: _Stage) -> None:
    """Things fail: a malformed attendee, an empty attendance book, Gather down; then all of them recover"""
    world, event = stage.world, stage.events["individual"]
    (malformed,) = world.sell(event)
    (fine,) = world.sell(event)
    world.kktix.override(malformed, is_paid="perhaps")
    stage.poll()
    _expect_mails(stage, world.kktix.tickets[fine].address, 1, invariant=9)
    guests = dict(world.gather.guests)
    world.kktix.switches.shown_per_book[stage.events["corporate"]] = 0
    stage.poll()
    world.sell(event)
    fault = world.faults.add("gather", "status", status=503, times=None)
    failed = stage.poll()
    stage.expect(9, not failed.ok, "the poll did not report that Gather was down")
    stage.expect(4, guests.items() <= world.gather.guests.items(), "an empty book or a failure removed somebody")
    fault.times = 0
    world.kktix.switches.shown_per_book.clear()
    world.kktix.tickets[malformed].overrides.clear()
    stage.poll()
    stage.poll()


def _crash(stage: _Stage) -> None:
    """The pipeline is killed right after it asked Klaviyo to send; the next poll goes on from there"""
    stage.world.sell(stage.events["reserved"], 2)
    print("  killed" if stage.installation.killed_poll() else "  ended before it could be killed")
    stage.poll()


def _history_deleted(stage: _Stage) -> None:
    """All of Dagster's history is deleted: everything is materialized again, and nobody is mailed again"""
    stage.installation.poll_without_history()


def _expect_mails(stage: _Stage, address: str, count: int, invariant: int = 2) -> None:
    stage.world.klaviyo.settle()
    recipient = oracle.normalise(address)
    mails = sum(oracle.normalise(mail.address) == recipient for mail in stage.world.outbox)
    stage.expect(invariant, mails == count, f"{oracle.mask(address)} got {mails} mails instead of {count}")


def _sole_ticket(stage: _Stage) -> int:
    """Return a usable ticket whose holder has no other one."""
    holders = Counter(oracle.normalise(ticket.address) for ticket in stage.world.kktix.tickets.values())
    entitled = oracle.entitled(stage.world, EDITION)
    for ticket in stage.world.kktix.tickets.values():
        address = oracle.normalise(ticket.address)
        if ticket.is_usable and address in entitled and holders[address] == 1:
            return ticket.attendee_id
    raise LookupError("the sale has no buyer of a single ticket")


# -- what to show ---------------------------------------------------------------------------------


def describe_run(report: RunReport) -> str:
    """Return a line about a run, and one more per failure or problem."""
    counts = [
        f"{name.replace('_', ' ')} {number}"
        for asset in report.counts.values()
        for name, number in asset.items()
        if number and "/" not in name
    ]
    lines = [
        f"{'ok    ' if report.ok else 'FAILED'} {report.partition_key or report.job}: {', '.join(counts) or 'done'}"
    ]
    lines += [f"       {failure}" for failure in report.failures]
    lines += [f"       ! {problem}" for problem in report.problems]
    return "\n".join(lines)


def _table(world: World) -> Iterator[str]:
    """Yield a line per buyer, with a masked address."""
    mails = Counter(oracle.normalise(mail.address) for mail in world.outbox if not mail.by_hand)
    guests = set(map(oracle.normalise, world.gather.guests))
    tickets: dict[str, list[str]] = {}
    for ticket in world.kktix.tickets.values():
        event = world.kktix.events[ticket.event_id]
        story = (
            "usable"
            if ticket.is_usable
            else "cancelled"
            if not ticket.books
            else "unpaid"
            if not ticket.is_paid
            else "not activated"
        )
        kind = f"{event.family or 'other'} {event.edition or ''}".strip()
        tickets.setdefault(oracle.normalise(ticket.address), []).append(f"{kind}: {story}")
    yield f"  {'buyer':<24} {'guest list':<11} {'mails':<6} tickets"
    for address, stories in tickets.items():
        listed = "yes" if address in guests else "-"
        counted = ", ".join(f"{count} x {story}" if count > 1 else story for story, count in Counter(stories).items())
        yield f"  {oracle.mask(address) or '(no address)':<24} {listed:<11} {mails[address]:<6} {counted}"
