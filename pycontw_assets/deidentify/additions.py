"""An installation's own rules: a file of entries that are added to the policy of the package.

The file is a list in YAML, so that one entry after the other can be pasted at its end (``pycontw-assets policy
suggest`` prints them):

    - column: areas_of_interest          # a column that is there: more labels, more choices
      choices: {"Quantum 量子": []}
    - column: first_language             # a new one: as in policy.yaml
      action: keep
      description: First language.
      labels: ["First language / 母語"]
      choices: {"Mandarin 國語": [], "Taiwanese 台語": []}

It can add, and take nothing away. It cannot change who is invited, and keeps an answer only as a choice that it lists.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycontw_assets.deidentify.yaml_text import InvalidText, read_yaml
from pycontw_assets.settings import InvalidSettings

_OF_A_NEW_ONE = {"column", "action", "as", "type", "description", "labels", "choices", "multiple"}
_OF_ONE_THAT_IS_THERE = {"column", "labels", "choices"}


class PolicyFileError(InvalidSettings):
    """The installation's own rules cannot be used. The text names the file, the entry and the fix."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"POLICY_FILE: {file}: {reason}")


def read_additions(file: Path) -> Sequence[Any]:
    """Return the entries of a file; none for an empty one. Raise ``PolicyFileError``."""
    try:
        entries = read_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PolicyFileError(file, "is not there; make it, or unset the variable") from None
    except (OSError, UnicodeDecodeError):
        raise PolicyFileError(file, "cannot be read; it has to be a text file in UTF-8") from None
    except InvalidText as error:
        raise PolicyFileError(file, str(error)) from None
    if not isinstance(entries, list | None):
        raise PolicyFileError(file, "is no list; every entry begins with '- column:' or '- action: drop'")
    return entries or ()


def with_additions(
    document: Mapping[str, Any], entries: Sequence[Any], file: Path, *, protected: Sequence[str]
) -> dict[str, Any]:
    """Return the document of the policy with the entries added. ``protected``: columns that take no addition."""
    form: list[dict[str, Any]] = [copy.deepcopy(rule) for rule in document["form"]]
    columns = {rule["column"]: rule for rule in form if "column" in rule}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise PolicyFileError(file, f"entry {number} is no mapping with a column or an action")
        column = entry.get("column")
        if column in protected:
            raise PolicyFileError(
                file, f"entry {number}: {column} decides who is invited, so only the package changes it"
            )
        _refuse_other_keys(entry, column in columns, number, file)
        if column in columns:
            _extend(columns[column], entry, number, file)
        else:
            added = {"description": _first_label(entry), **entry}
            form.append(added)
            if column is not None:
                columns[column] = added
    return {**document, "form": form}


def _refuse_other_keys(entry: dict[str, Any], is_there: bool, number: int, file: Path) -> None:
    allowed = _OF_ONE_THAT_IS_THERE if is_there else _OF_A_NEW_ONE
    if others := sorted(map(str, entry.keys() - allowed)):
        kind = "a column that is there" if is_there else "a new column"
        raise PolicyFileError(
            file, f"entry {number}: {', '.join(others)} cannot be said of {kind}; it takes {', '.join(sorted(allowed))}"
        )


def _extend(rule: dict[str, Any], entry: dict[str, Any], number: int, file: Path) -> None:
    labels, choices = entry.get("labels", []), entry.get("choices", {})
    if not isinstance(labels, list) or not isinstance(choices, dict):
        raise PolicyFileError(
            file, f"entry {number}: labels are a list, choices a mapping of choice to other spellings"
        )
    if choices and rule["action"] != "keep":
        raise PolicyFileError(
            file, f"entry {number}: the answers of {rule['column']} are not kept, so it has no choices"
        )
    if "question_of" in rule and labels:
        raise PolicyFileError(
            file, f"entry {number}: {rule['column']} has the labels of {rule['question_of']}; add them there"
        )
    rule["labels"] = [*rule.get("labels", []), *labels]
    known = dict(rule.get("choices") or {})
    for choice, spellings in choices.items():
        known[choice] = [*known.get(choice, []), *(spellings or [])]
    if known:
        rule["choices"] = known


def _first_label(entry: dict[str, Any]) -> str:
    labels = entry.get("labels")
    return str(labels[0]) if isinstance(labels, list) and labels else "Added by the installation."
