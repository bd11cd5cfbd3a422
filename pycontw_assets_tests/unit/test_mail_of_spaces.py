"""With several spaces, every mail has the link to the space of the person who gets it."""

from __future__ import annotations

from typing import Any

import pytest

from pycontw_assets.authorize.spaces import Space
from pycontw_assets.ledger.grants import intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.steps import invitation, links_in_mail, venue_url, venue_urls
from pycontw_assets.send_email.by_event.invitation_event import Links
from pycontw_assets.send_email.by_event.reach import Reach
from pycontw_assets.send_email.campaign import MailOfSpace
from pycontw_assets.send_email.find_or_create import ensure_template
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings, Settings
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.events import FakeEvents
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import (
    PARTITION,
    empty_ledger,
    holders,
    keys,
    memory_ledger,
    record_holders,
)
from pycontw_assets_tests.unit.test_campaign import EDITION, ONE, THREE, TWO, Mail, step

NORTH, SOUTH = "AbCd\\North", "EfGh\\South Wing"
N, S = Space(NORTH).digest, Space(SOUTH).digest
TWO_SPACES = {"gather_space_id": f"{NORTH}:500,{SOUTH}", "invitation_venue_url": "https://venue.example/{space}"}


@pytest.fixture
def klaviyo(clock: FakeClock) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


def let_in(ledger: Ledger, space: str | None, *addresses: str) -> None:
    intend_grants(
        ledger, EDITION, PARTITION.key, keys(*addresses), added_by_us=True, state="granted", space=space
    )  # fmt: skip


def invite(klaviyo: Any, ledger: Any, *addresses: str, **options: Any) -> Any:
    ledger.clock.advance(minutes=5)
    record_holders(ledger, addresses)
    waits = WaitPolicy(sleep=ledger.clock.sleep)

    def mail_of(name: str) -> MailOfSpace:
        mail = Mail(name=f"pycontw-2031-invitation-{name}", version=name, html=f"<p>{name}</p>", text=name)
        template_id = lambda: ensure_template(klaviyo, ledger, waits, rendered=mail)  # noqa: E731
        return MailOfSpace(mail, template_id, Links(f"https://venue.example/{name}", None))

    of_spaces = {N: mail_of("north111"), S: mail_of("south222")}
    return step(klaviyo, ledger, of_spaces=of_spaces, **options).run(PARTITION, holders(*addresses))


def mails(klaviyo: FakeKlaviyo) -> dict[str, list[str]]:
    """Return the text of the mails that each address got."""
    got: dict[str, list[str]] = {}
    for campaign in klaviyo.sent:
        for address in campaign.mailed:
            assert campaign.template is not None
            got.setdefault(address, []).append(campaign.template.text)
    return got


def test_newcomers_of_two_spaces_get_one_campaign_for_each(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, S, TWO)
    let_in(ledger, N, ONE, THREE)
    outcome = invite(klaviyo, ledger, ONE, TWO, THREE)
    assert mails(klaviyo) == {ONE: ["north111"], TWO: ["south222"], THREE: ["north111"]}
    assert (outcome.invited, outcome.batches, outcome.problems) == (3, 2, [])
    assert invite(klaviyo, ledger, ONE, TWO, THREE).batches == 0


def test_the_limit_counts_the_newcomers_of_all_spaces_together(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, N, ONE, THREE)
    let_in(ledger, S, TWO)
    outcome = invite(klaviyo, ledger, ONE, TWO, THREE, invite_limit=2)
    assert (outcome.waiting, len(outcome.problems)) == (3, 1)
    assert not klaviyo.mailed


def test_a_second_ticket_in_another_space_brings_the_link_to_that_space(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, N, ONE)
    invite(klaviyo, ledger, ONE)
    set_grants(ledger, EDITION, keys(ONE), "revoked")
    let_in(ledger, S, ONE)
    invite(klaviyo, ledger, ONE)
    assert mails(klaviyo) == {ONE: ["north111", "south222"]}


def test_somebody_whose_space_nobody_knows_gets_the_mail_of_the_first(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, None, ONE)
    let_in(ledger, S, TWO)
    invite(klaviyo, ledger, ONE, TWO)
    assert mails(klaviyo) == {ONE: ["north111"], TWO: ["south222"]}


def test_an_event_carries_the_link_to_the_space_of_its_person(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, N, ONE)
    let_in(ledger, S, TWO)
    events = FakeEvents(klaviyo)
    outcome = invite(klaviyo, ledger, ONE, TWO, events=events, reach=Reach("event"))
    links = {address: properties["venue_url"] for (address, _), properties in events.taken.items()}
    assert links == {ONE: "https://venue.example/north111", TWO: "https://venue.example/south222"}
    assert outcome.batches == 1


@pytest.mark.slow
def test_killed_at_any_moment_everybody_gets_one_mail_with_the_right_link() -> None:
    ledger = memory_ledger(FakeClock())
    moment, moments = 0, 1
    while moment < moments:
        empty_ledger(ledger)
        klaviyo = FakeKlaviyo(ledger.clock)  # type: ignore[arg-type]
        record_holders(ledger, [ONE, TWO, THREE])
        let_in(ledger, N, ONE, THREE)
        let_in(ledger, S, TWO)
        fuse = Fuse(moment)
        try:
            invite(Fused(klaviyo, fuse), fused_ledger(ledger, fuse), ONE, TWO, THREE)
        except Killed:
            moments = moment + 2
        for _ in range(3):
            invite(klaviyo, ledger, ONE, TWO, THREE)
        assert mails(klaviyo) == {ONE: ["north111"], TWO: ["south222"], THREE: ["north111"]}, moment
        moment += 1
    assert moment > 50


# -- links --------------------------------------------------------------------------------------------


def test_one_space_has_the_link_of_the_setting() -> None:
    settings = Settings(gather_space_id=NORTH, invitation_venue_url="https://venue.example/a/b")
    assert venue_urls(settings) == {N: "https://venue.example/a/b"}
    assert links_in_mail(settings, S).venue_url == links_in_mail(settings).venue_url == "https://venue.example/a/b"


def test_each_space_has_its_own_link_and_its_own_mail() -> None:
    settings = Settings(**TWO_SPACES)
    assert venue_urls(settings) == {N: "https://venue.example/AbCd/North", S: "https://venue.example/EfGh/South%20Wing"}
    assert venue_url(settings) == venue_url(settings, "gone") == "https://venue.example/AbCd/North"
    north, south = (invitation("2031", settings, space) for space in (N, S))
    assert "https://venue.example/EfGh/South%20Wing" in south.html
    assert "https://venue.example/AbCd/North" in north.text
    assert north.name != south.name


@pytest.mark.parametrize("off", [{}, {"klaviyo_api_url": "off"}, {"gather_api_url": "off"}])
def test_several_spaces_with_one_link_are_refused_before_anything_runs(off: dict[str, str]) -> None:
    settings = Settings(**{**TWO_SPACES, "invitation_venue_url": "https://venue.example/north"}, **off)
    root = Composition(lambda: settings)
    if off:
        root.check_settings()
        return
    with pytest.raises(InvalidSettings, match=r"INVITATION_VENUE_URL: shows the same link .*\{space\}"):
        root.check_settings()
    Composition(lambda: Settings(**TWO_SPACES)).check_settings()
