"""Employers and job titles are sorted by a dictionary of both languages, and what it does not know is 0."""

import pandas as pd
import pytest

from pycontw_assets.deidentify.categories import CategoryError, Dictionary, load_dictionaries, read_dictionaries
from pycontw_assets_tests.unit.test_deidentify import INVENTED_PERSON, everything_in, result_of, row_of

COMPANY, JOB = "Company / 服務單位", "Job Title / 職稱"
DICTIONARIES, _ = load_dictionaries()
INDUSTRIES, PROFESSIONS = DICTIONARIES["industry_category"], DICTIONARIES["profession_category"]


def dictionary(*classes: str) -> Dictionary:
    lines = "".join(f"    - {{number: {number}, name: x, {text}}}\n" for number, text in enumerate(classes))
    return read_dictionaries(f"c:\n  description: x\n  classes:\n{lines}")["c"]


def test_there_are_17_industries_and_22_professions() -> None:
    assert sorted(INDUSTRIES.names) == list(range(17))
    assert sorted(PROFESSIONS.names) == list(range(22))


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("國立範例科技大學", 2), ("Example University 範例大學 資訊系", 2), ("範例銀行智能金融處", 11),
        ("Example Bank Ltd.", 11),
        ("範例科技股份有限公司", 6), ("Example Software Inc.", 6), ("某某移民署", 10),
        ("Example University Hospital", 14),
        ("範例大學附設醫院", 14), ("範例高鐵", 9), ("待業中", 0), ("None Such", 0), ("ＥＸＡＭＰＬＥ　ＢＡＮＫ", 11),
    ],
)  # fmt: skip
def test_an_employer_has_an_industry(answer: str, number: int) -> None:
    assert row_of((COMPANY, answer))["industry_category"] == number


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("Backend Engineer", 1), ("後端工程師", 1), ("Front-end developer", 2), ("Data Engineer 資料工程師", 5),
        ("ai工程師", 7),
        ("golang rd", 1), ("DBA engineer", 14), ("Engineer 工程師", 20), ("Software Engineer", 20), ("經理", 18),
        ("技術經理", 12),
        ("Account Manager", 17), ("student", 21), ("碩士生", 21), ("Teacher", 16), ("Zookeeper", 0),
        ("Senior QA Engineer", 11),
    ],
)  # fmt: skip
def test_a_job_title_has_a_profession(answer: str, number: int) -> None:
    assert row_of((JOB, answer))["profession_category"] == number


def test_without_an_answer_there_is_no_class() -> None:
    assert row_of((COMPANY, ""), (JOB, None))["industry_category"] is pd.NA
    assert row_of()["profession_category"] is pd.NA


def test_only_the_number_of_an_employer_is_stored() -> None:
    shown = everything_in(result_of((COMPANY, f"{INVENTED_PERSON} Bank"), (JOB, f"Engineer {INVENTED_PERSON}"))).lower()
    assert not [word for word in (*INVENTED_PERSON.lower().split(), "engineer") if word in shown]


def test_the_longest_word_decides_then_the_last() -> None:
    found = dictionary("keywords: []", "keywords: [大學, research]", "keywords: [醫院, research center]").class_of
    assert [found(text) for text in ("大學醫院", "醫院大學", "research center", "research lab")] == [2, 1, 2, 1]


def test_a_word_in_letters_counts_as_a_whole_word() -> None:
    found = dictionary("keywords: []", "keywords: [art]").class_of
    assert [found(text) for text in ("Art", "Start", "art/start")] == [1, 0, 1]


def test_a_weak_word_decides_only_alone() -> None:
    found = dictionary("keywords: []", "keywords: [qa]", "weak: [engineer]").class_of
    assert [found(text) for text in ("qa engineer", "engineer")] == [1, 2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- {number: 0, name: x, keywords: [Bank]}\n    - {number: 1, name: x, weak: [bank]}", "line 4 and in line 5"),
        ("- {number: 0, name: x, keywords: [bank, ＢＡＮＫ]}", "line 4 and in line 4"),
        ("- {number: 1, name: x}", "numbered 0, 1, 2"),
        ("- {number: 0, name: x, keywords: [24]}", "put it in quotes"),
        ("- {number: 0, name: x, keywords: [AI工程師]}", "line 4"),
        ("- {number: 0, name: x, words: [a]}", "words"),
        ("- {number: 0, number: 1, name: x}", "in line 4 already"),
        ("- {number: 0", "no YAML"),
    ],
)  # fmt: skip
def test_a_contradictory_dictionary_names_its_lines(text: str, complaint: str) -> None:
    with pytest.raises(CategoryError, match=complaint):
        read_dictionaries(f"c:\n  description: x\n  classes:\n    {text}\n")
