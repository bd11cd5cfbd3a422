"""One letter on its way to Klaviyo: its draft, the checks, one sending, and its end.

The order is that of an invitation's batch: record, find or create, check, record the intent to send, send, record the
outcome. A restart at any step looks at the remote state first, and an uncertain send is never repeated blindly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pycontw_assets.api.client import NotFound, Refused, Unavailable
from pycontw_assets.api.log import log_step
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.letters.letters import Letter, intend_sending, update_letter
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.send_email import names
from pycontw_assets.send_email.campaign_sending import (
    DELETED,
    DELETED_IN_DOUBT,
    Sender,
    create_once,
    find_twice,
    send_state,
)
from pycontw_assets.send_email.find_or_create import ensure_list, ensure_template
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import SENT_STATUSES, UNMAILED_ENDS, Campaign
from pycontw_assets.send_email.letters.audience import Audience
from pycontw_assets.send_email.letters.letter import RenderedLetter
from pycontw_assets.send_email.list_membership import change_members
from pycontw_assets.send_email.recipients import describe_end
from pycontw_assets.send_email.wait_policy import WaitPolicy

LONGEST_WAY = timedelta(days=1)  # from the sending to the end, before a person has to look


class LetterWaits(Exception):
    """The letter is recorded and not sent. The text says why. The same command again goes on with it."""


@dataclass(slots=True, kw_only=True)
class LetterSending:
    """Brings one letter as far as Klaviyo takes it now. ``exclusive``: the lock on names in Klaviyo."""

    client: KlaviyoClient
    ledger: Ledger
    waits: WaitPolicy
    exclusive: Callable[[], AbstractContextManager[None]]
    sender: Sender

    # -- the draft --------------------------------------------------------------------------------

    def prepare(self, letter: Letter, rendered: RenderedLetter, audience: Audience) -> Letter:
        """Return the letter with a draft that has its template and goes to the audience. Nobody is mailed by it."""
        with self.exclusive():
            template_id = ensure_template(self.client, self.ledger, self.waits, rendered=rendered.mail)
        letter = update_letter(self.ledger, letter, template_id=template_id, people=audience.people)
        left_out = self._left_out(letter, audience)
        letter = self._ensure_campaign(letter, rendered, audience, left_out)
        try:
            self.client.assign_template(letter.message_id or "", template_id)
        except NotFound:
            record_remote_id(self.ledger, "template", rendered.mail.name, remote_id=None)
            raise LetterWaits("its template or draft was deleted; the same command again makes it anew") from None
        shown = self.client.message_template(letter.message_id or "")
        if shown is None or rendered.mail.version not in shown.html + shown.text:
            raise LetterWaits("its template does not show on the campaign yet; run the same command again")
        return letter

    def _left_out(self, letter: Letter, audience: Audience) -> tuple[str, ...]:
        """Return the list that the campaign excludes: second profiles of somebody, who would get two mails."""
        if not audience.second:
            return ()
        with self.exclusive():
            name = names.left_out_list(letter.edition, letter.letter_key)
            list_id = ensure_list(self.client, self.ledger, self.waits, name=name)
        present = self.client.list_member_ids(list_id)
        change_members(
            self.client, self.client.remove_from_list, list_id=list_id, profile_ids=set(present - audience.second)
        )
        change_members(self.client, self.client.add_to_list, list_id=list_id, profile_ids=set(audience.second))
        if not self.waits.until(self.waits.visible, lambda: self.client.list_member_ids(list_id) == audience.second):
            raise LetterWaits("people with two profiles do not show on the list that it leaves out; run it again")
        return (list_id,)

    def _ensure_campaign(
        self, letter: Letter, rendered: RenderedLetter, audience: Audience, left_out: tuple[str, ...]
    ) -> Letter:
        campaign = self._existing_campaign(letter)
        if campaign is not None and not _goes_to(campaign, audience, left_out):
            _refuse_begun(campaign)
            self.client.delete_campaign(campaign.campaign_id)
            campaign = None
        if campaign is None:
            now = self.ledger.clock()
            letter = update_letter(self.ledger, letter, campaign_intended_at=now, campaign_id=None, message_id=None)
            campaign = self._create_campaign(letter, rendered, audience, left_out)
        _refuse_begun(campaign)
        message_id = campaign.message_id or self.client.get_campaign(campaign.campaign_id).message_id
        return update_letter(self.ledger, letter, campaign_id=campaign.campaign_id, message_id=message_id)

    def _create_campaign(
        self, letter: Letter, rendered: RenderedLetter, audience: Audience, left_out: tuple[str, ...]
    ) -> Campaign:
        """Create a draft, which mails nobody. After a lost answer, look it up before creating it again."""

        def create() -> Campaign:
            return self.client.create_campaign(
                name=letter.campaign_name,
                included_lists=sorted(audience.lists),
                excluded_lists=left_out,
                label="letter",
                subject=rendered.mail.subject,
                preview_text=rendered.mail.preview_text,
                from_email=self.sender.from_email,
                from_label=self.sender.from_label,
                reply_to=self.sender.reply_to,
            )

        return create_once(create, lambda: self._existing_campaign(letter))

    def _existing_campaign(self, letter: Letter) -> Campaign | None:
        """Find the campaign by its id, or by its name when an earlier creation may have succeeded. Look twice."""
        if letter.campaign_id is not None:
            try:
                return self.client.get_campaign(letter.campaign_id)
            except NotFound:
                return None
        if letter.campaign_intended_at is None:
            return None
        return find_twice(self.client, self.waits, lambda: self._campaigns_of(letter))

    def _campaigns_of(self, letter: Letter) -> list[Campaign]:
        """Return the campaigns of the name, those that were sent first, then the oldest.

        One that ended before its first mail is over: it is the reason why the letter is sent again.
        """
        found = [c for c in self.client.find_campaigns(letter.letter_key) if c.name == letter.campaign_name]
        of_letter = [c for c in found if c.status not in UNMAILED_ENDS]
        return sorted(of_letter, key=lambda c: (c.status == "Draft", c.created_at is None, c.created_at, c.campaign_id))

    # -- sending ----------------------------------------------------------------------------------

    def check(self, letter: Letter, audience: Audience) -> None:
        """Raise ``LetterWaits`` unless all holds that must hold before the point of no return."""
        campaign_id = letter.campaign_id or ""
        try:
            campaign = self.client.get_campaign(campaign_id)
        except NotFound:
            raise LetterWaits("its draft was deleted in Klaviyo; run the same `announce` again, or cancel it") from None
        _refuse_begun(campaign)
        if campaign.uses_smart_sending is not False or not _goes_to(campaign, audience, campaign.excluded_lists):
            raise LetterWaits("its draft is not for the lists of today; run the same `announce` command again")
        if bool(audience.second) != bool(campaign.excluded_lists):
            raise LetterWaits("who has two profiles changed since; run the same `announce` command again")
        if campaign.excluded_lists and self.client.list_member_ids(campaign.excluded_lists[0]) != audience.second:
            raise LetterWaits("who has two profiles changed since; run the same `announce` command again")
        self._check_estimate(campaign_id, len(frozenset().union(*audience.lists.values()) - audience.second))

    def _check_estimate(self, campaign_id: str, most: int) -> None:
        """Refuse more recipients than there are members. Fewer are usual: mail cannot reach all of them."""
        self.client.request_estimate(campaign_id)
        self.waits.sleep(self.waits.step)
        estimate = self.client.estimate(campaign_id)
        if estimate is None:
            self.waits.until(self.waits.estimate, lambda: self.client.estimate_job_done(campaign_id))
            estimate = self.client.estimate(campaign_id)
        if estimate is not None and estimate > most:
            raise LetterWaits(f"Klaviyo estimates {estimate} recipients for {most}; look at the lists there")

    def send(self, letter: Letter) -> Letter:
        """Send the campaign once. The intent is recorded before the call, the outcome after it."""
        if not intend_sending(self.ledger, letter):
            raise LetterWaits("another run has begun to send it, or it was withdrawn")
        try:
            self.client.send(letter.campaign_id or "")
        except Unavailable as error:
            if error.outcome_unknown:
                return self.resolve_doubt(letter)
            update_letter(self.ledger, letter, send_intended_at=None)
            raise
        except Refused:
            if send_state(self.client, letter.campaign_id or "") == "draft":
                update_letter(self.ledger, letter, send_intended_at=None)
                raise
            return self.resolve_doubt(letter)
        return self._accept(letter)

    def resolve_doubt(self, letter: Letter) -> Letter:
        """Find out whether a send with an unknown outcome happened. Only two equal answers prove that it did not."""
        state = send_state(self.client, letter.campaign_id or "")
        if state != "taken":
            self.waits.sleep(self.waits.draft_apart)
            earlier, state = state, send_state(self.client, letter.campaign_id or "")
            if state not in ("taken", earlier):
                raise LetterWaits("whether its campaign is there shows now this way, now that way")
        if state == "taken":
            return self._accept(letter)
        if state == "draft":
            return update_letter(self.ledger, letter, send_intended_at=None)
        return self._close(letter, DELETED_IN_DOUBT)

    def accept_if_sent_elsewhere(self, letter: Letter) -> Letter:
        """Count a draft that somebody sent in Klaviyo as sent, so that it is not sent again."""
        campaign = self._existing_campaign(letter)
        if campaign is None or campaign.status == "Draft":
            return letter
        return self._accept(update_letter(self.ledger, letter, campaign_id=campaign.campaign_id))

    def _accept(self, letter: Letter) -> Letter:
        log_step(
            "letter_sent",
            step="send_email",
            campaign=letter.campaign_id or "none",
            people=letter.people or 0,
            outcome="sent",
        )
        return update_letter(self.ledger, letter, state="accepted", accepted_at=self.ledger.clock())

    # -- the end ----------------------------------------------------------------------------------

    def follow(self, letter: Letter, seconds: float) -> Letter:
        """Watch a letter that Klaviyo took over until it has ended, at most for so long. 0: look once."""
        statuses = ["Unknown"]

        def has_ended() -> bool:
            statuses[0] = self.client.get_campaign(letter.campaign_id or "").status
            return statuses[0] in SENT_STATUSES or statuses[0].startswith("Cancelled")

        try:
            is_over = self.waits.until(seconds, has_ended, at_once=not seconds)
        except NotFound:
            return self._close(letter, DELETED)
        if is_over:
            return self._close(letter, statuses[0])
        return update_letter(self.ledger, letter, remote_status=statuses[0])

    def _close(self, letter: Letter, status: str) -> Letter:
        state: Literal["sent", "cancelled"] = "sent" if status in SENT_STATUSES else "cancelled"
        log_step("letter_ended", step="send_email", campaign=letter.campaign_id or "none", outcome=state)
        return update_letter(self.ledger, letter, state=state, remote_status=status, ended_at=self.ledger.clock())

    def withdraw(self, letter: Letter) -> Letter:
        """Delete the draft of a letter that was not sent. Raise ``LetterWaits`` if it was, or may have been."""
        campaign = self._existing_campaign(letter)
        if campaign is not None:
            _refuse_begun(campaign)
            self.client.delete_campaign(campaign.campaign_id)
        cleared = {"campaign_id": None, "message_id": None, "campaign_intended_at": None, "send_at": None}
        return update_letter(self.ledger, letter, state="withdrawn", ended_at=self.ledger.clock(), **cleared)


def describe_letter_end(status: str | None) -> str:
    """Return what the end of a letter that was not sent means, in the words of every view."""
    if status in UNMAILED_ENDS:
        return f"{describe_end(status)}; when the cause is mended, the same `announce` command sends it"
    return f"{describe_end(status)}, so the program does not send it again; look at the campaign in Klaviyo"


def _goes_to(campaign: Campaign, audience: Audience, left_out: tuple[str, ...]) -> bool:
    """Whether a campaign has the audience and options that the letter is to have."""
    return set(campaign.included_lists) == set(audience.lists) and campaign.excluded_lists == left_out


def _refuse_begun(campaign: Campaign) -> None:
    if campaign.status != "Draft":
        raise LetterWaits(f"its campaign is {campaign.status} although this program did not send it; look in Klaviyo")
