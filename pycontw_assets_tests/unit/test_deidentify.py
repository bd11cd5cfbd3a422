"""Rows hold pseudonyms, listed choices and the organiser's words, never a text that a person typed."""

import copy
import hashlib
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.deidentify.choices import Choices
from pycontw_assets.deidentify.policy import FormRule, Policy, load_policy
from pycontw_assets.deidentify.pseudonymize import Deidentified, answer_text, deidentify, question_text
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition
from pycontw_assets_tests.unit.test_deidentify_policy import KNOWN, document

PARTITION = EventPartition(90001, "2031", "individual")
SEEN = datetime(2031, 6, 1, 10, tzinfo=timezone.utc)
INVENTED_PERSON = "Zebulon Quokkaworth"
ALL_LABELS = [label for label, _ in KNOWN] + ["Favourite animal?", "未知的問題"]


def record(*answers: tuple[str, Any], attendee_id: int = 700101, **fields: Any) -> AttendeeRecord:
    gone_at = fields.pop("gone_at", None)
    times = {name: fields.pop(name) for name in ("listed_after", "paid_seen_at", "paid_seen_after") if name in fields}
    attendee = Attendee(**{"is_paid": True, "state": "activated", **fields}, attendee_id=attendee_id, answers=answers)
    return AttendeeRecord(attendee, SEEN, gone_at, **times)


def result_of(*answers: tuple[str, Any], **fields: Any) -> Deidentified:
    return deidentify([record(*answers, **fields)], PARTITION, Pseudonymizer())


def row_of(*answers: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    return dict(result_of(*answers, **fields).frame.astype(object).iloc[0])


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def held_back(row: dict[str, Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(row["unclassified_answers"])
    return found


def everything_in(result: Deidentified) -> str:
    counts = (result.unknown_questions, result.unlisted_answers, result.repeated_answers)
    return result.frame.to_csv() + json.dumps(counts, ensure_ascii=False)


def test_a_person_typed_into_every_answer_appears_nowhere() -> None:
    shown = everything_in(result_of(*((label, INVENTED_PERSON) for label in ALL_LABELS))).lower()
    assert not [word for word in INVENTED_PERSON.lower().split() if word in shown]


@pytest.mark.parametrize("template", ["{}", "male / {}", "Taiwan, {}", "Web; {}", "3-5 years {}", "Yes ({})"])
def test_a_name_next_to_a_listed_choice_appears_nowhere(template: str) -> None:
    answers = [(label, template.format(INVENTED_PERSON)) for label in ALL_LABELS]
    assert "quokkaworth" not in everything_in(result_of(*answers)).lower()


@given(st.text(min_size=1, max_size=30))
def test_a_kept_column_holds_listed_choices_only(answer: str) -> None:
    policy = load_policy()
    row = row_of(*((rule.labels[0], answer) for rule in policy.form if rule.labels))
    for rule in policy.form:
        if rule.action == "keep" and isinstance(value := row[rule.column], str) and not rule.pattern:
            assert set(value.split("; ")) <= set(rule.choices)


@given(st.text("0123456789-+~ abcxyz年歲", min_size=1, max_size=12))
def test_a_number_range_passes_with_two_digits_at_most(answer: str) -> None:
    row = row_of(("Age Range / 年齡區間", answer), ("Years of Using Python / 使用 Python 多久", answer))
    for kept in (row["age_range"], row["years_of_python"]):
        numbers = "".join(c if c.isdigit() else " " for c in kept).split() if isinstance(kept, str) else ()
        assert max(map(len, numbers), default=0) < 3


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(ALL_LABELS),
)
def test_any_json_value_can_be_an_answer(value: Any, label: str) -> None:
    assert len(result_of((label, value)).frame) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" 42 ", "42"), (42, "42"), (42.0, "42"), (4.5, "4.5"), (True, "true"), (False, "false"), (0, "0"),
        (["Web", None, "資料"], "Web; 資料"), ({"a": "b"}, '{"a": "b"}'),
        (None, None), ("", None), ("  ", None), ([], None), ([""], None), ({}, None),
    ],
)  # fmt: skip
def test_values_become_text_explicitly_and_empty_is_nothing(value: Any, text: str | None) -> None:
    assert answer_text(value) == text


def test_two_spellings_of_an_address_have_one_pseudonym() -> None:
    first = row_of(("聯絡人 Email", " Buyer-One@Example.ORG "))
    second = row_of(("Contact Email", "ｂuyer-one@example.org"))
    assert first["email_sha256"] == second["email_sha256"] == sha256("buyer-one@example.org")


def test_three_spellings_of_a_phone_have_one_pseudonym() -> None:
    spellings = ["0912-345-678", "+886 912 345 678", 912345678]
    assert {row_of(("聯絡人 手機", value))["mobile_sha256"] for value in spellings} == {sha256("+886912345678")}


@pytest.mark.parametrize("answer", ["---", "無", "n/a", "\u200b"])
def test_an_answer_without_digits_is_no_phone(answer: str) -> None:
    """Otherwise everybody who answered "none" would be one person in a join."""
    assert row_of(("聯絡人 手機", answer))["mobile_sha256"] is pd.NA
    assert row_of(("聯絡人 手機", answer), ("聯絡人 手機", "0912-345-678"))["mobile_sha256"] == sha256("+886912345678")


def test_a_row_holds_the_first_of_several_phones() -> None:
    for answer in ("0912-345-678 / 0922-345-678", ["0912-345-678", "0922-345-678"], "0912345678（公司）"):
        assert row_of(("聯絡人 手機", answer))["mobile_sha256"] == sha256("+886912345678")


def test_an_address_of_fillers_only_is_none() -> None:
    row = row_of(("聯絡人 Email", "\u200b\u3164"), ("Contact Email", "a\u00ad@example.org"))
    assert row["email_sha256"] == sha256("a@example.org")


def test_with_a_key_the_pseudonyms_are_others() -> None:
    rows = deidentify([record(("聯絡人 Email", "a@example.org"))], PARTITION, Pseudonymizer("key")).frame
    assert rows["email_sha256"][0] == Pseudonymizer("key").address("a@example.org") != sha256("a@example.org")


def test_the_contact_address_and_the_forms_own_email_are_two_columns() -> None:
    row = row_of(("Email", "work@example.org"), ("聯絡人 Email", "home@example.org"))
    assert row["email_sha256"] == sha256("home@example.org")
    assert row["form_email_sha256"] == sha256("work@example.org")


def test_an_empty_answer_is_null_and_not_the_digest_of_nothing() -> None:
    result = result_of(("聯絡人 Email", ""), ("聯絡人 姓名", None), ("聯絡人 手機", "   "))
    columns = ["email_sha256", "contact_name_sha256", "mobile_sha256", "unclassified_answers"]
    assert result.frame[columns].isna().all(axis=None)
    assert sha256("") not in everything_in(result)


def test_a_repeated_question_keeps_its_first_answer() -> None:
    result = result_of(
        ("Nickname / 暱稱", ""), ("Nickname / 暱稱", "Quokka"), ("Nickname / 暱稱 (Shown on Badge)", "Wombat")
    )
    row = dict(result.frame.iloc[0])
    assert row["nickname_sha256"] == sha256("Quokka")
    assert held_back(row) == [{"question": "Nickname / 暱稱 (Shown on Badge)", "answer_sha256": sha256("Wombat")}]
    assert result.repeated_answers == {"nickname_sha256": 1}


def test_an_unknown_question_is_stored_as_text_and_digest() -> None:
    records = [record(("Favourite animal?", "Quokka"), attendee_id=number) for number in (1, 2)]
    result = deidentify(records, PARTITION, Pseudonymizer())
    assert result.unknown_questions == {"Favourite animal?": 2}
    assert held_back(dict(result.frame.iloc[0])) == [
        {"question": "Favourite animal?", "answer_sha256": sha256("Quokka")}
    ]


def test_a_paragraph_of_the_form_is_no_question() -> None:
    result = result_of(("Please read this carefully before you answer.", ""))
    assert not result.unknown_questions
    assert result.frame["unclassified_answers"].isna().all()


@pytest.mark.parametrize(
    ("label", "stored"),
    [
        ("Ask help@example.org or 0900-000-001", "Ask @ or #"),
        ("Invoice 12345678 for PyCon TW 2031", "Invoice # for PyCon TW 2031"),
        ("  Two\n lines ", "Two lines"),
        ("ｈｅｌｐ＠example.org", "@"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_question_text_is_stored_without_addresses_and_long_numbers(label: str, stored: str) -> None:
    assert question_text(label) == stored


@pytest.mark.parametrize(
    ("label", "answer", "column", "kept"),
    [
        ("Gender / 生理性別", "Female / 女性", "gender", "female"),
        ("Gender / 性別", "男", "gender", "male"),
        ("Size of T-shirt / T恤尺寸", "xxl", "tshirt_size", "2XL"),
        ("Dietary Habit / 餐點偏好", "Vegetarian / 素食", "diet", "vegetarian"),
        ("Come From / 國家或地區", "Taiwan (台灣)", "country", "Taiwan"),
        ("Come From / 國家或地區", "臺灣 Taiwan", "country", "Taiwan"),
        ("Years of Using Python / 使用 Python 多久", "3–5 years", "years_of_python", "1-5 years"),
        ("Age Range / 年齡區間", "65 歲以上", "age_range", "65 歲以上"),
        ("Area of Interest / 興趣領域", ["Web", "Data Science"], "areas_of_interest", "web; data"),
        ("Have you ever attended PyCon TW? / 您是否曾參加 PyCon TW？", "Yes / 是", "attended_before", True),
        ("Need Shuttle Bus Service?", "不需要", "needs_shuttle_bus", False),
        ("Need Shuttle Bus Service?", False, "needs_shuttle_bus", False),
    ],
)
def test_a_listed_choice_is_kept_in_its_listed_spelling(label: str, answer: Any, column: str, kept: Any) -> None:
    assert row_of((label, answer))[column] == kept


def test_an_unlisted_choice_among_several_is_held_back_alone() -> None:
    result = result_of(("Area of Interest / 興趣領域", "Web, Basket weaving"))
    row = dict(result.frame.iloc[0])
    assert row["areas_of_interest"] == "web"
    assert [held["answer_sha256"] for held in held_back(row)] == [sha256("Basket weaving")]
    assert result.unlisted_answers == {"areas_of_interest": 1}


@pytest.mark.parametrize("label", ["標籤", "Tags", "# invoice policy #", "Checkin Code", "QR Code 序號"])
def test_tags_paragraphs_and_door_codes_leave_no_trace(label: str) -> None:
    result = result_of((label, INVENTED_PERSON))
    assert result.frame["unclassified_answers"].isna().all()
    assert not result.unknown_questions


def test_a_row_says_whose_ticket_is_usable_and_whose_is_cancelled() -> None:
    assert (row_of()["is_usable"], row_of()["is_cancelled"]) == (True, False)
    gone = row_of(gone_at=SEEN)
    assert (gone["is_usable"], gone["is_cancelled"], gone["gone_at"].to_pydatetime()) == (False, True, SEEN)
    cancelled = row_of(state="cancelled")
    assert (cancelled["is_usable"], cancelled["is_cancelled"]) == (False, True)
    assert row_of(is_paid=False)["is_usable"] is False


def test_a_row_carries_its_partition_and_the_organisers_vocabulary() -> None:
    row = row_of(ticket_name="Regular 一般票", price=2500, updated_at=1930000123.4567, order_no=800200301)
    assert [row[name] for name in ("partition_key", "edition", "family", "event_id", "attendee_id")] == [
        "2031-individual-90001", "2031", "individual", 90001, 700101
    ]  # fmt: skip
    assert (row["ticket_name"], row["price"], row["order_no"]) == ("Regular 一般票", 2500.0, 800200301)
    assert row["updated_at"].isoformat() == "2031-02-27T23:08:43.456700+00:00"


def test_numbers_and_texts_no_table_can_hold_do_not_sink_the_run() -> None:
    result = result_of(
        ("聯絡人 姓名", "half \ud83d character"),
        ticket_name="Regular\0 \udc00",
        reg_no=2**70,
        price=float("inf"),
        updated_at=1e30,
    )
    assert result.frame["ticket_name"][0] == "Regular ?"
    assert result.frame["contact_name_sha256"][0] == sha256("half ? character")
    assert result.frame[["reg_no", "price", "updated_at"]].isna().all(axis=None)


def test_no_attendee_gives_an_empty_frame_with_every_column_and_type() -> None:
    empty = deidentify([], PARTITION, Pseudonymizer()).frame
    assert len(empty) == 0
    assert dict(empty.dtypes) == dict(result_of().frame.dtypes)


def test_the_input_is_left_as_it_was() -> None:
    given_record = record(("Area of Interest / 興趣領域", ["Web"]), ("聯絡人 Email", "a@example.org"))
    before = copy.deepcopy(given_record)
    deidentify([given_record], PARTITION, Pseudonymizer())
    assert given_record == before


def test_the_same_records_give_the_same_rows() -> None:
    records = [record(("聯絡人 Email", f"{n}@example.org"), ("New?", "x"), attendee_id=n) for n in range(5)]
    once, again = (deidentify(records, PARTITION, Pseudonymizer()).frame for _ in range(2))
    assert once.equals(again)


@pytest.mark.parametrize("column", ["state", "currency", "payment_method", "ticket_type"])
def test_a_field_with_a_vocabulary_holds_its_words_only(column: str) -> None:
    result = result_of(**{column: INVENTED_PERSON})
    row = dict(result.frame.astype(object).iloc[0])
    assert result.frame[column].isna().all()
    assert result.unlisted_answers == {column: 1}
    assert held_back(row) == [{"question": column, "answer_sha256": sha256(INVENTED_PERSON)}]
    word = sorted(load_policy().vocabularies[column])[0]
    assert row_of(**{column: word})[column] == word
    assert result_of(**{column: None if column != "state" else word}).unlisted_answers == {}


@pytest.mark.parametrize(
    ("hours", "word"), [(None, "at_latest"), (-1, "at_latest"), (0.1, "hour"), (1, "hour"), (1.1, "day"), (24, "day"),
                        (24.1, "at_latest")]
)  # fmt: skip
def test_a_time_says_how_far_before_it_the_moment_may_have_been(hours: float | None, word: str) -> None:
    after = None if hours is None else SEEN - timedelta(hours=hours)
    row = row_of(listed_after=after, paid_seen_at=SEEN, paid_seen_after=after)
    assert (row["ordered_at"], row["ordered_at_certainty"]) == (SEEN, word)
    assert (row["paid_at"], row["paid_at_certainty"]) == (SEEN, word)


def test_a_payment_that_nobody_wrote_down_is_unknown_and_none_is_empty() -> None:
    paid, unpaid = row_of(), row_of(is_paid=False)
    assert pd.isna(paid["paid_at"])
    assert paid["paid_at_certainty"] == "unknown"
    assert pd.isna(unpaid["paid_at_certainty"])
    assert pd.isna(unpaid["paid_at"])


class CountingPolicy(Policy):
    """A policy that counts how often an answer is compared with its choices."""

    compared = 0

    def choices_of(self, rule: FormRule) -> Choices:
        self.compared += 1
        return super().choices_of(rule)


def test_an_answer_that_many_give_is_compared_once() -> None:
    """Otherwise a sale of 100,000 takes minutes."""
    rule = {"column": "meal", "action": "keep", "description": "x", "labels": ["Meal"], "choices": {"rice": []}}
    policy = CountingPolicy(document({**rule, "multiple": True}))
    records = [record(("Meal", answer)) for answer in ("rice", ["rice", "noodles"], " rice ", True) for _ in range(50)]
    frame = deidentify(records, PARTITION, Pseudonymizer(), policy=policy).frame
    assert policy.compared == 4
    assert list(frame["meal"].dropna().unique()) == ["rice"]
