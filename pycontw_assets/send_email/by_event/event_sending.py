"""One batch of events: its people are checked, and each gets one event. A repeat is the same event.

The intent is recorded before an event is handed over, the outcome after it. In doubt the same event is handed over
again: Klaviyo counts it once. Without a live flow no event is handed over, and nobody counts as invited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pycontw_assets.api.at_once import ask_at_once
from pycontw_assets.api.client import NotFound, Refused, ServiceError, Unavailable
from pycontw_assets.api.log import log_step
from pycontw_assets.ledger.batches import (
    Batch,
    Invitation,
    close_batch,
    get_batch,
    invitations_in,
    release_invitations,
    update_batch,
    update_invitations,
)
from pycontw_assets.ledger.by_event.handing_over import Intent, intend_events, record_handed_over, withdraw_intents
from pycontw_assets.ledger.database.tables import LET_IN, REFUSED_ADDRESS, chunks
from pycontw_assets.ledger.grants import current_grants, grants_of
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import answers_about, list_members
from pycontw_assets.pseudonyms import normalise_address
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email.by_event.events_client import Metric
from pycontw_assets.send_email.by_event.flow_state import FlowState, flow_state
from pycontw_assets.send_email.by_event.invitation_event import Links, event_id, event_properties
from pycontw_assets.send_email.by_event.reach import Reach
from pycontw_assets.send_email.campaign_sending import STILL_TRUE, CampaignOutcome, NotYet
from pycontw_assets.send_email.invitation.personal import PersonalLinks, no_links
from pycontw_assets.send_email.klaviyo_records import Profile
from pycontw_assets.send_email.names import INVITATION_METRIC

_AT_A_TIME = 20  # people in doubt after a crash


class Events(Protocol):
    """The calls about events (``EventsClient``)."""

    def create_event(self, email: str, *, metric: str, event_id: str, properties: Mapping[str, Any]) -> None: ...

    def metrics(self) -> Sequence[Metric]: ...


class ProfileSearch(Protocol):
    """The one call about profiles."""

    def find_profiles(self, emails: Sequence[str]) -> Sequence[Profile]: ...


@dataclass(slots=True, kw_only=True)
class EventSending:
    """Hands the events of batches over. Counts go into ``outcome``.

    - ``links_of_spaces``: the links of people by their space, where the venue has several; ``links`` of all others.
    - ``reach``: whom a mail reaches, by today's settings.
    - ``send_at``: no event is handed over before then; ``None``: at once.
    - ``personal_links``: finds the links that are one person's own.
    - ``vouch``: raises before the first event of a batch where this ledger may have forgotten invitations.
    """

    events: Events
    profiles: ProfileSearch
    ledger: Ledger
    links: Links
    reach: Reach
    outcome: CampaignOutcome
    links_of_spaces: Mapping[str, Links] = field(default_factory=dict)
    send_at: datetime | None = None
    vouch: Callable[[], None] = lambda: None
    personal_links: PersonalLinks = no_links
    _flow: list[FlowState] = field(default_factory=list)

    def flow(self) -> FlowState:
        """Return the state of the flow, read once."""
        if not self._flow:
            self._flow.append(flow_state(self.events.metrics()))
        return self._flow[0]

    def advance(self, batch: Batch, partition: EventPartition, holders: Mapping[str, Holder]) -> Batch:
        """Hand over the events that are due, and close the batch when none is left. Raise ``NotYet`` where it waits."""
        self._release_others(batch, holders)
        claimed = [item for item in invitations_in(self.ledger, batch.batch_key) if item.state == "claimed"]
        if not claimed:
            return self._close(batch)
        due = [item for item in claimed if item.address_key in holders]
        if len(due) < len(claimed):
            self.outcome.notes.append(f"{len(claimed) - len(due)} events may have been handed over for other tickets")
        if self._is_held_back(batch):
            return batch
        if problem := self.flow().problem:
            raise NotYet(problem)
        if not any(item.event_id for item in claimed):
            self.vouch()
        profile_ids = self._leave_unreachable(batch, due, holders)
        self._hand_over(batch, partition, holders, profile_ids)
        return self._close(batch)

    def _release_others(self, batch: Batch, holders: Mapping[str, Holder]) -> None:
        """Take people out who lost their access. Without a ticket here, they leave if no event of theirs is in doubt.

        In doubt their invitation stays: another event of KKTIX, where they have a ticket, goes on with it.
        """
        claimed = [item for item in invitations_in(self.ledger, batch.batch_key) if item.state == "claimed"]
        grants = grants_of(self.ledger, batch.edition, {item.address_key for item in claimed})
        leaving = []
        for item in claimed:
            grant = grants.get(item.address_key)
            has_access = grant is not None and grant.period == item.period and grant.state in LET_IN
            if not (has_access and (item.address_key in holders or item.event_id is not None)):
                leaving.append(item.address_key)
        release_invitations(self.ledger, batch.batch_key, leaving)

    def _is_held_back(self, batch: Batch) -> bool:
        """Whether the time of the settings has not come. The batch shows the time of today's settings."""
        if batch.send_at != self.send_at:
            update_batch(self.ledger, batch.batch_key, send_at=self.send_at)
        if self.send_at is None or self.send_at <= self.ledger.clock():
            return False
        self.outcome.notes.append(f"events are held back until {self.send_at:%Y-%m-%d %H:%M} UTC")
        return True

    # -- people -----------------------------------------------------------------------------------

    def _leave_unreachable(
        self, batch: Batch, due: Sequence[Invitation], holders: Mapping[str, Holder]
    ) -> dict[str, str]:
        """Record why no mail reaches people of whom Klaviyo says so. Return profile ids by address key."""
        answers = answers_about(self.ledger, batch.partition_key, self.ledger.clock() - STILL_TRUE)
        profile_ids = {key: answer.profile_id for key, answer in answers.items()}
        reasons = {key: answer.reason for key, answer in answers.items() if answer.reason}
        unasked = {item.address_key: holders[item.address_key] for item in due if item.address_key not in answers}
        for key, profile in self._search(unasked):
            profile_ids.setdefault(key, profile.profile_id)
            if reason := profile.unreachable_because:
                reasons[key] = reason
        # In doubt whether an event was handed over, it is handed over again, whatever holds now.
        never_begun = [item.address_key for item in due if item.event_id is None]
        unreachable = [key for key in never_begun if key in reasons and not self.reach.is_reached(reasons[key])]
        for key in unreachable:
            update_invitations(self.ledger, batch.batch_key, [key], state="unreachable", reason=reasons[key])
        self.outcome.unreachable += len(unreachable)
        return profile_ids

    def _search(self, holders: Mapping[str, Holder]) -> Iterator[tuple[str, Profile]]:
        """Yield the profiles of people, in any spelling, with their address keys."""
        forms = {form: key for key, holder in holders.items() for form in (holder.spelled, *holder.former)}
        keys = {normalise_address(form): key for form, key in forms.items()}
        for profile in self.profiles.find_profiles(sorted(forms)) if forms else ():
            if key := keys.get(normalise_address(profile.email or "")):
                yield key, profile

    # -- events -----------------------------------------------------------------------------------

    def _hand_over(
        self,
        batch: Batch,
        partition: EventPartition,
        holders: Mapping[str, Holder],
        profile_ids: Mapping[str, str],
    ) -> None:
        members = list_members(self.ledger, batch.partition_key)
        links = self._links(batch.edition)
        refusals: list[ServiceError] = []
        due = [
            item
            for item in invitations_in(self.ledger, batch.batch_key)
            if item.state == "claimed" and item.address_key in holders
        ]
        for chunk in chunks(due, _AT_A_TIME):
            intents = {
                item.address_key: Intent(
                    item.address_key,
                    item.event_id or event_id(batch.edition, item.address_key, item.period),
                    profile_ids.get(item.address_key) or members.get(item.address_key) or item.profile_id,
                )
                for item in chunk
            }
            intend_events(self.ledger, batch.batch_key, list(intents.values()))
            refusals += self._hand_over_chunk(batch, partition, chunk, intents, holders, links=links)
        if refusals:
            raise refusals[0]

    def _links(self, edition: str) -> dict[str, Links]:
        """Return the links of everybody who was let into one of several spaces, by address key."""
        if not self.links_of_spaces:
            return {}
        grants = current_grants(self.ledger, edition)
        spaces = {key: grant.space_digest for key, grant in grants.items() if grant.space_digest}
        return {key: self.links_of_spaces[s] for key, s in spaces.items() if s in self.links_of_spaces}

    def _hand_over_chunk(
        self,
        batch: Batch,
        partition: EventPartition,
        chunk: Sequence[Invitation],
        intents: Mapping[str, Intent],
        holders: Mapping[str, Holder],
        *,
        links: Mapping[str, Links],
    ) -> list[ServiceError]:
        """Hand over the events of a few people at once, and record every outcome. ``links``: of some, by address key.

        Return the refusals of single events. Raise an error that concerns all events.
        """
        personal = self.personal_links(batch.edition, [item.address_key for item in chunk])

        def hand_over(item: Invitation) -> ServiceError | None:
            properties = event_properties(
                batch.edition,
                partition.family,
                period=item.period,
                batch_key=batch.batch_key,
                links=links.get(item.address_key, self.links),
                discord_url=personal.get(item.address_key),
            )
            try:
                self.events.create_event(
                    holders[item.address_key].spelled,
                    metric=INVITATION_METRIC,
                    event_id=intents[item.address_key].event_id,
                    properties=properties,
                )
            except ServiceError as error:
                return error
            return None

        errors = {item.address_key: error for item, error in ask_at_once(hand_over, chunk).items()}
        taken = [key for key, error in errors.items() if error is None]
        refused = [key for key, error in errors.items() if error is not None and _is_about_address(error)]
        record_handed_over(self.ledger, batch.batch_key, taken)
        for key in refused:
            update_invitations(
                self.ledger, batch.batch_key, [key], state="unreachable", reason=REFUSED_ADDRESS, event_id=None
            )
        never_begun = {item.address_key for item in chunk if item.event_id is None}
        undone = [key for key in never_begun if (error := errors[key]) is not None and _did_nothing(error)]
        withdraw_intents(self.ledger, batch.batch_key, undone)
        self.outcome.invited += len(taken)
        self.outcome.unreachable += len(refused)
        log_step(
            "events_handed_over",
            step="send_email",
            batch=batch.batch_key,
            people=len(taken),
            outcome="sent" if len(taken) + len(refused) == len(chunk) else "failed",
        )
        others = [error for key, error in errors.items() if error is not None and key not in refused]
        for error in others:
            if not isinstance(error, Refused):
                raise error
        return others

    def _close(self, batch: Batch) -> Batch:
        """Close a batch that has nobody left to invite."""
        people = invitations_in(self.ledger, batch.batch_key)
        if any(item.state == "claimed" for item in people):
            return get_batch(self.ledger, batch.batch_key)
        handed_over = [item for item in people if item.state == "accepted"]
        if handed_over:
            self.outcome.batch_keys.append(batch.batch_key)
            update_batch(self.ledger, batch.batch_key, accepted_at=self.ledger.clock())
        return close_batch(self.ledger, batch.batch_key, "sent" if handed_over else "empty", remote_status=None)


def _is_about_address(error: ServiceError) -> bool:
    """Whether Klaviyo does not take the address. Any other refusal would be one of everybody."""
    if not isinstance(error, Refused) or isinstance(error, NotFound):
        return False
    return any("email" in pointer for pointer in error.pointers)


def _did_nothing(error: ServiceError) -> bool:
    return isinstance(error, Unavailable) and not error.outcome_unknown
