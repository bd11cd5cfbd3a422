"""Personal data rests in the vault and nowhere else, whatever goes wrong: everything a run leaves is searched."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from pycontw_assets.cli import main
from pycontw_assets.pseudonyms import normalise_phone
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.kktix import Ticket
from pycontw_assets.sandbox.oracle import normalise
from pycontw_assets.sandbox.people import ADDRESS_KINDS
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, spellings

VAULT_KEY = Fernet.generate_key().decode()
PSEUDONYM_KEY = "an invented pseudonym key"
SECRETS = (keys.KKTIX_TOKEN, keys.GATHER_KEY, keys.KLAVIYO_KEY, VAULT_KEY, PSEUDONYM_KEY)
# Answers nobody foresaw, in a question nobody named; the last one stands in the label itself.
FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE = "虛構朋友 Friend Ofquokka", "friend.ofquokka@example.net", "0900-000-987"


def personal_words(world: World) -> set[str]:
    """Everything about an invented person that must be found nowhere."""
    words = {FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE, "dropbear@example.org", "0900000654"}
    for ticket in world.kktix.tickets.values():
        words |= _words_of(ticket)
    return {word for word in words if len(word) > 3}


def _words_of(ticket: Ticket) -> set[str]:
    person, address = ticket.person, normalise(ticket.address)
    phone = normalise_phone(person.phone)
    words = {person.name, person.nickname, person.company, ticket.qrcode, ticket.checkin_code}
    words |= {person.phone, person.phone.replace("-", ""), phone, phone.removeprefix("+886")}
    if "@" in address:
        words |= {ticket.address.strip(), address, address.partition("@")[0]}
    return words


@pytest.fixture
def pipeline(install: Install) -> Pipeline:
    return install(on_disk=True, vault_key=VAULT_KEY, pseudonym_key=PSEUDONYM_KEY, refresh_seconds=0)


def sell_to_all_kinds_of_people(world: World, event: int) -> list[int]:
    """Every kind of address, door codes that can be searched for, and answers to questions that no rule names."""
    seats = [world.sell(event, kind=kind)[0] for kind in ADDRESS_KINDS]
    for number, seat in enumerate(seats):
        ticket = world.kktix.tickets[seat]
        ticket.checkin_code = f"DOOR-{number:02d}"
        ticket.answers[2:2] = [
            ["Who comes with you? / 誰與您同行？", f"{FRIEND}, {FRIENDS_ADDRESS}"],
            ["Emergency contact", {"name": FRIEND, "phones": [FRIENDS_PHONE, FRIENDS_ADDRESS]}],
            ["Dietary Preference / 飲食偏好", f"like {FRIEND}"],
            ["Ask Dropbear dropbear@example.org or 0900000654 about rooms / 住宿", "yes"],
        ]
    return seats


def storm(pipeline: Pipeline, event: int, seats: list[int]) -> None:
    """Trouble of every kind, refunds, transfers, poison and malformed payloads: all that makes error texts."""
    world = pipeline.world
    pipeline.poll()
    world.kktix.override(seats[0], state=None, is_paid=FRIEND)
    world.kktix.override(seats[1], data=[[FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE]])
    world.transfer(seats[2], "moved.quokka@example.org")
    world.refund(seats[3])
    for address in ("poison.potoo@example.org", "refused.takin@example.org"):
        world.sell(event, address=address)
    world.gather.switches.poison = {"poison.potoo@example.org"}
    world.klaviyo.switches.refused_addresses = {"refused.takin@example.org"}
    for kind, details in (
        ("status", {"status": 500, "acts": True}),
        ("status", {"status": 400}),
        ("reset", {"acts": True}),
        ("truncate", {}),
        ("html", {}),
        ("shape", {"body": {"errors": [{"detail": FRIENDS_ADDRESS, "code": FRIEND}], FRIEND: FRIENDS_PHONE}}),
        ("redirect", {}),
    ):
        for service, path in (("kktix", "attendees"), ("gather", ""), ("klaviyo", "api/.*s")):
            world.faults.add(service, kind, path=path, times=3, **details)
        pipeline.later_poll()
        world.faults.clear()
    pipeline.later_poll()


def test_no_byte_of_the_home_or_the_output_tells_who_bought_a_ticket(
    pipeline: Pipeline,
    world: World,
    event: int,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    storm(pipeline, event, sell_to_all_kinds_of_people(world, event))
    words = personal_words(world) | set(SECRETS)
    assert pipeline.grep_home(words) == []
    captured = capfd.readouterr()
    output = "\n".join([captured.out, captured.err, caplog.text]).encode()
    assert [word for word in words if any(spelling in output for spelling in spellings(word))] == []
    assert pipeline.ledger.known_events(), "there was something to search"


def test_the_search_would_find_a_word_that_leaked(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    pipeline.poll()
    assert pipeline.grep_home([f"2031-individual-{event}"])
    assert pipeline.grep_home([pipeline.tables()["individual"][0]["email_sha256"]])
    (pipeline.home / "note.txt").write_text('{"name": "\\u6e2c\\u8a66"}')
    assert pipeline.grep_home(["測試"]) == ["note.txt: 測試"]


def test_an_unexpected_exception_keeps_its_text_to_itself(
    install: Install, world: World, event: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Libraries put values into their texts, causes and contexts; Dagster stores all three."""

    class Careless:
        def __getattr__(self, name: str) -> object:
            try:
                raise KeyError(FRIENDS_ADDRESS)
            except KeyError as error:
                raise ValueError(FRIEND) from error

    pipeline = install(on_disk=True)
    pipeline.restart({"gather": Careless(), "warehouse": Careless()})
    world.sell(event)
    report = pipeline.poll()
    assert [run.ok for run in report.runs] == [True, False, False]
    pipeline.restart()
    assert pipeline.grep_home([FRIEND, FRIENDS_ADDRESS]) == []
    captured = capfd.readouterr()
    assert FRIENDS_ADDRESS not in captured.out + captured.err


def test_the_command_prints_counts_and_no_person(
    server: SandboxServer,
    world: World,
    event: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seats = sell_to_all_kinds_of_people(world, event)
    world.kktix.override(seats[0], data=[[FRIEND]])
    for name, value in {**server.environment, "PYCONTW_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    assert [main(["poll"]), main(["poll", "--json"])] == [1, 1]
    captured = capfd.readouterr()
    assert f"2031-individual-{event}" in captured.out
    output = (captured.out + captured.err).encode()
    words = personal_words(world) | {keys.KKTIX_TOKEN, keys.GATHER_KEY, keys.KLAVIYO_KEY}
    assert [word for word in words if any(spelling in output for spelling in spellings(word))] == []
