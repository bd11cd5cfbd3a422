"""Answers that people gave from 2018 to 2023 are kept whole: options with commas, measures, ordinals, two languages."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from pycontw_assets.deidentify.form import place_answer
from pycontw_assets.deidentify.policy import FormRule, load_policy

# Form, question, answer and how many gave it: the facts of the maintainers' public sample exports.
GIVEN = list(csv.DictReader((Path(__file__).parent / "labels" / "form_answers.csv").open(encoding="utf-8")))
# Columns of an export that are the ticket's own fields, not answers: the payload has them.
FIELDS = {"Ticket Type": "ticket_name", "Payment Status": "is_paid"}
YEARS = "Years of Using Python / 使用 Python 多久"
TIMES = "Have you ever attended PyCon TW? / 您是否曾參加 PyCon TW？"
AREAS = "Area of Interest / 興趣領域"
PLACE = "Where are you from? / 來自國家、地區或縣市"


def rule(label: str) -> FormRule:
    found = load_policy().rule_for(label)
    assert found is not None
    return found


def kept(label: str, answer: str) -> tuple[dict[str, object], list[str]]:
    placement = place_answer(load_policy(), rule(label), answer)
    return dict(placement.values), placement.rest


def test_the_sample_holds_every_answer() -> None:
    assert (len(GIVEN), sum(int(line["count"]) for line in GIVEN)) == (118, 1219)


def test_of_every_column_95_percent_of_the_answers_are_kept_whole() -> None:
    total, whole = Counter[str](), Counter[str]()
    for line in GIVEN:
        if line["label"] in FIELDS:
            continue
        placement = place_answer(load_policy(), rule(line["label"]), line["answer"])
        total[placement.column] += int(line["count"])
        whole[placement.column] += 0 if placement.rest else int(line["count"])
    shares = {column: whole[column] / total[column] for column in total}
    assert len(shares) == 13
    assert {column: share for column, share in shares.items() if share < 0.95} == {}


@pytest.mark.parametrize("label", sorted(FIELDS))
def test_the_ticket_of_an_export_is_kept_by_its_field(label: str) -> None:
    assert rule(label).action == "drop"
    assert FIELDS[label] in {column.name for column in load_policy().columns}


@pytest.mark.parametrize(
    ("answer", "areas"),
    [
        ("AI/ML/DL, Web Development", "machine learning; web"),
        ("AI, Machine Learning, Science, Technology, Engineering & Mathematics",
         "machine learning; engineering & mathematics"),
        ("DevOps, Security, Web Technology, Entrepreneurship, Startup", "devops; security; web; entrepreneurship"),
        ("Education, Human Resource, Arts, Design, Multimedia", "education; human resources; design; multimedia"),
        ("Sustainability, Health & Wellness", "sustainability; healthcare"),
        ("Science, Web Development", "scientific computing; web"),
        ("AI, Machine Learning / 人工智慧, 機器學習", "machine learning"),
    ],
)  # fmt: skip
def test_an_answer_is_split_by_the_choices_first(answer: str, areas: str) -> None:
    assert kept(AREAS, answer) == ({"areas_of_interest": areas}, [])


def test_what_no_choice_takes_is_left_alone() -> None:
    assert kept(AREAS, "Web Technology, Basket weaving, Science, Technology, Engineering & Mathematics") == (
        {"areas_of_interest": "web; engineering & mathematics"},
        ["Basket weaving"],
    )


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("First time / 第一次", {"times_attended": "first"}),
        ("2-4 times / 2-4 次", {"times_attended": "2-4"}),
        ("5-7 times / 5-7 次", {"times_attended": "5-7"}),
        ("More than 7 times / 超過 7 次", {"times_attended": "8+"}),
        ("More than 7 times / 7 次以上", {"times_attended": "8+"}),
        ("Yes / 是", {"attended_before": True}),
        ("No", {"attended_before": False}),
    ],
)
def test_how_often_and_whether_are_two_columns(answer: str, values: dict[str, object]) -> None:
    assert kept(TIMES, answer) == (values, [])


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        (
            "Yes, Wait for the Bus at Nangang Expo Center. 需要, 會在南港展覽館候車",
            {"needs_shuttle_bus": True, "shuttle_bus_stop": "Nangang Exhibition Center"},
        ),
        ("No. 不需要", {"needs_shuttle_bus": False}),
        ("Yes", {"needs_shuttle_bus": True}),
    ],
)
def test_the_bus_and_its_stop_are_two_columns(answer: str, values: dict[str, object]) -> None:
    assert kept("Need Shuttle Bus Service? 會議兩天的早上  要搭交通車到會場嗎?", answer) == (values, [])


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        ("M / 胸寬(F.W.): 50cm / 衣長(C.L.): 71cm", "M"),
        ("2XL / 胸寬(F.W.): 58cm / 衣長(C.L.): 78cm", "2XL"),
        ("L (chest 53 cm, length 73 cm)", "L"),
        ("L / for Quokka 53cm", None),
        ("XL", "XL"),
    ],
)
def test_a_shirt_has_a_size_and_no_measures(answer: str, size: str | None) -> None:
    assert kept("Size of T-shirt / T恤尺寸", answer)[0] == {"tshirt_size": size}


@pytest.mark.parametrize(
    ("answers", "years"),
    [
        (("1 年以內", "Less than a year / 未滿一年", "<1 year", "half a year"), "less than 1 year"),
        (("1 到 5 年", "1-5 years / 1-5 年", "3–5 years", "2", "1~3 年"), "1-5 years"),
        (("5 到 10 年", "6-10 years / 6-10 年", "10 years"), "6-10 years"),
        (("10 到 20 年", "11-20 years / 11-20 年", "15"), "11-20 years"),
        (("More than 20 years / 超過 20 年", "20+ years", "20 年以上"), "more than 20 years"),
    ],
)
def test_years_of_python_are_one_set_in_all_wordings(answers: tuple[str, ...], years: str) -> None:
    assert [kept(YEARS, answer) for answer in answers] == [({"years_of_python": years}, [])] * len(answers)


@pytest.mark.parametrize(
    ("answer", "country"),
    [
        ("Taiwan 台灣", "Taiwan"), ("台北市", "Taiwan"), ("Taipei, Taiwan", "Taiwan"),
        ("新北市 New Taipei City", "Taiwan"),
        ("新竹縣", "Taiwan"), ("Tokyo, Japan", "Japan"), ("日本 東京", None), ("Taiwan, Japan", None),
        ("Quokka, Taiwan", None),
    ],
)  # fmt: skip
def test_a_country_is_found_with_its_city_or_without(answer: str, country: str | None) -> None:
    assert kept(PLACE, answer)[0] == {"country": country}


def test_every_column_of_the_first_release_keeps_its_type() -> None:
    """BigQuery cannot change a type, so a column that means something else gets another name."""
    types = {column.name: column.type for column in load_policy().columns}
    booleans = ("needs_shuttle_bus", "attended_before", "volunteered_before", "accepts_sponsor_mail", "donates_invoice")
    texts = ("gender", "age_range", "tshirt_size", "diet", "country", "years_of_python", "areas_of_interest")
    assert {types[name] for name in booleans} == {"BOOL"}
    assert {types[name] for name in texts} == {"STRING"}
    assert types["industry_category"] == types["profession_category"] == "INT64"
