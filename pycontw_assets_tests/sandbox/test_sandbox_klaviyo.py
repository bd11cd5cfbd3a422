"""The simulated Klaviyo follows the real service: profiles, lists, templates, and campaigns that send mails."""

from __future__ import annotations

import pytest

SENT_ADDRESS = "one@example.org"


def members(klaviyo, list_id):
    profiles = klaviyo.good("GET", f"/lists/{list_id}/profiles", fields__profile="email")
    return [profile["attributes"]["email"] for profile in profiles]


def addresses(world):
    return sorted(mail.address for mail in world.outbox)


def statuses_to_the_end(clock, klaviyo, campaign):
    """Return the statuses of a campaign, read at every step."""
    statuses = [klaviyo.status(campaign)]
    for _ in range(10):
        clock.advance(0.05)
        statuses.append(klaviyo.status(campaign))
    return list(dict.fromkeys(statuses))


# -- profiles and lists ---------------------------------------------------------------------------------------


def test_an_upsert_creates_once_and_then_updates(klaviyo):
    def upsert(**attributes):
        return klaviyo.call("POST", "/profile-import", {"type": "profile", "attributes": attributes})

    first = upsert(email="Buyer@example.org", first_name="Test", properties={"a": 1})
    again = upsert(email="buyer@EXAMPLE.org", first_name=None, properties={"b": 2})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["data"]["id"] == again.json()["data"]["id"]
    assert again.json()["data"]["attributes"]["first_name"] is None
    assert again.json()["data"]["attributes"]["properties"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("address", ["測試@範例.example.org", "buyer+pycon@example.org"])
def test_unusual_addresses_are_accepted(klaviyo, address):
    assert klaviyo.a_profile(address)


def test_a_valid_address_can_be_refused(world, klaviyo):
    world.klaviyo.switches.refused_addresses.add("bad@example.org")
    body = {"type": "profile", "attributes": {"email": "bad@example.org"}}
    assert klaviyo.call("POST", "/profile-import", body).status_code == 400


def test_names_of_lists_are_not_unique(klaviyo):
    assert klaviyo.a_list("holders") != klaviyo.a_list("holders")
    assert len(klaviyo.good("GET", "/lists", filter='equals(name,"holders")')) == 2


def test_membership_is_a_set(klaviyo):
    list_id = klaviyo.a_list("holders", "a@example.org", "b@example.org")
    both = klaviyo.good("GET", f"/lists/{list_id}/relationships/profiles")
    klaviyo.add(list_id, both[0]["id"])
    assert sorted(members(klaviyo, list_id)) == ["a@example.org", "b@example.org"]
    for _ in range(2):
        klaviyo.good("DELETE", f"/lists/{list_id}/relationships/profiles", both[:1])
    assert [entry["id"] for entry in klaviyo.good("GET", f"/lists/{list_id}/relationships/profiles")] == [both[1]["id"]]
    counted = klaviyo.good("GET", f"/lists/{list_id}", **{"additional-fields__list": "profile_count"})
    assert counted["attributes"]["profile_count"] == 1


def test_indexes_may_lag(world, klaviyo, clock):
    switches = world.klaviyo.switches
    switches.member_delay = switches.removal_delay = switches.list_delay = 5
    switches.campaign_delay = switches.profile_delay = switches.template_delay = 5
    list_id = klaviyo.a_list("holders", "a@example.org")
    klaviyo.a_campaign(list_id)
    by_name = 'equals(messages.channel,"email"),contains(name,"invite")'
    by_time = 'equals(messages.channel,"email"),greater-than(created_at,2031-01-01T00:00:00Z)'

    def counts():
        return (
            len(members(klaviyo, list_id)),
            len(klaviyo.good("GET", "/lists", filter='equals(name,"holders")')),
            len(klaviyo.good("GET", "/profiles", filter='equals(email,"a@example.org")')),
            len(klaviyo.good("GET", "/templates", filter='contains(name,"invitation")')),
            len(klaviyo.good("GET", "/campaigns", filter=by_name)),
        )

    assert counts() == (0, 0, 0, 0, 0)
    assert len(klaviyo.good("GET", "/campaigns", filter=by_time)) == 1
    clock.advance(5)
    assert counts() == (1, 1, 1, 1, 1)
    klaviyo.good(
        "DELETE",
        f"/lists/{list_id}/relationships/profiles",
        [{"type": "profile", "id": klaviyo.a_profile("a@example.org")}],
    )
    assert len(members(klaviyo, list_id)) == 1
    clock.advance(5)
    assert members(klaviyo, list_id) == []


def test_a_bulk_import_takes_time_and_reports_errors(klaviyo, clock):
    list_id = klaviyo.a_list()
    rows = [{"type": "profile", "attributes": {"email": address}} for address in ("good@example.org", "bad")]
    body = {
        "type": "profile-bulk-import-job",
        "attributes": {"profiles": {"data": rows}},
        "relationships": {"lists": {"data": [{"type": "list", "id": list_id}]}},
    }
    job = klaviyo.good("POST", "/profile-bulk-import-jobs", body)["id"]
    statuses = []
    for _ in range(3):
        statuses.append(klaviyo.good("GET", f"/profile-bulk-import-jobs/{job}")["attributes"]["status"])
        clock.advance(0.06)
    assert statuses == ["queued", "processing", "complete"]
    assert members(klaviyo, list_id) == ["good@example.org"]
    (error,) = klaviyo.good("GET", f"/profile-bulk-import-jobs/{job}/import-errors")
    assert error["attributes"]["original_payload"] == {"email": "bad"}


def test_subscriptions_are_shown_on_request(world, klaviyo):
    klaviyo.a_profile("a@example.org")
    world.klaviyo.unsubscribe("b@example.org")
    world.klaviyo.suppress("c@example.org", "SPAM_COMPLAINT")

    def shown():
        extra = {"additional-fields__profile": "subscriptions"}
        query = 'any(email,["a@example.org","B@example.org","c@example.org"])'
        profiles = klaviyo.good("GET", "/profiles", filter=query, sort="email", **extra)
        marketing = [profile["attributes"]["subscriptions"]["email"]["marketing"] for profile in profiles]
        return [(entry["can_receive_email_marketing"], entry["consent"]) for entry in marketing]

    assert shown() == [(True, "NEVER_SUBSCRIBED"), (False, "UNSUBSCRIBED"), (False, "NEVER_SUBSCRIBED")]
    subscription = {"email": "b@example.org", "subscriptions": {"email": {"marketing": {"consent": "SUBSCRIBED"}}}}
    people = {"profiles": {"data": [{"type": "profile", "attributes": subscription}]}}
    klaviyo.good(
        "POST",
        "/profile-subscription-bulk-create-jobs",
        {"type": "profile-subscription-bulk-create-job", "attributes": people},
    )
    assert shown()[1] == (True, "SUBSCRIBED")
    assert "subscriptions" not in klaviyo.good("GET", "/profiles")[0]["attributes"]


# -- templates ------------------------------------------------------------------------------------------------


def test_a_template_is_copied_on_assignment(world, klaviyo, clock):
    list_id = klaviyo.a_list("holders", SENT_ADDRESS)
    draft = klaviyo.good("POST", "/campaigns", klaviyo.campaign_body(list_id))
    message = draft["relationships"]["campaign-messages"]["data"][0]["id"]
    assert klaviyo.get(f"/campaign-messages/{message}/template").json()["data"] is None
    template = klaviyo.a_template(text="first")
    assigned = klaviyo.assign(draft, template)
    copy_id = assigned["relationships"]["template"]["data"]["id"]
    assert copy_id != template
    assert (assigned["attributes"]["label"], assigned["attributes"]["channel"]) == ("invitation", "email")
    nested = klaviyo.good("GET", f"/campaign-messages/{message}")["attributes"]["definition"]
    assert nested["content"]["subject"] == "Your way in"
    klaviyo.good(
        "PATCH", f"/templates/{template}", {"type": "template", "id": template, "attributes": {"text": "second"}}
    )
    klaviyo.good("DELETE", f"/templates/{template}")
    assert klaviyo.good("GET", f"/campaign-messages/{message}/template")["attributes"]["text"] == "first"
    assert klaviyo.good("GET", "/templates") == []
    klaviyo.send(draft["id"])
    clock.advance(1)
    assert world.outbox[0].text.startswith("first\nUnsubscribe")


def test_an_account_holds_a_thousand_templates(world, klaviyo):
    for number in range(1000):
        world.klaviyo.add_template(f"t{number}", editor_type="CODE", html="", text="")
    body = {"type": "template", "attributes": {"name": "one more", "editor_type": "CODE"}}
    assert klaviyo.call("POST", "/templates", body).status_code == 400


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hi {{ person.first_name|default:'you' }}", "Hi you"),
        ("To {{ email }}", f"To {SENT_ADDRESS}"),
        ("{% templatetag openvariable %} {{ '{{' }} {% verbatim %}{{ x }}{% endverbatim %}", "{{ {{ {{ x }}"),
    ],
)
def test_templates_are_rendered(world, klaviyo, clock, template, text):
    draft = klaviyo.good("POST", "/campaigns", klaviyo.campaign_body(klaviyo.a_list("holders", SENT_ADDRESS)))
    klaviyo.assign(draft, klaviyo.a_template(text=template + " {% unsubscribe %}"))
    klaviyo.send(draft["id"])
    clock.advance(1)
    assert world.outbox[0].text == f"{text} Unsubscribe: https://example.org/unsubscribe"


# -- campaigns ------------------------------------------------------------------------------------------------


def test_a_campaign_mails_every_member_once(world, klaviyo, clock):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS, "two@example.org"))
    assert klaviyo.get(f"/campaign-send-jobs/{campaign}").status_code == 404
    reply = klaviyo.send(campaign)
    assert (reply.status_code, reply.json()["data"]["id"]) == (202, campaign)
    assert world.outbox == []
    assert statuses_to_the_end(clock, klaviyo, campaign) == [
        "Preparing to send",
        "Adding Recipients",
        "Queued without Recipients",
        "Sending",
        "Sent",
    ]
    assert addresses(world) == [SENT_ADDRESS, "two@example.org"]
    assert klaviyo.good("GET", f"/campaign-send-jobs/{campaign}")["attributes"]["status"] == "complete"
    assert (world.outbox[0].subject, world.outbox[0].campaign_name) == ("Your way in", "invite-1")


def test_a_stopped_clock_stops_a_campaign(klaviyo):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS))
    klaviyo.send(campaign)
    assert {klaviyo.status(campaign) for _ in range(5)} == {"Preparing to send"}


def test_only_a_draft_with_a_template_can_be_sent(klaviyo):
    list_id = klaviyo.a_list("holders", SENT_ADDRESS)
    bare = klaviyo.good("POST", "/campaigns", klaviyo.campaign_body(list_id))["id"]
    assert klaviyo.send(bare).status_code == 400
    campaign = klaviyo.a_campaign(list_id)
    assert [klaviyo.send(campaign).status_code for _ in range(2)] == [202, 409]


def test_a_second_send_job_may_mail_again(world, klaviyo, clock):
    world.klaviyo.switches.second_send = "accepted"
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS))
    for _ in range(2):
        assert klaviyo.send(campaign).status_code == 202
        clock.advance(1)
    assert addresses(world) == [SENT_ADDRESS, SENT_ADDRESS]


@pytest.mark.parametrize(("fixed", "mailed"), [("acceptance", [SENT_ADDRESS]), ("sending", ["late@example.org"])])
def test_a_switch_fixes_recipients_early_or_late(world, klaviyo, clock, fixed, mailed):
    world.klaviyo.switches.recipients_fixed = fixed
    list_id = klaviyo.a_list("holders", SENT_ADDRESS)
    klaviyo.send(klaviyo.a_campaign(list_id))
    klaviyo.add(list_id, klaviyo.a_profile("late@example.org"))
    early = [{"type": "profile", "id": klaviyo.a_profile(SENT_ADDRESS)}]
    klaviyo.good("DELETE", f"/lists/{list_id}/relationships/profiles", early)
    clock.advance(1)
    assert addresses(world) == mailed


def test_suppressed_profiles_are_skipped_silently(world, klaviyo, clock):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS, "gone@example.org", "never@example.org"))
    world.klaviyo.suppress("gone@example.org")
    world.klaviyo.unsubscribe("never@example.org")
    klaviyo.send(campaign)
    clock.advance(1)
    assert klaviyo.status(campaign) == "Sent"
    assert addresses(world) == [SENT_ADDRESS]


@pytest.mark.parametrize("options", [None, {}, {"use_smart_sending": True}, {"use_smart_sending": None}])
def test_smart_sending_is_on_by_default(world, klaviyo, clock, options):
    list_id = klaviyo.a_list("holders", SENT_ADDRESS, "two@example.org")
    world.klaviyo.send_by_hand(world.klaviyo.add_list_by_hand("news", [SENT_ADDRESS]))
    campaign = klaviyo.a_campaign(list_id, send_options=options)
    klaviyo.send(campaign)
    clock.advance(1)
    assert [mail.address for mail in world.outbox if not mail.by_hand] == ["two@example.org"]
    second = klaviyo.a_campaign(list_id, send_options=options)
    klaviyo.send(second)
    clock.advance(1)
    assert klaviyo.status(second) == "Cancelled: Smart Sending"
    clock.advance(16 * 3600)
    third = klaviyo.a_campaign(list_id, send_options=options)
    klaviyo.send(third)
    clock.advance(1)
    assert klaviyo.status(third) == "Sent"


def test_campaigns_without_mails_end_as_cancelled(world, klaviyo, clock):
    empty = klaviyo.a_campaign(klaviyo.a_list())
    excluded = klaviyo.a_list("holders", SENT_ADDRESS)
    nobody = klaviyo.a_campaign(excluded, audiences={"included": [excluded], "excluded": [excluded]})
    broken = klaviyo.good("POST", "/campaigns", klaviyo.campaign_body(excluded))
    klaviyo.assign(broken, klaviyo.a_template(text="{% nonsense %}"))
    world.klaviyo.switches.mail_quota = 0
    costly = klaviyo.a_campaign(excluded)
    for campaign in (empty, nobody, costly):
        klaviyo.send(campaign)
    clock.advance(1)
    assert world.outbox == []
    world.klaviyo.switches.mail_quota = None
    klaviyo.send(broken["id"])
    clock.advance(1)
    statuses = [klaviyo.status(campaign) for campaign in (empty, nobody, costly, broken["id"])]
    assert [status.removeprefix("Cancelled: ") for status in statuses] == [
        "No Recipients",
        "No Recipients",
        "Billing Limit",
        "Misconfigured",
    ]
    assert world.outbox == []


def test_a_scheduled_campaign_can_be_reverted(world, klaviyo, clock):
    strategy = {"method": "static", "datetime": "2031-06-01T03:00:00+00:00", "options": {"is_local": False}}
    list_id = klaviyo.a_list("holders", SENT_ADDRESS)
    waits, reverted, cancelled = [klaviyo.a_campaign(list_id, name, send_strategy=strategy) for name in "abc"]
    for campaign in (waits, reverted, cancelled):
        klaviyo.send(campaign)
    assert klaviyo.status(waits) == "Preparing to schedule"
    clock.advance(1)
    assert klaviyo.status(waits) == "Scheduled"
    for campaign, action in ((reverted, "revert"), (cancelled, "cancel")):
        body = {"type": "campaign-send-job", "id": campaign, "attributes": {"action": action}}
        klaviyo.good("PATCH", f"/campaign-send-jobs/{campaign}", body)
    clock.advance(3600)
    assert [klaviyo.status(campaign) for campaign in (waits, reverted, cancelled)] == ["Sent", "Draft", "Cancelled"]
    assert len(world.outbox) == 1
    assert klaviyo.call("DELETE", f"/campaigns/{reverted}").status_code == 204
    assert klaviyo.call("DELETE", f"/campaigns/{waits}").status_code == 409


def test_a_past_send_time_sends_at_once(klaviyo, clock):
    strategy = {"method": "static", "datetime": "2031-06-01T02:00:10Z"}
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS), send_strategy=strategy)
    clock.advance(60)
    klaviyo.send(campaign)
    clock.advance(1)
    assert klaviyo.status(campaign) == "Sent"


def test_only_a_draft_can_be_changed(klaviyo, clock):
    first, second = klaviyo.a_list("a", SENT_ADDRESS), klaviyo.a_list("b")
    campaign = klaviyo.a_campaign(first)
    changes = {"name": "renamed", "audiences": {"included": [second]}, "tracking_options": {"is_tracking_opens": True}}
    body = {"type": "campaign", "id": campaign, "attributes": changes}
    changed = klaviyo.good("PATCH", f"/campaigns/{campaign}", body)["attributes"]
    assert (changed["name"], changed["audiences"]["included"]) == ("renamed", [second])
    assert changed["send_options"] == {"use_smart_sending": False}
    klaviyo.send(campaign)
    clock.advance(1)
    assert klaviyo.call("PATCH", f"/campaigns/{campaign}", body).status_code == 409


def test_an_estimate_counts_the_recipients(world, klaviyo, clock):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS, "gone@example.org"))
    world.klaviyo.suppress("gone@example.org")
    body = {"type": "campaign-recipient-estimation-job", "id": campaign}
    assert klaviyo.good("POST", "/campaign-recipient-estimation-jobs", body)["attributes"]["status"] == "queued"
    assert klaviyo.get(f"/campaign-recipient-estimations/{campaign}").status_code == 404
    clock.advance(1)
    job = klaviyo.good("GET", f"/campaign-recipient-estimation-jobs/{campaign}")
    assert job["attributes"]["status"] == "complete"
    estimate = klaviyo.good("GET", f"/campaign-recipient-estimations/{campaign}")
    assert estimate["attributes"]["estimated_recipient_count"] == 1
    world.klaviyo.switches.estimate_error = 2
    wrong = klaviyo.good("GET", f"/campaign-recipient-estimations/{campaign}")
    assert wrong["attributes"]["estimated_recipient_count"] == 3


def test_answers_can_rename_a_status(world, klaviyo):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS))
    world.klaviyo.switches.renamed_statuses = {"Draft": "Sketch"}
    assert klaviyo.good("GET", f"/campaigns/{campaign}")["attributes"]["status"] == "Sketch"
    assert world.klaviyo.status_of(world.klaviyo.campaigns[campaign]) == "Draft"


def test_included_messages_come_with_campaigns(klaviyo):
    klaviyo.a_campaign(klaviyo.a_list())
    query = {"filter": 'equals(messages.channel,"email")', "include": "campaign-messages"}
    reply = klaviyo.get("/campaigns", **query).json()
    relation = reply["data"][0]["relationships"]["campaign-messages"]["data"][0]
    assert relation["id"] == reply["included"][0]["id"]


# -- events and reports ---------------------------------------------------------------------------------------


def test_events_with_equal_unique_ids_count_once(world, klaviyo):
    body = {
        "type": "event",
        "attributes": {
            "properties": {},
            "unique_id": "only-once",
            "metric": {"data": {"type": "metric", "attributes": {"name": "Ticket Usable"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": SENT_ADDRESS}}},
        },
    }
    assert [klaviyo.call("POST", "/events", body).status_code for _ in range(2)] == [202, 202]
    metric = world.klaviyo.metric_id("Ticket Usable")
    assert len(klaviyo.good("GET", "/events", filter=f'equals(metric_id,"{metric}")')) == 1


def test_a_report_counts_mails_and_reactions(world, klaviyo, clock):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS, "two@example.org"))
    klaviyo.send(campaign)
    clock.advance(1)
    for _ in range(2):
        world.klaviyo.record_reaction(SENT_ADDRESS, campaign, "Opened Email")
    names = {entry["attributes"]["name"]: entry["id"] for entry in klaviyo.good("GET", "/metrics")}
    attributes = {
        "statistics": ["recipients", "delivered", "opens", "opens_unique", "clicks_unique", "bounced"],
        "timeframe": {"key": "last_30_days"},
        "conversion_metric_id": names["Opened Email"],
    }
    body = {"type": "campaign-values-report", "attributes": attributes}
    report = klaviyo.good("POST", "/campaign-values-reports", body)
    (result,) = report["attributes"]["results"]
    assert result["groupings"]["campaign_id"] == campaign
    assert list(result["statistics"].values()) == [2, 2, 2, 1, 0, 0]


def test_the_account_can_be_read(klaviyo):
    assert klaviyo.good("GET", "/accounts")[0]["attributes"]["test_account"] is True


def recipients(klaviyo, campaign, **attributes):
    """Return what the report says of a campaign; ``None``: it has no row."""
    metric = klaviyo.good("GET", "/metrics")[0]["id"]
    asked = {
        "statistics": ["recipients", "bounced"],
        "timeframe": {"key": "last_30_days"},
        "conversion_metric_id": metric,
        "filter": f'contains-any(campaign_id,["{campaign}"])',
        **attributes,
    }
    report = klaviyo.good("POST", "/campaign-values-reports", {"type": "campaign-values-report", "attributes": asked})
    rows = [row["statistics"] for row in report["attributes"]["results"]]
    return rows[0] if rows else None


def received_by(klaviyo, address):
    """Return the names of the campaigns of which events of the profile tell."""
    profile = klaviyo.a_profile(address)
    events = klaviyo.good("GET", "/events", filter=f'equals(profile_id,"{profile}")', sort="datetime")
    return [event["attributes"]["event_properties"]["Campaign Name"] for event in events]


@pytest.mark.parametrize(
    ("switch", "ends_as"), [("stop_after", "Cancelled"), ("mail_quota", "Cancelled: Billing Limit")]
)
def test_a_campaign_can_be_stopped_between_two_mails(world, klaviyo, clock, switch, ends_as):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS, "two@example.org", "three@example.org"))
    other = klaviyo.a_campaign(klaviyo.a_list("others", "four@example.org"), "invite-2")
    setattr(world.klaviyo.switches, switch, 2)
    klaviyo.send(campaign)
    clock.advance(1)
    assert klaviyo.status(campaign) == ends_as
    mailed = {mail.address for mail in world.outbox}
    assert len(mailed) == 2
    assert recipients(klaviyo, campaign) == {"recipients": 2, "bounced": 0}
    assert recipients(klaviyo, other) is None
    assert {a for a in (SENT_ADDRESS, "two@example.org", "three@example.org") if received_by(klaviyo, a)} == mailed
    assert received_by(klaviyo, SENT_ADDRESS) == ["invite-1"]


def test_a_campaign_stopped_before_its_first_mail_has_a_row_of_zeros(world, klaviyo, clock):
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS))
    klaviyo.send(campaign)
    stop = {"type": "campaign-send-job", "id": campaign, "attributes": {"action": "cancel"}}
    klaviyo.good("PATCH", f"/campaign-send-jobs/{campaign}", stop)
    clock.advance(1)
    assert recipients(klaviyo, campaign) == {"recipients": 0, "bounced": 0}
    assert received_by(klaviyo, SENT_ADDRESS) == []


def test_events_and_reports_show_late(world, klaviyo, clock):
    switches = world.klaviyo.switches
    switches.event_delay, switches.report_delay = 60, 600
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS))
    klaviyo.send(campaign)
    clock.advance(30)
    assert (received_by(klaviyo, SENT_ADDRESS), recipients(klaviyo, campaign)["recipients"]) == ([], 0)
    clock.advance(60)
    assert (received_by(klaviyo, SENT_ADDRESS), recipients(klaviyo, campaign)["recipients"]) == (["invite-1"], 0)
    clock.advance(600)
    assert recipients(klaviyo, campaign)["recipients"] == 1


def test_a_bounced_mail_counts_as_recipient_and_reaches_nobody(world, klaviyo, clock):
    world.klaviyo.switches.bouncing_addresses = {SENT_ADDRESS}
    campaign = klaviyo.a_campaign(klaviyo.a_list("holders", SENT_ADDRESS))
    klaviyo.send(campaign)
    clock.advance(1)
    assert world.outbox == []
    assert recipients(klaviyo, campaign) == {"recipients": 1, "bounced": 1}


def test_a_report_refuses_unknown_filters_and_long_lists(klaviyo):
    metric = klaviyo.good("GET", "/metrics")[0]["id"]
    for wrong in ('equals(name,"x")', f"contains-any(campaign_id,[{','.join(['x'] * 101)}])"):
        attributes = {"statistics": ["recipients"], "timeframe": {"key": "today"}, "conversion_metric_id": metric}
        body = {"type": "campaign-values-report", "attributes": {**attributes, "filter": wrong}}
        assert klaviyo.call("POST", "/campaign-values-reports", body).status_code == 400


# -- the day the interface changes --------------------------------------------------------------------------


def test_a_switch_shows_campaigns_in_the_shape_of_a_later_revision(world, klaviyo):
    campaign = klaviyo.a_campaign(klaviyo.a_list())
    world.klaviyo.switches.shape = "new"
    attributes = klaviyo.good("GET", f"/campaigns/{campaign}")["attributes"]
    assert attributes.keys() == {"definition", "created_at", "updated_at"}
    assert klaviyo.get("/campaigns", filter='equals(messages.channel,"email")').status_code == 400
    assert len(klaviyo.good("GET", "/campaigns", filter='contains(name,"invite")')) == 1
    world.klaviyo.switches.shape = "old"
    assert klaviyo.status(campaign) == "Draft"


def test_a_switch_states_a_revision(world, klaviyo):
    assert "revision" not in klaviyo.get("/lists").headers
    world.klaviyo.switches.stated_revision = "2026-10-15"
    assert klaviyo.get("/lists").headers["revision"] == "2026-10-15"


@pytest.mark.parametrize(
    ("shown", "of_upsert", "of_search"), [("when asked", 1, 1), ("in searches", 0, 1), ("never", 0, 0)]
)
def test_a_switch_withholds_subscriptions(world, klaviyo, shown, of_upsert, of_search):
    world.klaviyo.switches.subscriptions_shown = shown
    asked = {"additional-fields__profile": "subscriptions"}
    body = {"type": "profile", "attributes": {"email": SENT_ADDRESS}}
    upserted = klaviyo.good("POST", "/profile-import", body, **asked)
    [found] = klaviyo.good("GET", "/profiles", filter=f'equals(email,"{SENT_ADDRESS}")', **asked)
    assert ["subscriptions" in each["attributes"] for each in (upserted, found)] == [of_upsert, of_search]


# -- deletion -------------------------------------------------------------------------------------------------


def deletion(identity=None, **attributes):
    profile = {"type": "profile", "attributes": attributes, **({"id": identity} if identity else {})}
    return {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": profile}}}


@pytest.mark.parametrize("by_id", [True, False])
def test_a_profile_is_deleted_later_and_leaves_every_list(klaviyo, clock, world, by_id):
    list_id = klaviyo.a_list("holders", "a@example.org", "b@example.org")
    identity = klaviyo.a_profile("a@example.org")
    body = deletion(identity) if by_id else deletion(email="A@example.org")
    assert klaviyo.call("POST", "/data-privacy-deletion-jobs", body).status_code == 202
    assert set(members(klaviyo, list_id)) == {"a@example.org", "b@example.org"}
    clock.advance(0.1)
    assert set(members(klaviyo, list_id)) == {"b@example.org"}
    assert identity not in {profile["id"] for profile in klaviyo.good("GET", "/profiles")}
    assert klaviyo.a_profile("a@example.org") != identity


@pytest.mark.parametrize("names", [{}, {"email": "a@example.org", "phone_number": "+886900000001"}])
def test_a_deletion_names_exactly_one_thing(klaviyo, names):
    assert klaviyo.call("POST", "/data-privacy-deletion-jobs", deletion(**names)).status_code == 400


def test_a_deletion_needs_its_attributes(klaviyo):
    body = deletion("P1")
    del body["attributes"]["profile"]["data"]["attributes"]
    assert klaviyo.call("POST", "/data-privacy-deletion-jobs", body).status_code == 400
