"""BigQuery's own statements: comparing two tables, and making a view with its mark. Pure; names are plain."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pycontw_assets.load.ownership import MARK_LABEL, MARK_VALUE
from pycontw_assets.load.readers.view import View, view_name

LABELS = {MARK_LABEL: MARK_VALUE, "personal_data": "hashed"}
TEXT_LABEL = "sql"  # of a view: the digest of what it says


def rows_statement(target: str) -> str:
    """Return the query for the number of rows of a table and a digest of their content, in any order."""
    return (
        "SELECT COALESCE(SUM(times), 0), BIT_XOR(FARM_FINGERPRINT(CONCAT(content, CAST(times AS STRING))))\n"
        f"FROM ({_contents(target)})"
    )


def difference_statement(one: str, other: str) -> str:
    """Return the query for the number of different rows of ``one`` that ``other`` has not, or not as often."""
    return f"SELECT COUNT(*)\nFROM ({_contents(one)} EXCEPT DISTINCT {_contents(other)})"


def _contents(target: str) -> str:
    return f"SELECT TO_JSON_STRING(t) AS content, COUNT(*) AS times FROM {target} t GROUP BY 1"  # noqa: S608 - plain names


def view_statement(target: str, view: View) -> str:
    """Return the statement that makes or replaces a view, with its mark, its text's digest and its descriptions."""
    columns = ", ".join(
        f"{view_name(column.name)} OPTIONS(description={json.dumps(column.description)})" for column in view.columns
    )
    labels = _label_list({**LABELS, TEXT_LABEL: view.digest})
    options = f"OPTIONS(description={json.dumps(view.description)}, labels={labels})"
    return f"CREATE OR REPLACE VIEW {target} ({columns})\n{options} AS\n{view.query}"


def _label_list(labels: Mapping[str, str]) -> str:
    return "[" + ", ".join(f"({json.dumps(name)}, {json.dumps(value)})" for name, value in labels.items()) + "]"
