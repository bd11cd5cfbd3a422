"""Suggested rules show what at least five people gave, and one paste of them keeps a form nobody knew."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.deidentify.coverage import Coverage, coverage_gaps, coverage_of, kept_in_all
from pycontw_assets.deidentify.policy import load_policy, use_policy_file
from pycontw_assets.deidentify.pseudonymize import Deidentified, deidentify
from pycontw_assets.deidentify.suggestions import Unclassified
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import AttendeeRecord
from pycontw_assets_tests.unit.test_deidentify import PARTITION, record

ROLES = ["Talks, all of them 所有演講", "Sprints 衝刺", "Hallway track 走廊閒聊", "Job fair 就業博覽會"]
TRANSPORT = ["High speed rail / 高鐵", "Bus / 巴士", "On foot / 步行", "Bicycle / 單車"]
EXTRAS = ["Childcare 托育", "Sign language 手語", "Quiet room 安靜室"]
PLACE_ASKED = "Which country do you live in? / 您居住的國家"
PERSONAL = ("Quokkaworth", "quokka.friend@example.net", "0900000987", "虛構朋友", "Dropbear Ltd")


def form_nobody_knew(number: int, chance: random.Random) -> tuple[tuple[str, Any], ...]:
    """Return the answers of one person to a form with other wordings and new questions."""
    return (
        ("What are you looking forward to? / 最期待什麼", chance.choice(ROLES)),
        ("How do you get here? / 交通方式", chance.choice(TRANSPORT)),
        ("需要哪些協助", ", ".join(chance.sample(EXTRAS, chance.randint(1, 3)))),
        ("Is this your first visit to Taiwan?", chance.choice(["Yes / 是", "No / 否"])),
        (PLACE_ASKED, chance.choice(["Taiwan 台灣", "Japan 日本", "Korea 韓國"])),
        ("Meal / 餐點", chance.choice(["葷 Meat", "素 Vegetarian"])),
        ("Years with Python?", chance.choice([1, 2, 5, 10])),
        ("Whom should we call? / 緊急聯絡人", f"虛構朋友{number} Quokkaworth 0900000987"),
        ("Who told you of us?", f"quokka.friend@example.net {number % 3}"),
        ("Dietary Preference / 飲食偏好", chance.choice(["Pescatarian 魚素", "Vegan", f"like Quokkaworth {number}"])),
        ("Your employer's badge / 公司", f"Dropbear Ltd {number}"),
        ("聯絡人 Email", f"person{number}@example.org"),
    )


def people(count: int = 300) -> list[AttendeeRecord]:
    chance = random.Random(7)
    return [record(*form_nobody_knew(number, chance), attendee_id=number) for number in range(1, count + 1)]


def suggested(records: list[AttendeeRecord]) -> str:
    unclassified = Unclassified(load_policy())
    unclassified.add(records)
    return "\n".join(unclassified.suggest())


def shares(result: Deidentified) -> Coverage:
    return coverage_of(load_policy(), result.answered, result.unlisted_answers, result.unknown_questions)


@pytest.fixture
def pasted(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "rules.yaml"
    use_policy_file(None)


def test_one_paste_keeps_90_percent_of_a_form_nobody_knew(pasted: Path) -> None:
    records = people()
    before = shares(deidentify(records, PARTITION, Pseudonymizer()))
    pasted.write_text(suggested(records), encoding="utf-8")
    use_policy_file(pasted)
    result = deidentify(records, PARTITION, Pseudonymizer())
    after = shares(result)
    assert before.total.percent < 10
    assert after.total.percent >= 90
    assert result.unknown_questions == {}
    row = dict(result.frame.astype(object).iloc[0])
    assert row["is_this_your_first_visit_to"] in (True, False)
    [extras] = [name for name in row if name.startswith("question_")]  # a label without an English word
    assert set(row[extras].split("; ")) <= {*EXTRAS}


def test_nothing_personal_of_such_a_form_is_kept_or_shown(pasted: Path) -> None:
    records = people()
    texts = [suggested(records)]
    for text in ("", texts[0]):
        pasted.write_text(text, encoding="utf-8")
        use_policy_file(pasted)
        result = deidentify(records, PARTITION, Pseudonymizer())
        texts.append(result.frame.to_csv() + json.dumps(result.unlisted_answers))
    assert [word for word in PERSONAL for text in texts if word in text] == []
    assert "person1@" not in "".join(texts)


def test_an_answer_of_four_people_is_not_shown() -> None:
    label = "Favourite animal?"
    records = [record((label, "Quokka" if number < 4 else "Wombat"), ("聯絡人 Email", f"p{number}@example.org"))
               for number in range(9)]  # fmt: skip
    shown = suggested(records)
    assert '"Wombat": []  # 5 people' in shown
    assert "Quokka" not in shown
    assert "# 1 others" in shown


def test_five_seats_of_one_buyer_are_one_person() -> None:
    records = [record(("Favourite animal?", "Quokka"), ("聯絡人 Email", " Buyer@Example.org ")) for _ in range(9)]
    assert suggested(records) == "# 1 other questions without a rule: fewer than 5 people answered each of them"


def test_seats_without_an_address_count_as_one_person() -> None:
    assert "Quokka" not in suggested([record(("Favourite animal?", "Quokka")) for _ in range(9)])


@pytest.mark.parametrize("answer", ["call 0900-000-987", "friend@example.net", "A" * 121, "/.*/"])
def test_an_answer_that_looks_personal_or_is_no_choice_is_never_shown(answer: str) -> None:
    records = [record(("Anything?", answer), ("聯絡人 Email", f"p{number}@example.org")) for number in range(20)]
    assert answer not in suggested(records)


def test_a_label_with_an_address_is_not_shown() -> None:
    label = "Ask Dropbear dropbear@example.org about rooms"
    records = [record((label, "yes"), ("聯絡人 Email", f"p{number}@example.org")) for number in range(9)]
    assert suggested(records) == "# 9 people answered a question whose label holds an address or a long number."


def test_an_answer_outside_the_choices_is_suggested_for_its_column(pasted: Path) -> None:
    records = [record(("Area of Interest / 興趣領域", "Web, Quantum 量子"), ("聯絡人 Email", f"p{number}@example.org"))
               for number in range(6)]  # fmt: skip
    pasted.write_text(suggested(records), encoding="utf-8")
    use_policy_file(pasted)
    assert deidentify(records, PARTITION, Pseudonymizer()).frame["areas_of_interest"][0] == "web; Quantum 量子"


def test_a_new_stop_of_the_bus_is_suggested_for_the_column_of_stops(pasted: Path) -> None:
    answer = "Yes, wait for the bus at the main station"
    records = [record(("Need Shuttle Bus Service?", answer), ("聯絡人 Email", f"p{number}@example.org"))
               for number in range(6)]  # fmt: skip
    pasted.write_text(suggested(records), encoding="utf-8")
    use_policy_file(pasted)
    assert deidentify(records, PARTITION, Pseudonymizer()).frame["shuttle_bus_stop"][0] == answer


def test_an_answer_that_is_neither_yes_nor_no_is_left_to_a_person(pasted: Path) -> None:
    label = "Have you ever been a PyCon TW volunteer? / 是否曾擔任過 PyCon TW 志工？"
    records = [record((label, "Maybe"), ("聯絡人 Email", f"p{number}@example.org")) for number in range(6)]
    pasted.write_text(suggested(records), encoding="utf-8")
    use_policy_file(pasted)
    assert '# "Maybe": 6 people' in pasted.read_text(encoding="utf-8")
    assert deidentify(records, PARTITION, Pseudonymizer()).unlisted_answers == {"volunteered_before": 6}


def test_a_column_that_keeps_too_few_answers_is_named() -> None:
    records = [record(("Area of Interest / 興趣領域", "Web" if number % 2 else "Weaving")) for number in range(20)]
    coverage = shares(deidentify(records, PARTITION, Pseudonymizer()))
    assert coverage_gaps(coverage, 90) == ["areas_of_interest: 10 of 20 answers are kept whole (50 %)"]
    assert coverage_gaps(coverage, 50) == []
    assert kept_in_all(coverage) == "10 of 20 answers are kept whole (50 %)"


def test_a_handful_of_answers_names_no_column() -> None:
    records = [record(("Area of Interest / 興趣領域", "Weaving")) for _ in range(4)]
    assert coverage_gaps(shares(deidentify(records, PARTITION, Pseudonymizer())), 90) == []


def test_questions_without_a_rule_count_as_not_kept() -> None:
    records = [record(("Favourite animal?", "Quokka"), ("Gender / 性別", "男")) for _ in range(6)]
    coverage = shares(deidentify(records, PARTITION, Pseudonymizer()))
    assert coverage_gaps(coverage, 90) == ["1 questions have no rule, so 6 answers are not kept"]
