"""The report of the sandbox: a fixture, member by member. It holds no value, and the walk changed nothing."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pycontw_assets
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.pipeline.contract.check import report_of, walk_all
from pycontw_assets.pipeline.contract.endpoints import Endpoint
from pycontw_assets.pipeline.contract.exchanges import NO_ANSWER, Exchange, Recorder
from pycontw_assets.pipeline.contract.report import ENDPOINTS, as_text, describe
from pycontw_assets.pipeline.contract.walk import MOST_ATTENDEES, MOST_EVENTS, MOST_SECONDS, chosen_attendees
from pycontw_assets.sandbox import keys
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets_tests.contract.conftest import Walked
from pycontw_assets_tests.contract.world import comparable

FIXTURE = Path(__file__).parent / "sandbox.json"
PACKAGE = Path(pycontw_assets.__file__).parent


def test_the_report_of_the_sandbox_is_the_one_on_file(exchanges: list[Exchange]) -> None:
    way_out = "python -m pycontw_assets_tests.contract.world >pycontw_assets_tests/contract/sandbox.json"
    expected = json.loads(FIXTURE.read_text(encoding="utf-8"))
    report = comparable(report_of(exchanges))
    for part in expected:
        assert report[part] == expected[part], f"{part} changed; if that is right, run {way_out}"
    assert report.keys() == expected.keys()


def test_the_sandbox_is_as_assumed(exchanges: list[Exchange]) -> None:
    report = report_of(exchanges)
    assert [row for row in report["verdicts"] if row["verdict"] == "differs"] == []
    assert report["verdict counts"]["as assumed"] > 300


def test_verdicts_follow_from_the_report_alone(exchanges: list[Exchange]) -> None:
    from pycontw_assets.pipeline.contract.judge import judge_all
    from pycontw_assets.pipeline.contract.statements import STATEMENTS

    mailed = json.loads(as_text(report_of(exchanges)))
    assert judge_all(mailed, STATEMENTS) == mailed["verdicts"]


def test_every_statement_is_about_a_known_endpoint_and_said_once() -> None:
    from pycontw_assets.pipeline.contract.statements import STATEMENTS

    assert {statement.endpoint.name for statement in STATEMENTS} == ENDPOINTS.keys()
    said = Counter((statement.endpoint.name, statement.text) for statement in STATEMENTS)
    assert [statement for statement, times in said.items() if times > 1] == []


# -- no value -----------------------------------------------------------------------------------------


def leaves(value: Any) -> Iterator[str]:
    """Yield every text and number of an answer, and every name of a member."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def known_names(contract: Any) -> Iterator[str]:
    """Yield every name and value that the contract may show."""
    yield from contract.values
    for name, inner in contract.members.items():
        yield name
        yield from known_names(inner)
    for inner in (contract.rows, contract.keyed, *contract.places):
        if inner is not None:
            yield from known_names(inner)


def found_in(text: str, values: set[str]) -> set[str]:
    return {value for value in values if value in text and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)}


def test_nothing_that_a_service_answered_is_in_the_report(exchanges: list[Exchange]) -> None:
    report = as_text(report_of(exchanges))
    may_be_shown = {name for endpoint in ENDPOINTS.values() for name in known_names(endpoint.contract)}
    answered = {leaf for exchange in exchanges for leaf in leaves(exchange.data) if len(leaf) >= 4}
    secret = answered - may_be_shown
    secret -= found_in(" ".join([*may_be_shown, *ENDPOINTS]), secret)  # words of ours that an answer holds, too
    assert len(secret) > 500
    assert found_in(report, secret) == set()


def test_nobody_no_key_and_no_event_of_the_sale_is_in_the_report(walked: Walked) -> None:
    report = as_text(report_of(walked.exchanges))
    office = walked.world.kktix
    people = {str(value) for ticket in office.tickets.values() for _, value in ticket.answers if len(str(value)) > 3}
    people |= {ticket.address for ticket in office.tickets.values()} | set(walked.world.gather.guests)
    people |= {str(profile.email) for profile in walked.world.klaviyo.profiles.values()}
    ids = {str(number) for number in (*office.tickets, *office.events)}
    names = {event.name for event in office.events.values()}
    names |= {mail_list.name for mail_list in walked.world.klaviyo.lists.values()}
    credentials = {keys.KKTIX_TOKEN, keys.GATHER_KEY, keys.GATHER_SPACE_ID, keys.KLAVIYO_KEY, walked.url}
    assert min(map(len, (people, ids, names))) > 5
    secret = (people | ids | names | credentials) - {""}
    assert found_in(report, secret) == set()
    assert found_in(f"{report} {min(ids)}", secret) == {min(ids)}


def test_what_a_service_hides_in_headers_and_names_is_not_in_the_report() -> None:
    secret = "buyer-one@example.org"
    hostile = Exchange(
        endpoint="Gather guest list",
        status=200,
        headers={
            "x-buyer-77": secret,
            "content-type": f"{secret}; charset=utf-8",
            "ratelimit-limit": secret,
            "ratelimit-remaining": secret,
            "retry-after": "Wed, 21 Oct 2031 07:28:00 GMT",
            "revision": secret,
        },
        data={secret: {secret: secret, "role": secret}},
    )
    report = json.dumps(describe([hostile], {"Gather": "asked"}))
    assert secret not in report
    assert "buyer-77" not in report
    assert "2031" not in report


# -- reading only, and bounded ------------------------------------------------------------------------


def test_the_walk_changes_nothing(walked: Walked) -> None:
    assert [call.path for call in walked.calls if call.is_write] == []
    assert {call.path for call in walked.calls if call.method != "GET"} == {"/api/campaign-values-reports"}


def test_nobody_is_asked_when_the_time_is_over() -> None:
    recorder = Recorder()
    kktix = KktixClient("http://127.0.0.1:9/events", "token", on_answer=recorder.heard)
    klaviyo = KlaviyoClient("http://127.0.0.1:9", "key", on_answer=recorder.heard)
    now, limit = datetime(2031, 6, 1, tzinfo=timezone.utc), TimeLimit(0)
    walk_all(recorder, kktix=kktix, gather=None, klaviyo=klaviyo, choose=lambda events: [1], now=now, limit=limit)
    assert {exchange.problem for exchange in recorder.exchanges} == {NO_ANSWER}
    assert kktix.api.requests_sent + klaviyo.api.requests_sent == 0
    assert MOST_SECONDS < 300


def test_few_people_are_read() -> None:
    assert chosen_attendees([]) == []
    assert chosen_attendees(range(1, 6)) == [5, 4, 3, 2, 1]
    chosen = chosen_attendees(range(1, 5001))
    assert len(chosen) <= MOST_ATTENDEES
    assert chosen[:3] == [5000, 4999, 4998]
    assert min(chosen) < 1000
    assert len(set(chosen)) == len(chosen)


def test_only_events_of_the_conference_are_read(walked: Walked) -> None:
    read = {call.path.split("/")[4] for call in walked.calls if "attendance_books" in call.path}
    assert read <= {"90001", "90002", "90003"}
    assert 0 < len(read) <= MOST_EVENTS
    attendees = Counter(call.path.split("/")[4] for call in walked.calls if "/attendees/" in call.path)
    assert max(attendees.values()) <= MOST_ATTENDEES + 1


def paths_in(*modules: str) -> set[str]:
    """Return the paths that the clients spell, with ``{}`` for each id."""
    found = set()
    for module in modules:
        nodes = list(ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))))
        pieces = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if id(node) in pieces:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return {text for text in found if re.fullmatch(r"/(api/|\{\})[\w/{}-]*", text)}


ONLY_WRITTEN = {
    "/api/lists/{}",
    "/api/profile-import",
    "/api/data-privacy-deletion-jobs",
    "/api/profile-bulk-import-jobs",
    "/api/campaign-message-assign-template",
    "/api/campaign-recipient-estimation-jobs",
    "/api/campaign-send-jobs",
    "/api/setEmailGuestlist",
}


def test_every_endpoint_that_the_clients_read_is_walked() -> None:
    spelled = paths_in(
        "extract/kktix_client.py",
        "authorize/gather_client.py",
        "send_email/klaviyo_client.py",
        "send_email/by_event/events_client.py",
    )
    walked = {re.sub(r"{\w+}", "{}", endpoint.path) for endpoint in ENDPOINTS.values()}
    assert spelled - ONLY_WRITTEN == walked - {""}


def test_every_endpoint_was_asked_in_the_sandbox_but_for_those_that_need_a_write(exchanges: list[Exchange]) -> None:
    unasked = ENDPOINTS.keys() - {exchange.endpoint for exchange in exchanges}
    assert unasked == {"Klaviyo bulk import", "Klaviyo errors of a bulk import"}


def test_an_endpoint_names_its_service() -> None:
    assert Endpoint("KKTIX book", "", ENDPOINTS["KKTIX book"].contract).service == "KKTIX"
    assert {endpoint.service for endpoint in ENDPOINTS.values()} == {"KKTIX", "Gather", "Klaviyo"}
