"""``contract-check --write-test-of-one``: sell one ticket to yourself, with a question before each write, and clean up.

It is the test of docs/setup.md, in a data folder, an edition and a warehouse of its own. A question that is answered
with no ends the test before that write. The cleaning up comes in any case.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.commands.plan import Plan, describe_plan, make_plan
from pycontw_assets.commands.poll import PARTS, describe_poll, run_poll
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.steps import invitation
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.settings import OFF, Settings, load_settings

if TYPE_CHECKING:
    from dagster import Definitions

EDITION = "2099"  # no real event has it
FOLDER = Path("test-of-one")
_PREFIX = f"pycontw-{EDITION}-"
_NO_WRITES = ("read report",)  # asked by POST, without effect
_THINKING_SECONDS = 3600  # a call waits as long for the person
_MOST_POLLS = 3  # after the cancellation
_AS_BEFORE = "the guest list is as it was before"

Confirm = Callable[[str], bool]
Say = Callable[[str], None]


class Refused(Exception):
    """The test was not begun, or not finished. The text says why."""


@dataclass(slots=True)
class Gatekeeper:
    """Ask before each request that may change something. No answer but yes lets it pass."""

    confirm: Confirm
    stop: Stop = field(default_factory=Stop)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, method: str, operation: str) -> None:
        """Raise ``Stopped`` unless the person agrees. Nothing leaves this process afterwards."""
        if method == "GET" or operation in _NO_WRITES:
            return
        with self._lock:
            self.stop.check()
            if not self.confirm(f"The next write: {operation}. Let it go out?"):
                self.stop.ask()
            self.stop.check()


def settings_of_one(event_id: int, folder: Path) -> Settings:
    """Return the settings of the test: the services of the installation, and none of its stores or alarms."""
    return load_settings(
        pycontw_home=folder,
        dagster_home=None,
        edition=EDITION,
        kktix_events={str(event_id): {"edition": EDITION, "family": "individual"}},
        klaviyo_lists={},
        ledger_url=None,
        vault_url=None,
        warehouse="duckdb",
        alert_urls=None,
        heartbeat_url=None,
        invitation_send_at=None,
        pycontw_dry_run=False,
    )


@dataclass(kw_only=True)
class OneTicket:
    """One test. ``findings`` are statements about the services with whether they held, and ``left`` what stays."""

    settings: Settings
    confirm: Confirm
    say: Say
    findings: dict[str, bool] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    _before: frozenset[str] = frozenset()
    _may_have_written: bool = False

    def run(self) -> None:
        """Run the test, and clean up whatever happened."""
        self.findings["the test came to its end"] = self._is_done(self._test)
        if self._may_have_written:
            self._is_done(self._give_back)
            self._clean_up()
        if self.findings.get(_AS_BEFORE, True):
            shutil.rmtree(self.settings.home, ignore_errors=True)

    def _is_done(self, step: Callable[[], None]) -> bool:
        """Whether a step came to its end. Otherwise say why."""
        try:
            step()
        except Stopped:
            self.say("You said no. What is written from here on only takes back what was written before.")
        except (Refused, ServiceError) as error:
            self.say(f"{error}.")
        else:
            return True
        return False

    def _test(self) -> None:
        plan = self._plan()
        self.say("\n".join(describe_plan(plan)))
        if problem := unfit(plan, self.settings):
            raise Refused(f"{problem}. Nothing was written")
        if not self.confirm("Is that you, and are the real polls paused (`pycontw-assets pause`)?"):
            raise Refused("Nothing was written")
        self._before = self._guests()
        self._poll(self.settings)
        if not self.settings.gather_is_off:
            after = self._guests()
            is_one_more = self._before < after and len(after - self._before) == 1
            self.findings["one guest was added, and nobody was lost"] = is_one_more
            self.findings["the door opens"] = self.confirm("Can you enter the space with your address?")
        if not self.settings.mail_is_off:
            self.findings["the mail arrived"] = self.confirm("Is the mail in your inbox? Wait some minutes.")
            self.findings["the links of the mail work"] = self.confirm("Do the links in it work?")

    def _give_back(self) -> None:
        """Poll until the guest is off the list. An empty book is believed only with the override.

        Mail is off meanwhile: the cleaning up deletes what there is in Klaviyo.
        """
        if self._guests() == self._before:
            return
        self.findings[_AS_BEFORE] = False
        if not self.confirm(
            "Now cancel the order in KKTIX, so that you are taken off the guest list. Is it cancelled?"
        ):
            raise Refused("You stay on the guest list")
        for _ in range(_MOST_POLLS):
            self._poll(without_mail(self.settings), overrides=("book",))
            if self._guests() == self._before:
                self.findings[_AS_BEFORE] = True
                return

    def _clean_up(self) -> None:
        klaviyo = Composition(lambda: self.settings).klaviyo
        if klaviyo is not None:
            self.left += clean_klaviyo(klaviyo, invitation(EDITION, self.settings).name, self.confirm)
            self.left.append("your profile in Klaviyo, with two properties of this test")
        if not self.findings.get(_AS_BEFORE, True):
            self.left.append(f"you on the guest list of Gather; {self.settings.home} knows the entry")

    # -- the program's own steps, with a question before each write ---------------------------------------

    def _root(self, settings: Settings | None = None) -> Composition:
        keeper = Gatekeeper(self.confirm)
        options: dict[str, Any] = {"on_request": keeper.before, "deadline_seconds": _THINKING_SECONDS}
        return Composition(lambda: settings or self.settings, client_options=options, stop=keeper.stop)

    def _guests(self) -> frozenset[str]:
        gather = self._root().gather
        return frozenset() if gather is None else addresses(gather)

    def _plan(self) -> Plan:
        root = self._root()
        return make_plan(
            kktix=root.kktix,
            gather=root.gather,
            discord=root.discord,
            discord_roles=root.discord_roles,
            klaviyo=root.klaviyo,
            vault=root.vault_to_read,
            pseudonymizer=root.pseudonymizer,
            waits=root.waits,
            settings=root.settings,
            clock=root.clock,
        )

    def _poll(self, settings: Settings, overrides: Sequence[str] = ()) -> None:
        root = self._root(settings)
        root.check()

        def define(books: Any) -> Definitions:
            from pycontw_assets.orchestration.graph.build import build_definitions

            return build_definitions(root, books=books)

        self._may_have_written = True
        report = run_poll({name: getattr(root, name) for name in PARTS}, overrides, define)
        root.stop.check()  # a run that was stopped is not a poll that ended
        self.say("\n".join(describe_poll(report)))


def without_mail(settings: Settings) -> Settings:
    return settings.model_copy(update={"klaviyo_api_url": OFF})


def addresses(gather: GatherClient) -> frozenset[str]:
    """Return the addresses of the guest list. They stay in memory."""
    return frozenset(gather.read().entries)


def unfit(plan: Plan, settings: Settings) -> str | None:
    """Return why a plan is not one guest and one invitation; ``None`` if it is."""
    if len(plan.events) != 1:
        return (
            f"KKTIX lists {len(plan.events)} events of this test instead of one: is its number right, and is it open?"
        )
    event = plan.events[0]
    guests, mails = len(event.granted), sum(len(batch.people) for batch in event.batches)
    wanted = (0 if settings.gather_is_off else 1, 0 if settings.mail_is_off else 1)
    if (guests, mails) != wanted or event.new_attendees != 1:
        return (
            f"the plan is {event.new_attendees} attendees, {guests} guests and {mails} invitations, instead of one each"
        )
    return None


def clean_klaviyo(klaviyo: KlaviyoClient, template: str, confirm: Confirm) -> list[str]:
    """Delete what the test made, each thing after a question, and return what is left."""
    left: list[str] = []
    for name, delete in _things(klaviyo, template, left):
        if not confirm(f"Delete the {name} in Klaviyo?"):
            left.append(f"the {name} in Klaviyo")
            continue
        try:
            delete()
        except ServiceError as error:
            left.append(f"the {name} in Klaviyo ({error.reason})")
    return left


def _things(klaviyo: KlaviyoClient, template: str, left: list[str]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the drafts, lists and template of the test. A campaign that was sent cannot be deleted."""
    try:
        campaigns = klaviyo.find_campaigns(_PREFIX)
        lists = [mail_list for mail_list in klaviyo.find_lists() if mail_list.name.startswith(_PREFIX)]
        templates = klaviyo.find_templates(template)
    except ServiceError as error:
        left.append(f"everything in Klaviyo whose name begins with {_PREFIX} ({error.reason})")
        return
    for campaign in campaigns:
        if campaign.status != "Draft":
            left.append(f"the campaign {campaign.name} in Klaviyo, which was sent")
            continue
        yield f"draft {campaign.name}", partial(klaviyo.delete_campaign, campaign.campaign_id)
    for mail_list in lists:
        yield f"list {mail_list.name}", partial(klaviyo.delete_list, mail_list.list_id)
    for found in templates:
        yield f"template {found.name}", partial(klaviyo.delete_template, found.template_id)
