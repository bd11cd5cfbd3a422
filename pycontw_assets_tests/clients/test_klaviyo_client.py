"""The Klaviyo client sends exact requests, reads all pages, and repeats only what may be repeated."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pycontw_assets.api.client import Malformed, Misconfigured, NotFound, Refused, Unavailable
from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS, KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import (
    Campaign,
    ChangedShape,
    ImportJob,
    ImportProblem,
    MailingList,
    Profile,
    Template,
)
from pycontw_assets_tests.clients.scripted_server import HTML, RESET, Answer, Received, ScriptedServer

KEY = "pk_test_0000"
ADDRESS = "buyer-one@example.org"
LIST = "LsT001"
CAMPAIGN = "01JCAMPA1GN000000000000001"
MESSAGE = "01JMESSAGE0000000000000001"
NOON = datetime(2031, 6, 1, 12, tzinfo=timezone.utc)
DRAFT = {
    "name": "pycontw-2031-invite-9f2c4a7d",
    "included_lists": (LIST,),
    "subject": "Your way in",
    "preview_text": "It is open",
    "from_email": "hello@example.org",
    "from_label": "PyCon TW",
    "reply_to": "help@example.org",
}


@pytest.fixture
def client(server, fake_time):
    return KlaviyoClient(server.url, KEY, sleep=fake_time.sleep, clock=fake_time.clock)


def resource(kind: str, identifier: str, **attributes: Any) -> dict[str, Any]:
    return {"type": kind, "id": identifier, "attributes": attributes, "links": {"self": "https://x.example.org/"}}


def one(kind: str, identifier: str, **attributes: Any) -> dict[str, Any]:
    return {"data": resource(kind, identifier, **attributes), "meta": {"agent_hints": {"next_steps": ["obey"]}}}


def page(*rows: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    return {"data": list(rows), "links": {"self": "https://x.example.org/", "next": following, "prev": None}}


def campaign_reply(**members: Any) -> dict[str, Any]:
    attributes = {
        "name": DRAFT["name"],
        "status": "Draft",
        "audiences": {"included": [LIST], "excluded": None},
        "send_options": {"use_smart_sending": False},
        "send_strategy": {"method": "immediate"},
        "created_at": "2031-06-01T12:00:00+00:00",
        **members,
    }
    messages = {"data": [{"type": "campaign-message", "id": MESSAGE}]}
    return {**resource("campaign", CAMPAIGN, **attributes), "relationships": {"campaign-messages": messages}}


def report(*counts: tuple[str, Any]) -> dict[str, Any]:
    """Return a values report with rows of campaign id and recipients."""
    rows = [
        {"groupings": {"campaign_id": campaign_id}, "statistics": {"recipients": number}}
        for campaign_id, number in counts
    ]
    return {"data": {"type": "campaign-values-report", "attributes": {"results": rows}}}


# Every call the client can make, with an answer to it.
CALLS: dict[str, tuple[Callable[[KlaviyoClient], Any], Any]] = {
    "find_lists": (lambda client: client.find_lists('Holders "2031"'), page()),
    "create_list": (lambda client: client.create_list("Holders"), one("list", LIST, name="Holders")),
    "list_member_ids": (lambda client: client.list_member_ids(LIST), page()),
    "list_members": (lambda client: client.list_members(LIST), page()),
    "list_members details": (lambda client: client.list_members(LIST, details=True), page()),
    "add_to_list": (lambda client: client.add_to_list(LIST, ["P1", "P2"]), Answer(204)),
    "remove_from_list": (lambda client: client.remove_from_list(LIST, ["P1", "P2"]), Answer(204)),
    "upsert_profile": (lambda client: client.upsert_profile(ADDRESS, {"ticket": "individual"}), one("profile", "P1")),
    "find_profiles": (lambda client: client.find_profiles([ADDRESS, 'o"dd+tag@example.org']), page()),
    "existing_profiles": (lambda client: client.existing_profiles(["P1", "P2"]), page()),
    "delete_profile": (lambda client: client.delete_profile("P1"), Answer(202)),
    "bulk_import": (lambda client: client.bulk_import({ADDRESS: {"a": 1}}, LIST), one("profile-bulk-import-job", "J1")),
    "bulk_import without list": (
        lambda client: client.bulk_import({ADDRESS: {}}),
        one("profile-bulk-import-job", "J1"),
    ),
    "bulk_import_job": (
        lambda client: client.bulk_import_job("J1"),
        one("profile-bulk-import-job", "J1", status="complete", total_count=3, completed_count=None, failed_count=1),
    ),
    "bulk_import_errors": (lambda client: client.bulk_import_errors("J1"), page()),
    "find_templates": (lambda client: client.find_templates("invitation-v1"), page()),
    "create_template": (
        lambda client: client.create_template("v1", html="<p>", text="text"),
        one("template", "T1", name="v1"),
    ),
    "get_template": (lambda client: client.get_template("T1"), one("template", "T1", name="v1", html="<p>")),
    "create_campaign": (lambda client: client.create_campaign(**DRAFT), {"data": campaign_reply()}),
    "create_campaign later": (
        lambda client: client.create_campaign(**DRAFT, send_at=NOON.astimezone(timezone(timedelta(hours=8)))),
        {"data": campaign_reply()},
    ),
    "find_campaigns": (lambda client: client.find_campaigns("9f2c4a7d"), page(campaign_reply())),
    "find_campaigns archived": (lambda client: client.find_campaigns("9f2c4a7d", archived=True), page()),
    "get_campaign": (lambda client: client.get_campaign(CAMPAIGN), {"data": campaign_reply()}),
    "delete_campaign": (lambda client: client.delete_campaign(CAMPAIGN), Answer(204)),
    "assign_template": (lambda client: client.assign_template(MESSAGE, "T1"), one("campaign-message", MESSAGE)),
    "message_template": (lambda client: client.message_template(MESSAGE), one("template", "T1", name="v1")),
    "request_estimate": (lambda client: client.request_estimate(CAMPAIGN), Answer(202)),
    "estimate_job_done": (lambda client: client.estimate_job_done(CAMPAIGN), one("job", CAMPAIGN, status="queued")),
    "estimate": (lambda client: client.estimate(CAMPAIGN), one("estimate", CAMPAIGN, estimated_recipient_count=2)),
    "send": (lambda client: client.send(CAMPAIGN), Answer(202)),
    "send_job": (lambda client: client.send_job(CAMPAIGN), one("job", CAMPAIGN, status="queued")),
    "revert_send": (lambda client: client.revert_send(CAMPAIGN), Answer(204)),
    "metrics": (lambda client: client.metrics(), page()),
    "profile_events": (lambda client: client.profile_events("P1", NOON), page()),
    "count_recipients": (lambda client: client.count_recipients([CAMPAIGN], metric_id="R"), report()),
}
NOT_REPEATABLE = ("create_list", "create_template", "create_campaign", "create_campaign later", "send")


@pytest.fixture(params=CALLS)
def call(request):
    return request.param


def test_every_call_carries_key_revision_and_media_type(server, client, call):
    ask, answer = CALLS[call]
    server.will_answer(answer)
    ask(client)
    (request,) = server.received
    assert request.headers["authorization"] == f"Klaviyo-API-Key {KEY}"
    assert request.headers["revision"] == "2026-07-15"
    assert request.headers["accept"] == "application/vnd.api+json"
    assert request.headers.get("content-type") == ("application/vnd.api+json" if request.body else None)


@pytest.mark.parametrize("fault", [Answer(502), RESET, HTML], ids=["502", "reset", "page of the edge"])
def test_only_repeatable_calls_are_repeated(server, client, call, fault):
    ask, answer = CALLS[call]
    server.will_answer(fault, answer)
    if call in NOT_REPEATABLE:
        with pytest.raises(Unavailable) as caught:
            ask(client)
        assert caught.value.outcome_unknown
    else:
        ask(client)
    assert len(server.received) == (1 if call in NOT_REPEATABLE else 2)


@pytest.mark.parametrize("body", [b'{"data": ', {"data": None}, {"data": {"type": "list", "id": None}}, []])
@pytest.mark.parametrize("call", ["create_list", "create_template", "create_campaign"])
def test_an_unreadable_creation_is_not_repeated(server, client, call, body):
    server.will_answer(Answer(201, body))
    with pytest.raises(Unavailable) as caught:
        CALLS[call][0](client)
    assert caught.value.outcome_unknown
    assert len(server.received) == 1


def test_a_send_is_judged_by_its_status_alone(server, client):
    server.will_answer(Answer(202, b"{"))
    client.send(CAMPAIGN)
    assert server.received[0].json == {"data": {"type": "campaign-send-job", "id": CAMPAIGN}}


def test_a_retired_revision_is_not_taken_for_nothing_there(server, client, call):
    server.will_answer(Answer(410))
    with pytest.raises(Misconfigured, match="410"):
        CALLS[call][0](client)


def test_an_answer_in_another_revision_is_no_success(server, client, call):
    """A write may have happened all the same."""
    ask, answer = CALLS[call]
    good = answer if isinstance(answer, Answer) else Answer(body=answer)
    server.will_answer(replace(good, headers={**good.headers, "revision": "2026-10-15"}))
    expected = Unavailable if call in NOT_REPEATABLE else ChangedShape
    with pytest.raises(expected, match="its revision is not 2026-07-15") as caught:
        ask(client)
    assert getattr(caught.value, "outcome_unknown", True)
    server.will_answer(replace(good, headers={**good.headers, "revision": "2026-07-15"}))
    ask(client)


@pytest.mark.parametrize("members", [{"status": None}, {"status": ""}, {"status": 7}, {"definition": {"name": "x"}}])
def test_a_campaign_without_a_status_is_malformed_and_never_sent(server, client, members):
    reply = campaign_reply(**members)
    if "definition" in members:
        del reply["attributes"]["status"]
    server.will_answer({"data": reply}, page(reply))
    with pytest.raises(ChangedShape, match="a developer has moved the client up"):
        client.get_campaign(CAMPAIGN)
    with pytest.raises(ChangedShape):
        client.find_campaigns("9f2c4a7d")


def test_refused_filters_of_a_search_say_that_the_interface_changed(server, client):
    for search in (client.find_campaigns, lambda key: tuple(client.latest_campaigns(key))):
        server.will_answer(Answer(400, {"errors": [{"code": "invalid", "source": {"parameter": "filter"}}]}))
        with pytest.raises(ChangedShape, match="a developer has moved the client up"):
            search("9f2c4a7d")


def test_a_json_403_stops_and_a_page_from_the_edge_passes(server, client):
    server.will_answer(Answer(403, {"errors": [{"code": "permission_denied"}]}))
    with pytest.raises(Misconfigured):
        client.send(CAMPAIGN)
    server.will_answer(Answer(403, HTML.body), Answer(202))
    client.send(CAMPAIGN)


# Lists


def test_a_list_is_found_by_its_exact_name_oldest_first(server, client):
    server.will_answer(page(resource("list", LIST, name='A "b" & c', created="2031-05-01T08:00:00+08:00")))
    expected = MailingList(LIST, 'A "b" & c', datetime(2031, 5, 1, tzinfo=timezone.utc))
    assert client.find_lists('A "b" & c') == (expected,)
    assert server.received[0].query == {
        "filter": r'equals(name,"A \"b\" & c")',
        "sort": "created",
        "fields[list]": "name,created",
    }
    assert "+" not in server.received[0].raw_query


def test_a_list_is_created_without_double_opt_in(server, client):
    server.will_answer(Answer(201, one("list", LIST, name="Holders", created=None)))
    assert client.create_list("Holders") == MailingList(LIST, "Holders", None)
    attributes = {"name": "Holders", "opt_in_process": "single_opt_in"}
    assert server.received[0].json == {"data": {"type": "list", "attributes": attributes}}


def test_all_pages_are_read_from_the_same_host(server: ScriptedServer, fake_time):
    client = KlaviyoClient(server.url + "/prefix", KEY, sleep=fake_time.sleep, clock=fake_time.clock)
    path = f"/api/lists/{LIST}/relationships/profiles"
    server.will_answer(
        page({"id": "P1"}, following=f"https://a.klaviyo.com{path}?page%5Bcursor%5D=abc%3D&page[size]=100"),
        page({"id": "P2"}, following=f"https://a.klaviyo.com{path}?page%5Bcursor%5D=def"),
        {"data": [{"id": "P3"}]},
    )
    assert client.list_member_ids(LIST) == {"P1", "P2", "P3"}
    assert [request.path for request in server.received] == [f"/prefix{path}"] * 3
    assert [request.query.get("page[cursor]") for request in server.received] == [None, "abc=", "def"]
    assert server.received[0].query == {"page[size]": "100"}


@pytest.mark.parametrize("following", ["https://a.klaviyo.com/api/lists", "?page%5Bsize%5D=100", 7, {}])
def test_pages_that_lead_nowhere_or_in_a_circle_are_malformed(server, client, following):
    server.behave(lambda request: Answer(body=page(following=following)))
    with pytest.raises(Malformed):
        client.list_member_ids(LIST)
    assert len(server.received) <= 2


def test_pages_without_end_are_malformed(server, client):
    numbers = itertools.count()
    server.behave(lambda request: Answer(body=page(following=f"https://elsewhere.example/?page={next(numbers)}")))
    with pytest.raises(Malformed, match="never end"):
        client.find_lists()
    assert len(server.received) == 1000


@pytest.mark.parametrize("identifier", ["", "x" * 201, "a\0b", "\ud83d", "a\nb", 7, None, {"id": "x"}])
def test_an_id_that_no_store_could_hold_is_malformed(server, client, identifier):
    server.behave(lambda request: Answer(body=page({"type": "list", "id": identifier, "attributes": {"name": "x"}})))
    with pytest.raises(Malformed):
        client.find_lists()


def test_names_of_others_fit_every_store(server, client):
    server.will_answer(page(resource("list", "L1", name="a\0\ud83d" + "x" * 1000)))
    [found] = client.find_lists()
    assert found.name.startswith("a\ufffdx")
    assert len(found.name) < 201


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("HARD_BOUNCE", "HARD_BOUNCE"),
        ("mei@example.org bounced", "another reason"),
        ("X" * 100_000, "another reason"),
        ("A\0B", "another reason"),
        ({"address": "mei@example.org"}, "suppressed"),
    ],
)
def test_a_reason_is_a_word_of_klaviyo_or_not_shown(server, client, reason, shown):
    blocked = marketing(can_receive_email_marketing=False, suppression=[{"reason": reason}] * 9)
    server.will_answer(one("profile", "P1", subscriptions=blocked))
    profile = client.upsert_profile("mei@example.org", {})
    assert profile.unreachable_because == shown


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("Cancelled: Billing Limit", "Cancelled: Billing Limit"),
        ("Cancelled: mei@example.org", "Cancelled: another reason"),
        ("x" * 10_000, "Unknown"),
        ("A\0B", "Unknown"),
    ],
)
def test_a_status_is_in_the_words_of_klaviyo(server, client, status, shown):
    server.will_answer({"data": campaign_reply(status=status)})
    assert client.get_campaign("C1").status == shown


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "x" * 1000, 7])
def test_a_time_outside_the_calendar_is_none(server, client, created):
    server.will_answer(page(resource("list", "L1", name="x", created=created)))
    assert client.find_lists()[0].created_at is None


def test_a_lost_page_is_not_the_end_of_the_list(server, client):
    server.will_answer(page({"id": "P1"}, following="https://a.klaviyo.com/?page=2"))
    server.behave(lambda request: Answer(503))
    with pytest.raises(Unavailable):
        client.list_member_ids(LIST)


@pytest.mark.parametrize("body", [[], {}, {"data": None}, {"data": {}}, page("P1"), page({"id": 7}), page({})])
def test_members_of_another_shape_are_not_an_empty_list(server, client, body):
    server.will_answer(Answer(body=body))
    with pytest.raises(Malformed):
        client.list_member_ids(LIST)


def test_members_come_with_their_address_which_the_repr_hides(server, client):
    server.will_answer(page(resource("profile", "P1", email=ADDRESS), resource("profile", "P2", email=None)))
    members = client.list_members(LIST)
    assert members == (Profile("P1", ADDRESS), Profile("P2", None))
    assert ADDRESS not in repr(members)


def test_members_have_properties_that_the_repr_hides(server, client):
    marketing = {"can_receive_email_marketing": False, "consent": "UNSUBSCRIBED", "suppression": None}
    shown = {"properties": {"invite_key": "9f2c4a7d"}, "subscriptions": {"email": {"marketing": marketing}}}
    server.will_answer(page(resource("profile", "P1", email=ADDRESS, **shown)))
    [member] = client.list_members(LIST, details=True)
    assert (member.properties, member.can_receive_email) == ({"invite_key": "9f2c4a7d"}, False)
    assert "9f2c4a7d" not in repr(member)
    assert server.received[0].query["fields[profile]"] == "email,properties,subscriptions"
    assert server.received[0].query["additional-fields[profile]"] == "subscriptions"


def test_all_lists_are_read_without_a_filter(server, client):
    server.will_answer(page(resource("list", LIST, name="Holders")))
    assert [found.name for found in client.find_lists()] == ["Holders"]
    assert "filter" not in server.received[0].query


def test_archived_campaigns_are_asked_for_by_themselves(server, client):
    server.will_answer(page(campaign_reply()))
    assert len(client.find_campaigns("9f2c4a7d", archived=True)) == 1
    assert server.received[0].query["filter"].endswith(',contains(name,"9f2c4a7d"),equals(archived,true))')


@pytest.mark.parametrize(("method", "verb"), [("add_to_list", "POST"), ("remove_from_list", "DELETE")])
def test_membership_changes_a_thousand_at_a_time_body_included(server, client, method, verb):
    """Some libraries drop the body of a DELETE."""
    server.behave(lambda request: Answer(204))
    ids = [f"P{number}" for number in range(2001)]
    getattr(client, method)(LIST, iter(ids))
    assert [len(request.json["data"]) for request in server.received] == [1000, 1000, 1]
    assert {request.method for request in server.received} == {verb}
    assert {request.path for request in server.received} == {f"/api/lists/{LIST}/relationships/profiles"}
    sent = [row for request in server.received for row in request.json["data"]]
    assert sent == [{"type": "profile", "id": identifier} for identifier in ids]


def test_nobody_to_add_is_no_call(server, client):
    client.add_to_list(LIST, [])
    assert server.received == []


# Profiles


def marketing(**members: Any) -> dict[str, Any]:
    return {"email": {"marketing": members}}


def test_an_upsert_says_whether_mail_reaches_the_profile(server, client):
    suppression = [{"reason": "HARD_BOUNCE", "timestamp": "2031-01-01T00:00:00Z"}, {"reason": "UNSUBSCRIBE"}]
    state = marketing(can_receive_email_marketing=False, consent="UNSUBSCRIBED", suppression=suppression)
    server.will_answer(Answer(201, one("profile", "P1", email=ADDRESS, subscriptions=state)))
    profile = client.upsert_profile(ADDRESS, {"pycontw_2031_ticket": "individual"})
    assert profile == Profile("P1", ADDRESS, False, consent="UNSUBSCRIBED", suppressions=("HARD_BOUNCE", "UNSUBSCRIBE"))
    attributes = {"email": ADDRESS, "properties": {"pycontw_2031_ticket": "individual"}}
    assert server.received[0].json == {"data": {"type": "profile", "attributes": attributes}}
    assert server.received[0].query == {"additional-fields[profile]": "subscriptions"}


def test_what_klaviyo_says_about_a_profile_is_a_word_of_a_closed_list(server, client):
    """Its own text could quote the address, and is stored and sent to people."""
    reasons = [f"550 {ADDRESS}: no such user", "HARD_BOUNCE", "x", {}]
    suppression = [{"reason": reason} for reason in reasons]
    for consent, reasons, because in (
        (f"asked by {ADDRESS}", suppression, "another reason; HARD_BOUNCE"),
        (f"asked by {ADDRESS}", [], "suppressed"),
        ("UNSUBSCRIBED", [], "UNSUBSCRIBED"),
    ):
        state = marketing(can_receive_email_marketing=False, consent=consent, suppression=reasons)
        server.will_answer(Answer(201, one("profile", "P1", email=ADDRESS, subscriptions=state)))
        assert client.upsert_profile(ADDRESS, {}).unreachable_because == because


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("Sent", "Sent"),
        ("Cancelled: Billing Limit", "Cancelled: Billing Limit"),
        (f"Cancelled: {ADDRESS} was refused", "Cancelled: another reason"),
        (f"Waiting for {ADDRESS}", "Unknown"),
    ],
)
def test_the_status_of_a_campaign_is_a_word_of_a_closed_list(server, client, said, known):
    server.will_answer(page(campaign_reply(status=said)))
    (campaign,) = client.find_campaigns("9f2c4a7d")
    assert campaign.status == known


@pytest.mark.parametrize(
    "subscriptions",
    [None, {}, {"email": None}, marketing(), marketing(can_receive_email_marketing=None, suppression=None), "x"],
)
def test_a_missing_marketing_consent_is_unknown(server, client, subscriptions):
    server.will_answer(one("profile", "P1", email=None, subscriptions=subscriptions))
    assert client.upsert_profile(ADDRESS, {}) == Profile("P1", None)


def test_a_refused_address_is_not_quoted(server, client):
    errors = [{"code": "invalid", "detail": ADDRESS, "source": {"pointer": "/data/attributes/email"}}]
    server.will_answer(Answer(400, {"errors": errors}))
    with pytest.raises(Refused) as caught:
        client.upsert_profile(ADDRESS, {})
    assert caught.value.pointers == ("/data/attributes/email",)
    assert ADDRESS not in str(caught.value)


def test_many_profiles_are_asked_for_in_short_urls(server, client):
    server.behave(lambda request: Answer(body=page()))
    addresses = [f"{'long' * 20}-{number}@example.org" for number in range(150)] + [f"a{n}@b.tw" for n in range(250)]
    client.find_profiles(addresses)
    assert all(len(request.target) < 5000 for request in server.received)
    asked = [request.query["filter"].removeprefix("any(email,[").removesuffix("])") for request in server.received]
    assert sorted(",".join(asked).split(",")) == sorted(f'"{address}"' for address in addresses)
    assert all(part.count("@") <= 100 for part in asked)


def test_a_deletion_names_the_profile_by_its_id_alone(server, client):
    server.will_answer(Answer(202))
    client.delete_profile("P1")
    [request] = server.received
    assert request.path.endswith("/api/data-privacy-deletion-jobs")
    assert request.json["data"] == {
        "type": "data-privacy-deletion-job",
        "attributes": {"profile": {"data": {"type": "profile", "id": "P1", "attributes": {}}}},
    }


def test_profiles_that_are_there_are_found_by_their_ids(server, client):
    server.will_answer(page({"type": "profile", "id": "P2"}))
    assert client.existing_profiles(["P1", "P2"]) == {"P2"}
    assert server.received[0].query["filter"] == 'any(id,["P1","P2"])'
    assert client.existing_profiles([]) == frozenset()


def test_a_bulk_import_sends_addresses_and_properties_to_the_list(server, client):
    server.will_answer(Answer(202, one("profile-bulk-import-job", "J1", status="queued")))
    assert client.bulk_import({ADDRESS: {"a": 1}}, LIST) == "J1"
    data = server.received[0].json["data"]
    profile = {"type": "profile", "attributes": {"email": ADDRESS, "properties": {"a": 1}}}
    assert data["attributes"] == {"profiles": {"data": [profile]}}
    assert data["relationships"] == {"lists": {"data": [{"type": "list", "id": LIST}]}}


def test_a_bulk_import_is_followed_by_its_job(server, client):
    server.will_answer(CALLS["bulk_import_job"][1])
    assert client.bulk_import_job("J1") == ImportJob(job_id="J1", status="complete", total=3, completed=0, failed=1)


@pytest.mark.parametrize(
    ("payload", "email"),
    [
        ({"email": ADDRESS}, ADDRESS),
        ({"attributes": {"email": ADDRESS}}, ADDRESS),
        ({"data": {"attributes": {"email": ADDRESS}}}, ADDRESS),
        (None, None),
        ({"email": 7}, None),
    ],
)
def test_a_refusal_of_a_bulk_import_names_the_address_if_it_can(server, client, payload, email):
    details = {"code": "invalid", "title": "t", "detail": ADDRESS, "source": {"pointer": "/data/1"}}
    server.will_answer(page(resource("import-error", "E1", **details, original_payload=payload)))
    problems = client.bulk_import_errors("J1")
    assert problems == (ImportProblem("invalid", "/data/1", email),)
    assert ADDRESS not in repr(problems)


# Templates


def test_templates_are_found_by_name_and_null_text_is_empty(server, client):
    server.will_answer(page(resource("template", "T1", name="v1", html="<p>", text=None)))
    assert client.find_templates("v1") == (Template(template_id="T1", name="v1", html="<p>", text=""),)
    assert server.received[0].query == {"filter": 'equals(name,"v1")', "sort": "created"}


def test_a_template_is_created_as_plain_html(server, client):
    server.will_answer(Answer(201, one("template", "T1", name="v1", html="<p>", text="t")))
    assert client.create_template("v1", html="<p>", text="t") == Template(
        template_id="T1", name="v1", html="<p>", text="t"
    )
    attributes = {"name": "v1", "editor_type": "CODE", "html": "<p>", "text": "t"}
    assert server.received[0].json == {"data": {"type": "template", "attributes": attributes}}


def test_an_unknown_template_is_not_found(server, client):
    server.will_answer(Answer(404, {"errors": []}))
    with pytest.raises(NotFound):
        client.get_template("T1")


# Campaigns


def test_a_campaign_never_skips_anybody_by_smart_sending(server, client):
    """Klaviyo ignores a misspelt option, and its default skips people for good."""
    server.will_answer(Answer(201, {"data": campaign_reply()}))
    campaign = client.create_campaign(**DRAFT)
    assert campaign == Campaign(
        campaign_id=CAMPAIGN,
        name=DRAFT["name"],
        status="Draft",
        created_at=NOON,
        message_id=MESSAGE,
        included_lists=(LIST,),
        excluded_lists=(),
        uses_smart_sending=False,
    )
    data = server.received[0].json["data"]
    (message,) = data["attributes"].pop("campaign-messages")["data"]
    assert data["type"] == "campaign"
    assert data["attributes"] == {
        "name": DRAFT["name"],
        "audiences": {"included": [LIST], "excluded": []},
        "send_strategy": {"method": "immediate"},
        "send_options": {"use_smart_sending": False},
        "tracking_options": {"is_tracking_opens": True, "is_tracking_clicks": True, "add_tracking_params": False},
    }
    assert message["attributes"]["definition"]["channel"] == "email"
    assert message["attributes"]["definition"]["content"] == {
        "subject": "Your way in",
        "preview_text": "It is open",
        "from_email": "hello@example.org",
        "from_label": "PyCon TW",
        "reply_to_email": "help@example.org",
    }


def test_a_campaign_may_be_sent_at_a_time_which_is_named_in_utc(server, client):
    ask, answer = CALLS["create_campaign later"]
    server.will_answer(answer)
    ask(client)
    strategy = {"method": "static", "datetime": "2031-06-01T12:00:00+00:00", "options": {"is_local": False}}
    assert server.received[0].json["data"]["attributes"]["send_strategy"] == strategy
    with pytest.raises(ValueError, match="zone"):
        client.create_campaign(**DRAFT, send_at=NOON.replace(tzinfo=None))


def test_campaigns_are_found_by_a_part_of_their_name(server, client):
    server.will_answer(
        page(campaign_reply(status="Some New Status", send_options=None, created_at="2031-06-01T12:00:00Z"))
    )
    (campaign,) = client.find_campaigns("9f2c4a7d")
    assert (campaign.message_id, campaign.status, campaign.uses_smart_sending) == (MESSAGE, "Unknown", None)
    assert campaign.created_at == NOON
    assert server.received[0].query == {
        "filter": 'and(equals(messages.channel,"email"),contains(name,"9f2c4a7d"))',
        "include": "campaign-messages",
        "sort": "created_at",
    }


def test_the_message_is_found_wherever_the_reply_names_it(server, client):
    nested = campaign_reply()
    nested["attributes"]["campaign-messages"] = nested.pop("relationships")["campaign-messages"]
    server.will_answer({"data": nested})
    assert client.get_campaign(CAMPAIGN).message_id == MESSAGE


def test_a_message_the_campaign_does_not_name_is_asked_for(server, client):
    bare = {**campaign_reply(), "relationships": {"campaign-messages": {"links": {}}}}
    server.will_answer({"data": bare}, page(resource("campaign-message", MESSAGE)))
    assert client.get_campaign(CAMPAIGN).message_id == MESSAGE
    assert server.received[1].path == f"/api/campaigns/{CAMPAIGN}/campaign-messages"


def test_a_draft_that_is_gone_counts_as_deleted(server, client):
    server.will_answer(Answer(404))
    client.delete_campaign(CAMPAIGN)
    assert server.received[0].method == "DELETE"


def test_a_template_is_assigned_to_the_message(server, client):
    server.will_answer(one("campaign-message", MESSAGE, label="invitation", content={}))
    client.assign_template(MESSAGE, "T1")
    assert server.received[0].json["data"] == {
        "type": "campaign-message",
        "id": MESSAGE,
        "relationships": {"template": {"data": {"type": "template", "id": "T1"}}},
    }


def test_a_message_without_template_has_none(server, client):
    server.will_answer({"data": None, "links": {}}, one("template", "T9", name="v1", html="<p>", text=None))
    assert client.message_template(MESSAGE) is None
    assert client.message_template(MESSAGE) == Template(template_id="T9", name="v1", html="<p>", text="")


@pytest.mark.parametrize("body", [[], {}, {"data": []}, {"links": {}}])
def test_an_unreadable_answer_is_not_a_message_without_template(server, client, body):
    server.will_answer(Answer(body=body))
    with pytest.raises(Malformed):
        client.message_template(MESSAGE)


@pytest.mark.parametrize(
    ("status", "done"), [("queued", False), ("processing", False), ("complete", True), ("cancelled", True)]
)
def test_an_estimate_is_ready_when_its_job_ended(server, client, status, done):
    server.will_answer(one("job", CAMPAIGN, status=status))
    assert client.estimate_job_done(CAMPAIGN) is done


def test_an_estimate_may_be_missing(server, client):
    server.will_answer(
        one("estimate", CAMPAIGN, estimated_recipient_count=0),
        one("estimate", CAMPAIGN, estimated_recipient_count=None),
        Answer(404),
    )
    assert [client.estimate(CAMPAIGN) for _ in range(3)] == [0, None, None]


def test_only_a_404_means_that_there_is_no_send_job(server, client):
    server.will_answer(one("job", CAMPAIGN, status="processing"), Answer(404, {"errors": []}), one("job", CAMPAIGN))
    assert client.send_job(CAMPAIGN) == "processing"
    assert client.send_job(CAMPAIGN) is None
    with pytest.raises(Malformed):
        client.send_job(CAMPAIGN)
    server.behave(lambda request: Answer(404, HTML.body))
    with pytest.raises(Unavailable):
        client.send_job(CAMPAIGN)


def test_a_sending_is_taken_back_to_a_draft(server, client):
    server.will_answer(Answer(204))
    client.revert_send(CAMPAIGN)
    (request,) = server.received
    assert (request.method, request.path) == ("PATCH", f"/api/campaign-send-jobs/{CAMPAIGN}")
    data = {"type": "campaign-send-job", "id": CAMPAIGN, "attributes": {"action": "revert"}}
    assert request.json == {"data": data}


def test_calls_keep_under_the_accounts_rate_limits(server, client, fake_time):
    times: list[float] = []

    def answer(request: Received) -> Answer:
        times.append(fake_time.now)
        return Answer(202)

    server.behave(answer)
    for _ in range(160):
        client.request_estimate(CAMPAIGN)
    for calls, seconds in RATE_LIMITS["campaigns"]:
        assert all(later - earlier >= seconds for earlier, later in zip(times, times[calls:], strict=False))


def test_the_key_is_in_no_repr(client):
    assert KEY not in repr(client)


# Measuring


def test_events_of_a_profile_are_asked_for_since_a_moment_and_name_nobody_in_their_repr(server, client):
    event = resource("event", "E1", event_properties={"$message": MESSAGE, "Recipient": ADDRESS, "$ESP": 0})
    metric = {"metric": {"data": {"type": "metric", "id": "R"}}}
    server.will_answer(page({**event, "relationships": metric}, resource("event", "E2", event_properties=None)))
    events = client.profile_events("P1", NOON)
    assert [(found.metric_id, found.texts) for found in events] == [("R", {MESSAGE, ADDRESS}), (None, set())]
    assert ADDRESS not in repr(events)
    assert server.received[0].query == {
        "filter": 'equals(profile_id,"P1"),greater-or-equal(datetime,2031-06-01T12:00:00+00:00)',
        "sort": "datetime",
        "page[size]": "1000",
    }


def test_a_report_counts_the_rows_of_a_campaign_together(server, client):
    server.will_answer(report((CAMPAIGN, 2), ("C2", 5.0), (CAMPAIGN, 1)))
    assert client.count_recipients([CAMPAIGN, "C2", "C3"], metric_id="R") == {CAMPAIGN: 3, "C2": 5}
    attributes = server.received[0].json["data"]["attributes"]
    assert attributes["filter"] == f'contains-any(campaign_id,["{CAMPAIGN}","C2","C3"])'
    assert (attributes["statistics"], attributes["conversion_metric_id"]) == (["recipients"], "R")


def test_many_campaigns_are_reported_a_hundred_at_a_time_and_none_without_a_call(server, client):
    assert client.count_recipients([], metric_id="R") == {}
    server.behave(lambda request: Answer(body=report()))
    client.count_recipients([f"C{number}" for number in range(101)], metric_id="R")
    assert len(server.received) == 2


@pytest.mark.parametrize(
    "body", [[], {}, {"data": {"attributes": {"results": None}}}, report((CAMPAIGN, None)), report(("", 2))]
)
def test_a_report_of_another_shape_is_not_a_report_of_nobody(server, client, body):
    server.will_answer(Answer(body=body))
    with pytest.raises(Malformed):
        client.count_recipients([CAMPAIGN], metric_id="R")
