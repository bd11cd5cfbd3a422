"""Forgetting one person in Klaviyo: off every list of this program, and, where the settings say so, the profile itself.

The ledger knows no address, so polls that go on with it know the person by pseudonym and profile ids only.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from contextlib import suppress
from dataclasses import dataclass

from pycontw_assets.api.client import Misconfigured, NotFound
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import forget_members, pool_list_names
from pycontw_assets.ledger.people import (
    entitlements_of,
    erased_attendees_of,
    invitations_of,
    memberships_of,
    note_profiles,
    noted_profiles,
)
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.list_membership import change_members
from pycontw_assets.send_email.names import ticket_holder_list
from pycontw_assets.send_email.wait_policy import WaitPolicy


class NotYet(Exception):
    """The place has not confirmed that the person is gone from it. The text says why."""


def profiles_in_ledger(ledger: Ledger, keys: Collection[str]) -> set[str]:
    """Return the profile ids that the ledger has of these pseudonyms."""
    of_lists = {profile_id for key in keys for profile_id in memberships_of(ledger, key).values()}
    of_batches = {item.profile_id for key in keys for item in invitations_of(ledger, key)}
    return {profile_id for profile_id in of_lists | of_batches if profile_id}


@dataclass(frozen=True, kw_only=True)
class MailServiceErasure:
    """Forget the person with the pseudonym ``key`` (``former``: older ones) in Klaviyo."""

    klaviyo: KlaviyoClient
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    waits: WaitPolicy
    key: str
    former: Collection[str] = ()

    def leave_lists(self) -> list[str]:
        """Remove the person's profiles from all lists, wait until they do not show there, and return what was done."""
        done = []
        joined = {key for each in (self.key, *self.former) for key in memberships_of(self.ledger, each)}
        for partition in known_events(self.ledger).values():
            erased = {item.address_key for item in erased_attendees_of(self.ledger, partition.key)}
            if partition.key not in joined and self.key not in erased:
                continue
            list_id = remembered_id(self.ledger, "list", ticket_holder_list(partition))
            left = self._leave_holder_list(list_id) if list_id else frozenset()
            forget_members(self.ledger, partition.key, [self.key, *self.former])
            if left or partition.key in joined:
                done.append(f"{partition.key}: off the ticket-holder list in Klaviyo")
        profiles = self.profiles()
        left_pool = sum(self._leave_pool_list(name, profiles) for name in pool_list_names(self.ledger))
        return [*done, f"off the lists of batches in Klaviyo ({left_pool})"] if left_pool else done

    def _leave_holder_list(self, list_id: str) -> Set[str]:
        """Return the profiles that were removed; none when the list is gone, and its members with it."""
        with suppress(NotFound):
            members = self.klaviyo.list_members(list_id)
            theirs = {m.profile_id for m in members if m.email and self.pseudonymizer.address(m.email) == self.key}
            note_profiles(self.ledger, self.key, theirs)  # nothing else may know them once they are off
            self._leave(list_id, theirs, "a ticket-holder list")
            return theirs
        return frozenset()

    def _leave_pool_list(self, name: str, theirs: Set[str]) -> bool:
        """Say whether the person was on a list of the pool. Such lists keep the people of their last batch."""
        list_id = remembered_id(self.ledger, "list", name)
        if list_id is None or not theirs:
            return False
        with suppress(NotFound):
            present = theirs & self.klaviyo.list_member_ids(list_id)
            if present:
                self._leave(list_id, present, "a list of a batch")
            return bool(present)
        return False

    def _leave(self, list_id: str, theirs: Set[str], what: str) -> None:
        change_members(self.klaviyo, self.klaviyo.remove_from_list, list_id=list_id, profile_ids=theirs)
        is_gone = self.waits.until(
            self.waits.visible, lambda: not (theirs and theirs & self.klaviyo.list_member_ids(list_id))
        )
        if not is_gone:
            raise NotYet(f"Klaviyo still shows them on {what}")

    def profiles(self) -> set[str]:
        """Return the person's profile ids, as far as the ledger knows them."""
        return profiles_in_ledger(self.ledger, (self.key, *self.former)) | noted_profiles(self.ledger, self.key)

    def delete_profiles(self, spellings: Collection[str]) -> list[str]:
        """Ask Klaviyo to delete the profiles, and wait until it does not show them. Return what was done.

        ``spellings``: addresses to look for further profiles by, known only while the person who asked is here.
        Whoever bought again meanwhile is a new buyer, with the same profile: it stays.
        """
        if entitlements_of(self.ledger, self.key):
            return []
        if spellings:
            note_profiles(self.ledger, self.key, {p.profile_id for p in self.klaviyo.find_profiles(spellings)})
        present = self.klaviyo.existing_profiles(self.profiles())
        for profile_id in sorted(present):
            self._delete(profile_id)
        if not self.waits.until(self.waits.visible, lambda: not self.klaviyo.existing_profiles(present)):
            raise NotYet("Klaviyo was asked to delete the profile, and still shows it")
        return [f"Klaviyo: deleted the profile {' and '.join(sorted(present))}"] if present else []

    def _delete(self, profile_id: str) -> None:
        try:
            with suppress(NotFound):
                self.klaviyo.delete_profile(profile_id)
        except Misconfigured as error:
            raise NotYet(
                f"{error}. Give the key the scope data-privacy:write, or unset KLAVIYO_DELETE_PROFILES, delete the "
                "profile in Klaviyo by hand, and run `erase` again"
            ) from None
