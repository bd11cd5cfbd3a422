"""Nothing that leaves a run carries a person: not the text, the cause, the context or the frames."""

import json
import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from dagster import Failure
from dagster._serdes import serialize_value
from dagster._utils.error import serializable_error_info_from_exc_info
from pydantic import BaseModel

from pycontw_assets.api.client import Misconfigured, NotFound, Unavailable
from pycontw_assets.extract.snapshot import UntrustedBook
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.locks import Busy
from pycontw_assets.orchestration.run_recording import safe_errors
from pycontw_assets.pipeline.redaction import explain
from pycontw_assets.pipeline.steps import UnknownPartition
from pycontw_assets.send_email.invitation.template import render_invitation
from pycontw_assets.settings import InvalidSettings
from pycontw_assets.vault.vault import VaultError

PERSON = "zebulon.quokkaworth@example.org"


class Model(BaseModel):
    number: int


def _in_a_chain() -> None:
    try:
        {}[PERSON]
    except KeyError as error:
        raise ValueError(f"while reading {PERSON}") from error


def _with_a_note() -> None:
    error = LedgerError("another key")
    if sys.version_info >= (3, 11):
        error.add_note(PERSON)
    raise error


def _in_a_group() -> None:
    if sys.version_info >= (3, 11):
        raise ExceptionGroup(PERSON, [ValueError(PERSON)])  # noqa: F821  # of Python 3.11
    raise ValueError(PERSON)


def _in_a_statement() -> None:
    with sa.create_engine("sqlite://").connect() as db:
        db.execute(sa.text("SELECT * FROM nowhere WHERE address = :address"), {"address": PERSON})


def _in_a_query() -> None:
    import duckdb

    duckdb.connect().execute("SELECT CAST(? AS INTEGER)", [PERSON])


def _in_a_frame() -> None:
    pd.DataFrame({"address": [PERSON]}).astype({"address": "int64"})


def _in_a_url() -> None:
    sa.create_engine(f"nothing of a url {PERSON}")


def _while_handling_another() -> None:
    try:
        raise RuntimeError(PERSON)
    except RuntimeError:
        raise Unavailable("Klaviyo", "send campaign", "answered 500")  # noqa: B904 - the context is the point


ACCIDENTS: list[Callable[[], Any]] = [
    lambda: {}[PERSON],
    lambda: int(PERSON),
    lambda: Model(number=PERSON),
    lambda: PERSON.encode("ascii", "strict") + "ｗ".encode("ascii"),
    lambda: [].index(PERSON),  # type: ignore[var-annotated]
    lambda: json.loads(PERSON),
    lambda: b"x".decode(PERSON),
    lambda: PERSON.encode().decode("utf-16-le"),
    _in_a_chain,
    _with_a_note,
    _in_a_group,
    _in_a_statement,
    _in_a_query,
    _in_a_frame,
    _in_a_url,
    _while_handling_another,
]


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_an_error_inside_dagster_holds_nothing_about_a_person(accident: Callable[[], Any]) -> None:
    try:
        with safe_errors():
            accident()
    except Failure:
        stored = serialize_value(serializable_error_info_from_exc_info(sys.exc_info()))
    assert "quokkaworth" not in stored.replace("PERSON", "")
    assert "Failure" in stored


def test_a_log_line_about_a_result_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    try:
        with safe_errors():
            _in_a_chain()
    except Failure:
        logging.getLogger("somebody's").exception("it failed")
    assert "quokkaworth" not in caplog.text.replace("{PERSON}", "")


def test_an_unexpected_error_is_shown_by_type_and_place() -> None:
    with pytest.raises(Failure) as caught, safe_errors():
        render_invitation("2031", venue_url="https://example.org", video_url="https://example.org", source={PERSON: ""})
    assert "TypeError" in str(caught.value.description)
    assert "in template.py, line " in str(caught.value.description)


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("KKTIX", "list events", "answered 503"),
        NotFound("Klaviyo", "read list", "answered 404"),
        Misconfigured("Gather", "read guest list", "answered 403"),
        UntrustedBook("the vault has lost the orders"),
        Busy("gather guest list is held"),
        LedgerError("another key"),
        InvalidSettings("EDITION: is wrong"),
        VaultError("vault: x cannot be decrypted"),
        UnknownPartition("no event has this partition key"),
    ],
)
def test_our_own_errors_keep_their_text(error: Exception) -> None:
    assert explain(error) == str(error)


def test_a_wrong_invitation_link_keeps_the_text_of_its_error() -> None:
    with pytest.raises(Failure) as caught, safe_errors():
        render_invitation("2031", venue_url="no link", video_url="https://example.org")
    assert "venue_url must be a web address" in str(caught.value.description)


def test_a_failure_is_not_retried_and_passes_a_second_guard_unchanged() -> None:
    with pytest.raises(Failure) as caught, safe_errors(), safe_errors():
        raise LedgerError("another key")
    assert caught.value.allow_retries is False
    assert caught.value.description == "another key"


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_being_stopped_is_no_failure(signal: type[BaseException]) -> None:
    with pytest.raises(signal), safe_errors():
        raise signal


def test_an_interrupt_does_not_carry_what_it_interrupted() -> None:
    """Dagster raises it anywhere, also while an error with somebody's address in its text is handled."""

    def is_interrupted() -> None:
        try:
            raise ValueError("buyer-one@example.org")
        except ValueError:
            raise KeyboardInterrupt  # noqa: B904  # as a signal does

    with pytest.raises(KeyboardInterrupt) as caught, safe_errors():
        is_interrupted()
    assert "buyer-one" not in "".join(traceback.format_exception(caught.value))
