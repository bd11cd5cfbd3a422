"""The field policy: every known question has one rule, and an unclear label counts as unknown."""

import csv
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.deidentify.policy import (
    CUT_LABEL_LENGTH,
    Policy,
    PolicyError,
    load_policy,
    normalise_label,
)
from pycontw_assets.records import Attendee

KNOWN = list(csv.reader((Path(__file__).parent / "labels" / "known_labels.csv").open(encoding="utf-8")))[1:]
COLUMNS_THAT_MAY_BE_CLEAR = {
    "gender", "age_range", "tshirt_size", "diet", "country", "years_of_python", "areas_of_interest",
    "needs_shuttle_bus", "heard_of_conference_by", "heard_of_call_for_proposals_by", "attended_before",
    "volunteered_before", "accepts_sponsor_mail", "donates_invoice", "accepts_privacy_policy",
    "accepts_code_of_conduct", "shuttle_bus_stop", "times_attended", "departure_region", "attends_pynight",
    "knows_financial_aid", "shares_address_with_sponsors", "accepts_sponsorship_news", "accepts_event_news",
    "accepts_epidemic_prevention", "accepts_gather_policy",
}  # fmt: skip


def column_of(label: str) -> str | None:
    rule = load_policy().rule_for(label)
    return "drop" if rule and rule.action == "drop" else rule and rule.column


def document(*form: dict[str, object]) -> dict[str, object]:
    return {"pipeline": {}, "payload": {}, "form": list(form), "yes_no": {"yes": ["y"], "no": ["n"]}}


def hashed(column: str, *labels: str, **more: object) -> dict[str, object]:
    return {"column": column, "action": "hash", "as": "text", "description": "x", "labels": labels, **more}


@pytest.mark.parametrize(("label", "column"), KNOWN)
def test_every_label_of_every_year_has_its_rule(label: str, column: str) -> None:
    assert column_of(label) == column


@pytest.mark.parametrize(("label", "column"), KNOWN)
def test_a_label_is_found_in_every_spelling(label: str, column: str) -> None:
    wide = label.replace("?", "？").replace("(", "（").replace(")", "）").replace('"', "“")
    assert column_of(f" \u3000{wide.upper()}  ： ") == column


def test_only_choices_are_kept_in_clear() -> None:
    kept = {rule.column for rule in load_policy().form if rule.action == "keep"}
    assert kept == COLUMNS_THAT_MAY_BE_CLEAR


def test_labels_name_next_years_conference_too() -> None:
    assert column_of("I'm willing to comply with the PyCon TW 2031 CoC / 我願意遵守 PyCon TW 2031 行為準則") == (
        "accepts_code_of_conduct"
    )


@pytest.mark.parametrize(
    "label",
    [
        "Email address of your emergency contact",
        "Would you like to receive an email?",
        "My Address Book",
        "Name",
        "",
        "Contact Email Contact Name",
    ],
)
def test_part_of_a_known_label_is_not_that_label(label: str) -> None:
    assert column_of(label) is None


def test_a_label_cut_at_200_characters_is_found_by_its_beginning() -> None:
    label = "What would you tell a friend who has never been to a conference? " * 4 + "/ 你會怎麼介紹 2031 年的活動"
    policy = Policy(document(hashed("advice_sha256", label), hashed("other_sha256", "Something else")))
    cut = label[:CUT_LABEL_LENGTH]
    assert (rule := policy.rule_for(cut)) is not None
    assert rule.column == "advice_sha256"
    assert policy.rule_for(cut[:-1]) is None


def test_a_cut_label_that_fits_two_questions_is_unknown() -> None:
    beginning = "Please tell us about yourself " * 7
    policy = Policy(document(hashed("a_sha256", beginning + "now"), hashed("b_sha256", beginning + "then")))
    assert policy.rule_for(beginning[:CUT_LABEL_LENGTH]) is None


def test_a_label_that_two_patterns_claim_is_unknown() -> None:
    policy = Policy(document(hashed("a_sha256", "a", patterns=["x.*"]), hashed("b_sha256", "b", patterns=[".*y"])))
    assert policy.rule_for("xy") is None
    assert policy.rule_for("xz") is not None


@given(st.text(max_size=250))
def test_normalising_a_label_twice_changes_nothing(label: str) -> None:
    once = normalise_label(label)
    assert normalise_label(once) == once


def test_the_policy_and_the_parser_agree_on_the_fields_that_are_kept() -> None:
    fields = {field.name for field in dataclasses.fields(Attendee)}
    kept = {entry.column or name for name, entry in load_policy().payload.items() if entry.action == "keep"}
    assert kept == fields - {"answers", "withheld"}
    assert load_policy().payload["data"].action == "form"


@pytest.mark.parametrize("field", ["search_string", "kyc", "id_number", "qrcode", "checkin_code", "slot"])
def test_credentials_and_identity_fields_are_dropped_by_name(field: str) -> None:
    assert load_policy().payload[field].action == "drop"


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ([hashed("a_sha256", "Same"), hashed("b_sha256", "same ?")], "two meanings"),
        ([hashed("a_sha256", "One"), hashed("a_sha256", "Two")], "named twice"),
        ([hashed("a", "One")], "ends in _sha256"),
        ([hashed("drop table_sha256", "One")], "not a plain name"),
        (
            [{"column": "a", "action": "keep", "description": "x", "labels": ["A"]}],
            "only as one of",
        ),
        ([{**hashed("a_sha256", "One"), "hsah": True}], "hsah"),
    ],
)
def test_a_contradictory_policy_is_refused(form: list[dict[str, object]], complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        Policy(document(*form))


def test_the_version_changes_with_the_rules() -> None:
    assert Policy(document(hashed("a_sha256", "A"))).version != Policy(document(hashed("a_sha256", "B"))).version
