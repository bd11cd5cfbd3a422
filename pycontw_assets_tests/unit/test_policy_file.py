"""An installation's own rules add to those of the package, and change nothing of what it protects."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontw_assets.deidentify.policy import PolicyFileError, load_policy, use_policy_file
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.settings import InvalidSettings, Settings
from pycontw_assets_tests.unit.test_deidentify import result_of, row_of

QUESTION = """\
- column: first_language
  action: keep
  labels: ["First language / 母語"]
  choices: {"Mandarin 國語": [], "Taiwanese": [台語]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "rules.yaml"
    use_policy_file(None)


def use(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    use_policy_file(file)


def test_a_new_question_gets_a_column_and_another_version(file: Path) -> None:
    before = load_policy().version
    use(file, QUESTION)
    assert row_of(("First language / 母語", "台語"))["first_language"] == "Taiwanese"
    assert load_policy().version != before
    use_policy_file(None)
    assert load_policy().version == before
    assert result_of(("First language / 母語", "台語")).unknown_questions == {"First language / 母語": 1}


def test_a_column_that_is_there_gets_more_labels_and_choices(file: Path) -> None:
    use(file, '- {column: diet, labels: ["Lunch?"], choices: {"vegan": ["only plants"], "low salt": []}}')
    assert [row_of(("Lunch?", answer))["diet"] for answer in ("only plants", "Low salt", "halal")] == [
        "vegan",
        "low salt",
        "halal",
    ]


def test_one_entry_after_the_other_can_be_pasted(file: Path) -> None:
    use(file, QUESTION + '- {column: first_language, choices: {"Hakka": []}}\n- {column: diet, labels: ["Lunch?"]}\n')
    assert row_of(("First language / 母語", "hakka"), ("Lunch?", "vegan"))["first_language"] == "Hakka"


def test_an_empty_file_changes_nothing(file: Path) -> None:
    before = load_policy().version
    use(file, "# nothing yet\n")
    assert load_policy().version == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- {column: email_sha256, labels: [Mail]}", "entry 1: email_sha256 decides who is invited"),
        ("- {column: diet, action: drop}", "entry 1: action cannot be said of a column that is there"),
        ("- {column: company_sha256, choices: {a: []}}", "are not kept, so it has no choices"),
        ("- {column: new, action: keep, labels: [New], pattern: '.*'}", "pattern cannot be said of a new column"),
        ("- {column: new, action: keep, labels: [New]}", "the rule for new.*only as one of `choices`"),
        ("- {column: new_sha256, action: hash, as: text, labels: [Contact Email]}", "'contactemail' has two meanings"),
        ("- {column: new, action: keep, choices: {a: []}}", "the rule for new: a rule has either labels"),
        ("- {column: edition, action: keep, labels: [New], choices: {a: []}}", "column 'edition' is named twice"),
        ("- {column: diet, choices: {vegan: [halal]}}", "diet: 'halal' has two meanings"),
        ("- {column: times_attended, labels: [Again?]}", "has the labels of attended_before; add them there"),
        ("- just a text", "entry 1 is no mapping"),
        ("form: []", "is no list"),
        ("- {column: a\n", "line 2: this is no YAML"),
        ("- column: diet\n  labels: [a]\n  labels: [b]\n", "line 3: 'labels' is in line 2 already"),
        ("- {column: diet, choices: [vegan]}", "choices a mapping"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_entry(file: Path, text: str, complaint: str) -> None:
    before = load_policy().version
    with pytest.raises(PolicyFileError, match=complaint) as refused:
        use(file, text)
    assert str(refused.value).startswith(f"POLICY_FILE: {file}: ")
    assert load_policy().version == before


def test_a_file_that_is_not_there_is_an_error_of_the_settings(file: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"POLICY_FILE: .*rules.yaml: is not there"):
        _ = Composition(lambda: Settings(policy_file=file)).settings


def test_the_settings_of_a_process_decide(file: Path) -> None:
    file.write_text(QUESTION, encoding="utf-8")
    _ = Composition(lambda: Settings(policy_file=file)).settings
    assert "first_language" in {column.name for column in load_policy().columns}
    _ = Composition(lambda: Settings()).settings
    assert "first_language" not in {column.name for column in load_policy().columns}
