"""Announce a letter: whether it may go out, to whom, and the frame around its one sending.

A person decides. The letter is recorded before its first call that changes anything, so that a crash anywhere, another
machine or the same command again goes on with it, and never sends it a second time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.letters.letters import Letter, find_letter, letters_of, record_letter, update_letter
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.polls import Paused, last_poll, paused_since
from pycontw_assets.ledger.restoration import is_doubted
from pycontw_assets.pipeline.consistency.accounts import refuse_other_klaviyo_account
from pycontw_assets.pipeline.consistency.orders import older_ledger, refuse_older_ledger
from pycontw_assets.pipeline.letters.recipients import current_audience, events_of_letter
from pycontw_assets.pipeline.steps import exclusive, recorded_edition
from pycontw_assets.records import EventPartition, Family
from pycontw_assets.send_email import names
from pycontw_assets.send_email.campaign_sending import Sender
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import UNMAILED_ENDS
from pycontw_assets.send_email.letters.audience import Audience, ListsUnfit, count_missing
from pycontw_assets.send_email.letters.find_letters import find_letters
from pycontw_assets.send_email.letters.letter import RenderedLetter
from pycontw_assets.send_email.letters.letter_sending import LetterSending, LetterWaits, describe_letter_end
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore


class NotAnnounced(Exception):
    """The letter is not sent. The text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The recipients of a letter now. ``polled_at``: the oldest last poll of their events, so the age of the lists."""

    edition: str
    people: int
    events: int
    polled_at: datetime | None
    begun: Letter | None = None
    earlier: Sequence[Letter] = ()


def refusal(letter: Letter | None, families: Collection[Family]) -> str | None:
    """Return why this very letter must not be sent (again); ``None``: it may be, or what was begun goes on. Pure."""
    if letter is None or letter.state == "withdrawn":
        return None
    again = "nobody gets the same letter twice. A letter with other words is another letter"
    if letter.state in ("sent", "accepted"):
        when = f" on {letter.accepted_at:%Y-%m-%d %H:%M} UTC" if letter.accepted_at else ""
        return f"this letter left{when} for {letter.families}; {again}"
    if letter.state == "cancelled" and letter.remote_status not in UNMAILED_ENDS:
        return f"this letter ended as {letter.remote_status}: {describe_letter_end(letter.remote_status)}"
    if letter.families != describe_families(families):
        return (
            f"this letter was begun for {letter.families}; give the same --family again, or withdraw it first: "
            f"`pycontw-assets announce --cancel {letter.letter_key}`"
        )
    return None


def describe_families(families: Collection[Family]) -> str:
    return " ".join(sorted(families))


@dataclass(frozen=True, kw_only=True)
class Announcing:
    """Send a letter to everybody who holds a ticket of the live edition."""

    klaviyo: KlaviyoClient
    vault: OrdersStore
    ledger: Ledger
    waits: WaitPolicy
    settings: Settings

    def edition(self) -> str:
        """Return the live edition. Raise ``NotAnnounced`` where nothing may be sent at all."""
        if since := paused_since(self.ledger):
            raise NotAnnounced(str(Paused(since)))
        if self.settings.pycontw_dry_run:
            raise NotAnnounced("PYCONTW_DRY_RUN is set, so nothing is sent")
        edition = recorded_edition(self.ledger, self.settings)
        if edition is None:
            raise NotAnnounced("this ledger knows no edition yet; run `pycontw-assets poll` first")
        return edition

    def plan(self, rendered: RenderedLetter, families: Collection[Family]) -> Plan:
        """Return whom the letter would go to. No service is asked. Raise ``NotAnnounced`` where it is refused."""
        edition = self.edition()
        letter = find_letter(self.ledger, edition, rendered.key)
        if reason := refusal(letter, families):
            raise NotAnnounced(reason)
        partitions = events_of_letter(self.ledger, edition, families)
        audience = self._audience(partitions)
        polls = [poll for partition in partitions if (poll := last_poll(self.ledger, partition.key))]
        return Plan(
            edition=edition,
            people=audience.people,
            events=len(audience.lists),
            polled_at=min((poll.polled_at for poll in polls), default=None),
            begun=letter,
            earlier=[other for other in letters_of(self.ledger, edition) if other.letter_key != rendered.key],
        )

    def run(
        self, rendered: RenderedLetter, families: Collection[Family], send_at: datetime | None = None
    ) -> tuple[Letter, list[str]]:
        """Bring the letter as far as it comes now. Return it, and what a person must know.

        Raise ``NotAnnounced`` where it is refused, and ``ServiceError`` where Klaviyo fails: the same call goes on.
        """
        edition = self.edition()
        with exclusive(self.ledger, self.waits, LockName.LETTERS, edition):
            self._refuse_wrong_ledger(edition)
            letter = self._recorded(edition, rendered, families, send_at)
            try:
                return self._bring(letter, rendered, families)
            except (LetterWaits, ListsUnfit) as waits:
                raise NotAnnounced(f"letter {letter.letter_key} is recorded and not sent: {waits}") from None

    def withdraw(self, letter_key: str) -> Letter:
        """Withdraw a letter that was not sent: its draft is deleted. Raise ``NotAnnounced`` where it may have left."""
        edition = self.edition()
        with exclusive(self.ledger, self.waits, LockName.LETTERS, edition):
            letter = find_letter(self.ledger, edition, letter_key)
            if letter is None:
                raise NotAnnounced("no letter of this edition has that key; `announce --status` lists them")
            refuse_other_klaviyo_account(klaviyo=self.klaviyo, ledger=self.ledger, settings=self.settings)
            try:
                if letter.send_intended_at is not None and letter.state in ("begun", "ready"):
                    letter = self._sending.resolve_doubt(letter)
                if letter.state not in ("begun", "ready"):
                    raise NotAnnounced(f"letter {letter_key} is {letter.state}; only one that waits can be withdrawn")
                return self._sending.withdraw(letter)
            except LetterWaits as waits:
                raise NotAnnounced(f"letter {letter_key} is not withdrawn: {waits}") from None

    # -- parts ------------------------------------------------------------------------------------

    def _refuse_wrong_ledger(self, edition: str) -> None:
        refuse_other_klaviyo_account(klaviyo=self.klaviyo, ledger=self.ledger, settings=self.settings)
        if is_doubted(self.ledger, edition):
            raise older_ledger(edition, "others know more of it")
        refuse_older_ledger(edition, klaviyo=self.klaviyo, ledger=self.ledger)

    def _recorded(
        self, edition: str, rendered: RenderedLetter, families: Collection[Family], send_at: datetime | None
    ) -> Letter:
        """Return the letter as recorded, from now on at the latest. Raise ``NotAnnounced`` if it must not go on.

        Klaviyo is asked for a letter that this ledger does not know: another one may have sent it.
        """
        letter = find_letter(self.ledger, edition, rendered.key)
        if letter is None:
            # Where the lists are unfit, nothing is begun.
            self._audience(events_of_letter(self.ledger, edition, families))
            now = self.ledger.clock()
            found = find_letters(self.klaviyo, self.waits, edition, letter_key=rendered.key, now=now)
            fresh = Letter(
                edition=edition,
                letter_key=rendered.key,
                families=describe_families(families),
                state="begun",
                campaign_name=names.letter(edition, families, rendered.key),
                created_at=now,
                # Somebody may have made its draft already, with another ledger.
                campaign_intended_at=now,
            )
            letter = record_letter(self.ledger, found[0] if found else fresh)
        if reason := refusal(letter, families):
            raise NotAnnounced(reason)
        changes = {"send_at": send_at, "families": describe_families(families)}
        if letter.state in ("cancelled", "withdrawn"):
            changes |= {"state": "begun", "campaign_name": names.letter(edition, families, rendered.key)}
            changes |= dict.fromkeys(("campaign_id", "message_id", "send_intended_at", "accepted_at", "ended_at"))
            changes |= {"created_at": self.ledger.clock(), "remote_status": None}
        return update_letter(self.ledger, letter, **changes)

    def _bring(
        self, letter: Letter, rendered: RenderedLetter, families: Collection[Family]
    ) -> tuple[Letter, list[str]]:
        sending = self._sending
        in_doubt = letter.send_intended_at is not None
        letter = sending.resolve_doubt(letter) if in_doubt else sending.accept_if_sent_elsewhere(letter)
        notes: list[str] = []
        if letter.state in ("begun", "ready"):
            partitions = events_of_letter(self.ledger, letter.edition, families)
            audience = current_audience(self.ledger, self.vault, partitions)
            letter = sending.prepare(letter, rendered, audience)
            if letter.send_at is not None and letter.send_at > self.ledger.clock():
                return update_letter(self.ledger, letter, state="ready"), notes
            letter, notes = send_now(letter, partitions, vault=self.vault, sending=sending)
        if letter.state == "accepted":
            letter = sending.follow(letter, self.waits.follow)
        return letter, notes

    def _audience(self, partitions: Sequence[EventPartition]) -> Audience:
        try:
            return current_audience(self.ledger, self.vault, partitions)
        except ListsUnfit as unfit:
            raise NotAnnounced(str(unfit)) from None

    @property
    def _sending(self) -> LetterSending:
        return letter_sending(klaviyo=self.klaviyo, ledger=self.ledger, waits=self.waits, settings=self.settings)


def letter_sending(*, klaviyo: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, settings: Settings) -> LetterSending:
    return LetterSending(
        client=klaviyo,
        ledger=ledger,
        waits=waits,
        exclusive=lambda: exclusive(ledger, waits, LockName.MAIL_SERVICE_NAMES),
        sender=Sender(settings.klaviyo_from_email, settings.klaviyo_from_label, settings.klaviyo_reply_to),
    )


def send_now(
    letter: Letter, partitions: Sequence[EventPartition], *, vault: OrdersStore, sending: LetterSending
) -> tuple[Letter, list[str]]:
    """Check the lists of this moment, and send a prepared letter to them. Raise ``ListsUnfit`` or ``LetterWaits``."""
    audience = current_audience(sending.ledger, vault, partitions)
    missing = count_missing(sending.client, sending.ledger, sending.waits, partitions, audience)
    sending.check(letter, audience)
    letter = sending.send(update_letter(sending.ledger, letter, people=audience.people))
    if letter.state in ("begun", "ready"):  # certainly not sent, after a lost answer
        letter = sending.send(letter)
    notes = [f"{missing} holders do not show on the lists in Klaviyo, and get no letter"] if missing else []
    return letter, notes
