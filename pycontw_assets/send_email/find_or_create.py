"""Lists and templates by name: found or made once, their ids remembered in the ledger.

Callers hold the lease on names, so that two runs never make the same thing twice.
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
    """A template whose name says which text it is."""

    @property
    def name(self) -> str: ...

    @property
    def html(self) -> str: ...

    @property
    def text(self) -> str: ...


def ensure_list(client: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, *, name: str) -> str:
    """The id of a list by its name, made when there is none."""

    def find(wanted: str) -> list[str]:
        return [found.list_id for found in client.find_lists(wanted) if found.name == wanted]

    def create(wanted: str) -> str:
        return client.create_list(wanted).list_id

    return find_or_create(ledger, waits, kind="list", name=name, find=find, create=create)


def ensure_template(client: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, *, rendered: RenderedTemplate) -> str:
    """The id of the template of this very text, made when there is none."""

    def find(wanted: str) -> list[str]:
        return [found.template_id for found in client.find_templates(wanted) if found.name == wanted]

    def create(wanted: str) -> str:
        return client.create_template(wanted, html=rendered.html, text=rendered.text).template_id

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
    """The id of a list or template. Names are not unique there, so the oldest wins, and the id is remembered.

    When an earlier creation ended unknown, the name is looked up twice before it is created again.
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
    """The oldest of that name. The name index may be late, so a doubt is worth a second look."""
    found = find(name)
    if not found and twice:
        waits.sleep(waits.second_look)
        found = find(name)
    return found[0] if found else None
