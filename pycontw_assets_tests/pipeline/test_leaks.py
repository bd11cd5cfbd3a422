"""Personal data is in the vault and nowhere else, also after failures: everything a run leaves is searched."""

from __future__ import annotations

import argparse
import itertools
import logging
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from dagster import DagsterInstance
from dagster._serdes import serialize_value
from dagster._utils.error import serializable_error_info_from_exc_info

from pycontw_assets.commands.cli import _parser, main
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED
from pycontw_assets.ledger.events import known_events
from pycontw_assets.pseudonyms import normalise_phone
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.faults import Kind
from pycontw_assets.sandbox.kktix.box_office import Ticket
from pycontw_assets.sandbox.kktix.people import ADDRESS_KINDS
from pycontw_assets.sandbox.oracle import normalise
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, spellings
from pycontw_assets_tests.pipeline.test_sensor import evaluate

pytestmark = pytest.mark.thorough

VAULT_KEY = Fernet.generate_key().decode()
PSEUDONYM_KEY = "an invented pseudonym key"
ALERT_TOKEN, HEARTBEAT_TOKEN, PASSWORD = "tokenof0alarms", "tokenof0heartbeats", "passwordof0ledgers"
SECRETS = (
    *(keys.KKTIX_TOKEN, keys.GATHER_KEY, keys.KLAVIYO_KEY, VAULT_KEY, PSEUDONYM_KEY),
    *(ALERT_TOKEN, HEARTBEAT_TOKEN, PASSWORD),
)
# Unforeseen answers to an unknown question; the last one is in the label itself.
FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE = "虛構朋友 Friend Ofquokka", "friend.ofquokka@example.net", "0900-000-987"
# An employer and a job title, of which a class is stored and nothing else, and answers outside the choices.
EMPLOYER, JOB_TITLE = "Ofdugong Zymurgy Bank 虛構釀造銀行", "Wrangler ofdugongs Engineer"
OUTSIDE_THE_CHOICES = ("Potoostan", "Ofpotoo weaving", "Takinese 塔金素")


def personal_words(world: World) -> set[str]:
    """Return everything about an invented person that must be found nowhere."""
    words = {FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE, "dropbear@example.org", "0900000654"}
    words |= {EMPLOYER, "Zymurgy", "虛構釀造", JOB_TITLE, "Wrangler", "ofdugongs", *OUTSIDE_THE_CHOICES, "塔金素"}
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
    return install(
        on_disk=True,
        vault_key=VAULT_KEY,
        pseudonym_key=PSEUDONYM_KEY,
        alert_urls=f"json://127.0.0.1:9/{ALERT_TOKEN}",
        refresh_seconds=0,
    )


def sell(world: World, event: int, **options: Any) -> int:
    """Sell a ticket with a door code that can be searched for: four digits occur anywhere."""
    [seat] = world.sell(event, **options)
    world.kktix.tickets[seat].checkin_code = f"DOOR-{seat}"
    return seat


def sell_to_all_kinds_of_people(world: World, event: int) -> list[int]:
    """Sell to every kind of address, with door codes to search for, and answers that no rule lets through."""
    place, areas, diet = OUTSIDE_THE_CHOICES
    seats = [sell(world, event, kind=kind) for kind in ADDRESS_KINDS]
    for seat in seats:
        ticket = world.kktix.tickets[seat]
        ticket.answers[2:2] = [
            ["Who comes with you? / 誰與您同行？", f"{FRIEND}, {FRIENDS_ADDRESS}"],
            ["Emergency contact", {"name": FRIEND, "phones": [FRIENDS_PHONE, FRIENDS_ADDRESS]}],
            ["Dietary Preference / 飲食偏好", f"like {FRIEND} {seat}"],
            ["Company / 服務單位", f"{EMPLOYER} {seat}"],
            ["Job Title / 職稱", f"{JOB_TITLE} {seat}"],
            ["Come From / 國家或地區", f"{place} {seat}"],
            ["Area of Interest / 興趣領域", f"AI, Machine Learning, {areas} {seat}"],
            ["Dietary Habit / 餐點偏好", f"{diet} {seat}"],
            ["Have you ever attended PyCon TW?/ 是否曾參加 PyCon TW？", f"with {FRIEND} {seat}"],
            ["Ask Dropbear dropbear@example.org or 0900000654 about rooms / 住宿", "yes"],
        ]
    return seats


def storm(pipeline: Pipeline, event: int, seats: list[int], services: Iterable[str]) -> None:
    """Cause all kinds of error texts: faults, refunds, transfers, rejected and malformed payloads.

    Every answer quotes the call, including credentials and addresses. Each kind strikes KKTIX and the next of
    ``services``: after a failure of Gather, Klaviyo is not reached.
    """
    world = pipeline.world
    pipeline.poll()
    world.kktix.override(seats[0], state=None, is_paid=FRIEND)
    world.kktix.override(seats[1], data=[[FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE]])
    world.transfer(seats[2], "moved.quokka@example.org")
    world.refund(seats[3])
    for address in ("poison.potoo@example.org", "refused.takin@example.org"):
        sell(world, event, address=address)
    world.gather.switches.rejected_addresses = {"poison.potoo@example.org"}
    world.klaviyo.switches.refused_addresses = {"refused.takin@example.org"}
    kinds: tuple[tuple[Kind, dict[str, Any]], ...] = (
        ("status", {"status": 500, "acts": True}),
        ("status", {"status": 400, "method": "GET"}),
        ("reset", {"acts": True}),
        ("truncate", {}),
        ("html", {}),
        ("shape", {}),
        ("redirect", {}),
    )
    for service, (kind, details) in zip(services, kinds, strict=False):
        sell(world, event)
        details["echoes"] = kind != "truncate"
        struck = world.faults.add(service, kind, times=3, **details)
        world.faults.add("kktix", kind, path="attendees", times=1, **details)
        pipeline.clock.advance(3600)
        pipeline.poll()
        assert struck.times != 3, (service, kind)
        world.faults.clear()
    pipeline.later_poll()


def log_requests_too(pipeline: Pipeline) -> None:
    """Let the run history take the lines about single requests as well, which are below its usual level."""
    config = pipeline.home / "dagster" / "dagster.yaml"
    config.write_text(config.read_text().replace("python_log_level: INFO", "python_log_level: DEBUG"))
    pipeline.instance.dispose()
    pipeline.instance = DagsterInstance.from_config(str(config.parent))


@pytest.mark.parametrize(
    "services", [("gather", "klaviyo"), pytest.param(("klaviyo", "gather"), marks=pytest.mark.slow)]
)
def test_no_byte_of_the_home_or_the_output_names_a_buyer(
    services: tuple[str, str],
    pipeline: Pipeline,
    world: World,
    event: int,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    log_requests_too(pipeline)
    storm(pipeline, event, sell_to_all_kinds_of_people(world, event), itertools.cycle(services))
    words = personal_words(world) | set(SECRETS)
    assert pipeline.grep_home(words) == []
    captured = capfd.readouterr()
    output = "\n".join([captured.out, captured.err, caplog.text]).encode()
    assert [word for word in words if any(spelling in output for spelling in spellings(word))] == []
    lines = [record.getMessage() for record in caplog.records if record.name == "pycontw_assets"]
    events = {name for line in lines for name in re.findall(r"\bevent=(\w+)", line)}
    assert known_events(pipeline.ledger), "there was something to search"
    assert {"attendees_read", "table_replaced", "batch_sent", "request_failed"} <= events


def test_the_search_would_find_a_word_that_leaked(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    pipeline.poll()
    assert pipeline.grep_home([f"2031-individual-{event}"])
    assert pipeline.grep_home([pipeline.tables()["individual"][0]["email_sha256"]])
    (pipeline.home / "note.txt").write_text('{"name": "\\u6e2c\\u8a66"}')
    assert pipeline.grep_home(["測試"]) == ["note.txt: 測試"]


class Careless:
    """A library with values in the text of its exceptions, in their cause, their context and their notes."""

    api = SimpleNamespace(requests_sent=0)

    def __getattr__(self, name: str) -> object:
        try:
            raise KeyError(FRIENDS_ADDRESS)
        except KeyError as cause:
            error = ValueError(FRIEND)
            if sys.version_info >= (3, 11):
                error.add_note(FRIENDS_PHONE)
            raise error from cause


def test_an_unexpected_exception_keeps_its_text_to_itself(
    install: Install, world: World, event: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Dagster stores text, cause and context of what a step or a tick raises."""
    pipeline = install(on_disk=True)
    world.sell(event)
    for careless, fine in (
        (("gather", "warehouse"), [True, False, False]),
        (("klaviyo",), [False, True]),
        (("vault",), [False]),
    ):
        pipeline.restart({name: Careless() for name in careless})
        assert [run.ok for run in pipeline.later_poll().runs] == fine, careless
    pipeline.restart({"kktix": Careless()})
    failed_tick = error_of_a_tick(pipeline)
    assert "unexpected ValueError in observe.py" in failed_tick
    pipeline.restart()
    assert pipeline.grep_home([FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE]) == []
    captured = capfd.readouterr()
    assert found_in(captured.out + captured.err + failed_tick, {FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE}) == set()


def error_of_a_tick(pipeline: Pipeline) -> str:
    """Return the error text that the daemon would store of a failed tick."""
    try:
        evaluate(pipeline)
    except Exception:  # noqa: BLE001  # the daemon would store any error
        return serialize_value(serializable_error_info_from_exc_info(sys.exc_info()))
    raise AssertionError("the tick did not fail")


def found_in(output: str, words: set[str]) -> set[str]:
    return {word for word in words if any(spelling in output.encode() for spelling in spellings(word))}


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
    assert [main(["poll"]), main(["poll", "--json"])] == [0, 0]
    assert [main(["policy", "suggest"]), main(["reclassify"])] == [0, 0]
    main(["policy", "coverage"])
    captured = capfd.readouterr()
    assert "other questions without a rule" in captured.out or "- column: " in captured.out
    assert "answers are kept whole" in captured.out
    assert f"2031-individual-{event}" in captured.out
    assert found_in(captured.out + captured.err, personal_words(world) | set(SECRETS)) == set()


# -- commands that fail -------------------------------------------------------------------------------

Accident = Callable[[World, Path], dict[str, str]]


def _a_ledger_of_another_shape(world: World, home: Path) -> dict[str, str]:
    with closing(sqlite3.connect(home / "ledger.sqlite")) as database:
        database.execute(f'CREATE TABLE events ("{FRIENDS_ADDRESS}")')
    return {}


def _a_ledger_that_is_none(world: World, home: Path) -> dict[str, str]:
    (home / "ledger.sqlite").write_text(f"{FRIENDS_ADDRESS} " * 100)
    return {}


def _an_instance_of_another_shape(world: World, home: Path) -> dict[str, str]:
    """Write a file of another shape; it may hold the password of a database."""
    (home / "dagster").mkdir()
    url = f"postgresql://pycontw:{PASSWORD}@127.0.0.1:9/dagster"
    (home / "dagster" / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_url: '{url}'}}, {PASSWORD}: 1}}")
    return {}


def _echoes(service: str, status: int) -> Accident:
    def order(world: World, home: Path) -> dict[str, str]:
        world.faults.add(service, "status", times=None, status=status, echoes=True)
        return {}

    return order


def _variables(**changes: str) -> Accident:
    return lambda world, home: changes


ACCIDENTS: dict[str, Accident] = {
    "a ledger of another shape": _a_ledger_of_another_shape,
    "a ledger that is none": _a_ledger_that_is_none,
    "an instance of another shape": _an_instance_of_another_shape,
    "a ledger that is not there": _variables(LEDGER_URL=f"postgresql://pycontw:{PASSWORD}@127.0.0.1:9/ledger"),
    "a ledger URL that is none": _variables(LEDGER_URL=f"nothing of a url, {PASSWORD}"),
    "a token that cannot be sent": _variables(KKTIX_API_TOKEN=f"{PASSWORD}\n"),
    "a URL that cannot be called": _variables(KKTIX_API_URL=f"http://pycontw:{PASSWORD}@[/"),
    "a vault key that is none": _variables(VAULT_KEY=PASSWORD),
    "a space id that is none": _variables(GATHER_SPACE_ID=PASSWORD),
    "a map of events that is none": _variables(KKTIX_EVENTS=f'{{"{FRIENDS_ADDRESS}": '),
    "a map of lists that is none": _variables(KLAVIYO_LISTS=f'["{FRIENDS_ADDRESS}"]'),
    "an alarm's address that is none": _variables(ALERT_URLS=f"nowhere://{ALERT_TOKEN}"),
    "a number that is none": _variables(REVOKE_LIMIT=FRIENDS_PHONE),
    "production without anything": _variables(PYCONTW_ENV="production", PSEUDONYM_KEY=PSEUDONYM_KEY),
    "KKTIX refuses and quotes": _echoes("kktix", 401),
    "Gather refuses and quotes": _echoes("gather", 403),
    "Klaviyo refuses and quotes": _echoes("klaviyo", 400),
}
OF_THEIR_OWN = ("demo", "dev", "drill", "sandbox")  # with invented people in a separate world


def commands() -> dict[str, list[str]]:
    """Return every command that ends without a signal, with a value for each argument that it needs."""
    (choices,) = [action.choices for action in _parser()._actions if action.choices]
    assert isinstance(choices, dict)
    return {name: _needed(parser) for name, parser in choices.items() if name not in OF_THEIR_OWN}


def _needed(parser: argparse.ArgumentParser) -> list[str]:
    needed = [action for action in parser._actions if not action.option_strings]
    return ["invited.txt" if action.dest == "file" else _value_of(action) for action in needed]


def _value_of(action: argparse.Action) -> str:
    return str(next(iter(action.choices))) if action.choices else FRIENDS_ADDRESS


# Whole polls, which the storm above covers too, and further cases of the same kinds.
LONG = (
    "Gather refuses and quotes",
    "Klaviyo refuses and quotes",
    "a ledger that is none",
    "a ledger URL that is none",
    "a space id that is none",
    "a map of lists that is none",
    "an alarm's address that is none",
    "a number that is none",
)


@pytest.mark.parametrize(
    "accident", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in ACCIDENTS]
)
def test_a_command_that_fails_says_so_in_words_of_our_own(
    accident: str,
    server: SandboxServer,
    world: World,
    event: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    world.sell(event, address=FRIENDS_ADDRESS)
    Path("invited.txt").write_text(f"{FRIENDS_ADDRESS}\n{FRIEND}, {FRIENDS_PHONE}\n")
    own = {"HEARTBEAT_URL": f"http://127.0.0.1:9/{HEARTBEAT_TOKEN}", "VAULT_KEY": VAULT_KEY}
    ends = set()
    for command, arguments in commands().items():
        home = tmp_path / command
        home.mkdir()
        world.faults.clear()
        changes = ACCIDENTS[accident](world, home)
        with monkeypatch.context() as environment:
            for name, value in ({**server.environment, **own, "PYCONTW_HOME": str(home)} | changes).items():
                environment.setenv(name, value)
            ends.add(main([command, *arguments]))
        captured = capfd.readouterr()
        output = captured.out + captured.err
        assert output.strip(), command
        assert "Traceback" not in output, command
        assert found_in(output + caplog.text, {FRIEND, FRIENDS_ADDRESS, FRIENDS_PHONE, *SECRETS}) == set(), command
    assert ends <= {FINE, FAILED, MISCONFIGURED}
    assert ends != {FINE}
