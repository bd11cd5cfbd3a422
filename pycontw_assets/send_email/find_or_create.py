"""Find or create a list or template by its name, and remember its id in the ledger.

Callers hold the lock on names in Klaviyo, so that two runs never create the same thing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pycontw_assets.api.client import Unavailable
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.remote_ids import creation_intended_at, intend_creation, record_remote_id, remembered_id
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy


class RenderedTemplate(Protocol):
    """A template whose name contains the version of its text."""

    @property
    def name(self) -> str: ...

    @property
    def html(self) -> str: ...

    @property
    def text(self) -> str: ...


def ensure_list(client: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, *, name: str) -> str:
    """Return the id of the list of this name. Create the list when there is none."""

    def find(name: str) -> list[str]:
        return [item.list_id for item in client.find_lists(name) if item.name == name]

    def create(name: str) -> str:
        return client.create_list(name).list_id

    return find_or_create(ledger, waits, kind="list", name=name, find=find, create=create)


def ensure_template(client: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, *, rendered: RenderedTemplate) -> str:
    """Return the id of the template of this text. Create the template when there is none."""

    def find(name: str) -> list[str]:
        return [item.template_id for item in client.find_templates(name) if item.name == name]

    def create(name: str) -> str:
        return client.create_template(name, html=rendered.html, text=rendered.text).template_id

    return find_or_create(ledger, waits, kind="template", name=rendered.name, find=find, create=create)


def find_or_create(
    ledger: Ledger,
    waits: WaitPolicy,
    *,
    kind: str,
    name: str,
    find: Callable[[str], Sequence[str]],
    create: Callable[[str], str],
) -> str:
    """Return the id of a list or template, and remember it. Names are not unique in Klaviyo, so the oldest wins.

    ``find`` gives the ids of a name, oldest first. When an earlier creation may have succeeded, the name is looked up
    twice before it is created again.
    """
    remembered = remembered_id(ledger, kind, name)
    if remembered:
        return remembered
    in_doubt = creation_intended_at(ledger, kind, name) is not None
    remote_id = _look(waits, name, find, twice=in_doubt)
    if remote_id is None:
        intend_creation(ledger, kind, name)
        try:
            remote_id = create(name)
        except Unavailable as error:
            if not error.outcome_unknown:
                raise
            remote_id = _look(waits, name, find, twice=True) or create(name)
    record_remote_id(ledger, kind, name, remote_id=remote_id)
    return remote_id


def _look(waits: WaitPolicy, name: str, find: Callable[[str], Sequence[str]], *, twice: bool) -> str | None:
    """Return the oldest id of a name. ``twice``: look again, because Klaviyo's index may be late (assumed)."""
    ids = find(name)
    if not ids and twice:
        waits.sleep(waits.second_look)
        ids = find(name)
    return ids[0] if ids else None
