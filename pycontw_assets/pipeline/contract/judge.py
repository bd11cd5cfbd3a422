"""A statement of the contract, and the kinds of statements: each a pure function from the report to a verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pycontw_assets.api.rate_limits import Windows
from pycontw_assets.pipeline.contract.endpoints import PAGING_LEVELS, PAGING_LINKS, PAGING_TOTALS, Endpoint
from pycontw_assets.pipeline.contract.shapes import Fold, below

Report = Mapping[str, Any]
Word = Literal["as assumed", "differs", "not seen", "not asked"]

AS_ASSUMED, DIFFERS, NOT_SEEN, NOT_ASKED = "as assumed", "differs", "not seen", "not asked"
ASKED = "asked"  # what the report says of a service that was asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a statement. ``because`` is made of the report's own words and numbers."""

    word: Word
    because: str = ""


Judge = Callable[[Report], Verdict]
_FINE = Verdict("as assumed")
_UNSEEN = Verdict("not seen")


@dataclass(frozen=True, slots=True)
class Statement:
    """One assumption about one endpoint, in plain words, and how it is judged."""

    endpoint: Endpoint
    text: str
    judge: Judge


def judge_all(report: Report, statements: Iterable[Statement]) -> list[dict[str, str]]:
    """Return one row for each statement: endpoint, statement, verdict and, where there is something to say, because."""
    rows = []
    for statement in statements:
        verdict = _judge(report, statement)
        row = {"endpoint": statement.endpoint.name, "statement": statement.text, "verdict": verdict.word}
        rows.append(row | ({"because": verdict.because} if verdict.because else {}))
    return rows


def _judge(report: Report, statement: Statement) -> Verdict:
    service = report["services"].get(statement.endpoint.service)
    return statement.judge(report) if service == ASKED else Verdict("not asked", service or "")


# -- reading a report ---------------------------------------------------------------------------------


def _of(report: Report, endpoint: Endpoint) -> Report:
    part: Report = report["endpoints"].get(endpoint.name, {})
    return part


def _at(report: Report, endpoint: Endpoint, path: str) -> Report:
    shape: Report = _of(report, endpoint).get("shape", {}).get(path, {})
    return shape


def _named(counts: Mapping[str, int], names: Collection[str]) -> str:
    """Return the counts of what is not among the names, in words."""
    return ", ".join(f"{count} × {name}" for name, count in counts.items() if name not in names)


# -- the kinds of statements --------------------------------------------------------------------------


_NO_RIGHTS = ("401", "403")
_PASSING = ("429", "none")


def answers(endpoint: Endpoint, *, or_nothing: bool = False) -> Statement:
    """Return "it answers the program's question with JSON". ``or_nothing``: 404 is an answer, too."""

    def judge(report: Report) -> Verdict:
        part = _of(report, endpoint)
        if not part:
            return _UNSEEN
        statuses, problems = part["statuses"], part.get("problems", {})
        fine = {status for status in statuses if status.startswith("2") or (or_nothing and status == "404")}
        passing = {status for status in statuses if status.startswith("5") or status in (*_NO_RIGHTS, *_PASSING)}
        if wrong := _named(statuses, fine | passing):
            return Verdict("differs", f"status: {wrong}")
        if (problem := _named(problems, ("no answer",))) and any(status.startswith("2") for status in statuses):
            return Verdict("differs", f"body: {problem}")
        return _FINE if fine else Verdict("not seen", f"status: {_named(statuses, ())}")

    text = "it answers the question as the program asks it" + (", or with 404" if or_nothing else "")
    return Statement(endpoint, text, judge)


def refuses(endpoint: Endpoint, status: str, text: str) -> Statement:
    """Return a statement about an endpoint that must answer with one status."""

    def judge(report: Report) -> Verdict:
        statuses = _of(report, endpoint).get("statuses", {})
        known = {name for name in statuses if name.startswith("5") or name in _PASSING}
        if wrong := _named(statuses, known | {status}):
            return Verdict("differs", f"status: {wrong}")
        return _FINE if status in statuses else _UNSEEN

    return Statement(endpoint, text, judge)


def member(endpoint: Endpoint, path: str, *types: str, text: str = "", optional: bool = False) -> Statement:
    """Return "the member is always there, and of these types". ``optional``: it may be missing."""

    def judge(report: Report) -> Verdict:
        shape = _at(report, endpoint, path)
        if not shape.get("of"):
            return _UNSEEN
        missing = shape["of"] - shape["seen"]
        if missing and not optional:
            return Verdict("differs", f"missing in {missing} of {shape['of']}")
        if wrong := _named(shape.get("types", {}), types):
            return Verdict("differs", f"type: {wrong}")
        return _FINE if shape["seen"] else _UNSEEN

    where = "the answer" if path == Fold.ROOT else f"`{path}`"
    usual = f"{where} is {' or '.join(map(_with_article, types))}{', if it is there' if optional else ''}"
    return Statement(endpoint, text or usual, judge)


def _with_article(kind: str) -> str:
    if kind in ("null", "true or false"):
        return kind
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def words(endpoint: Endpoint, path: str, text: str = "") -> Statement:
    """Return "the member has no value outside the closed list"."""

    def judge(report: Report) -> Verdict:
        values = _at(report, endpoint, path).get("values", {})
        if wrong := {name: count for name, count in values.items() if name.startswith("another value")}:
            return Verdict("differs", _named(wrong, ()))
        return _FINE if values else _UNSEEN

    return Statement(endpoint, text or f"`{path}` is a word of the list that the program knows", judge)


def kinds(endpoint: Endpoint, path: str, *allowed: str, text: str = "") -> Statement:
    """Return "the text is of one of these classes", such as ``time with zone``."""

    def judge(report: Report) -> Verdict:
        seen = _at(report, endpoint, path).get("kinds", {})
        if wrong := _named(seen, allowed):
            return Verdict("differs", f"class: {wrong}")
        return _FINE if seen else _UNSEEN

    return Statement(endpoint, text or f"`{path}` is {' or '.join(map(_with_article, allowed))}", judge)


def length(endpoint: Endpoint, path: str, *, least: int = 0, most: int, text: str) -> Statement:
    """Return a statement about the length of a text, a list or an object, or the digits of a number."""

    def judge(report: Report) -> Verdict:
        seen = _at(report, endpoint, path).get("lengths")
        if not seen:
            return _UNSEEN
        is_within = least <= seen[0] and seen[1] <= most
        return _FINE if is_within else Verdict("differs", f"length {seen[0]} to {seen[1]}")

    return Statement(endpoint, text, judge)


def one_page(endpoint: Endpoint) -> Statement:
    """Return "the answer is whole": no member and no header names another page, or a total."""
    levels = (Fold.ROOT, *PAGING_LEVELS)
    paths = [below(level, name) for level in levels for name in (*PAGING_LINKS, *PAGING_TOTALS)]

    def judge(report: Report) -> Verdict:
        part = _of(report, endpoint)
        if not part.get("shape"):
            return _UNSEEN
        found = [path for path in paths if _is_there(_at(report, endpoint, path))]
        found += ["the header link"] if "link" in part["headers"] else []
        return Verdict("differs", f"there is {', '.join(found)}") if found else _FINE

    return Statement(endpoint, "the answer is whole: nothing in it names another page", judge)


def not_round(endpoint: Endpoint, path: str, numbers: Collection[int]) -> Statement:
    """Return "the list does not have exactly so many rows": that would look like the first page of several."""

    def judge(report: Report) -> Verdict:
        seen = _at(report, endpoint, path).get("lengths")
        if not seen:
            return _UNSEEN
        return Verdict("differs", f"exactly {seen[1]} rows") if seen[1] in numbers else _FINE

    text = f"`{path}` does not have exactly {', '.join(map(str, sorted(numbers)))} rows, as a first page would have"
    return Statement(endpoint, text, judge)


def _is_there(shape: Report) -> bool:
    return any(kind != "null" for kind in shape.get("types", {}))


def media_type(endpoint: Endpoint, expected: str) -> Statement:
    def judge(report: Report) -> Verdict:
        part = _of(report, endpoint)
        if not part.get("shape"):
            return _UNSEEN
        wrong = _named(part["media types"], (expected, f"{expected}; charset=utf-8"))
        return Verdict("differs", wrong) if wrong else _FINE

    return Statement(endpoint, f"its answers call themselves {expected}", judge)


def revision(endpoint: Endpoint, expected: str) -> Statement:
    def judge(report: Report) -> Verdict:
        seen = _of(report, endpoint).get("revisions", {})
        if wrong := _named(seen, (expected,)):
            return Verdict("differs", wrong)
        return _FINE if seen else _UNSEEN

    return Statement(endpoint, f"it says that its revision is {expected}, if it says anything", judge)


_WINDOW = re.compile(r"([0-9]+);w=([0-9]+)")


def windows(endpoint: Endpoint, ours: Windows, group: str) -> Statement:
    """Return "the service allows as many calls as this program makes", from ``RateLimit-Limit: 10, 10;w=1``."""
    limits = {int(seconds): calls for calls, seconds in ours[group]}

    def judge(report: Report) -> Verdict:
        texts = _of(report, endpoint).get("rate limits", {}).get("ratelimit-limit", {})
        theirs = [(int(calls), int(seconds)) for text in texts for calls, seconds in _WINDOW.findall(text)]
        if not theirs:
            return _UNSEEN
        narrower = [f"{calls} in {seconds} s" for calls, seconds in theirs if calls < limits.get(seconds, calls)]
        return Verdict("differs", f"it allows {', '.join(sorted(set(narrower)))}") if narrower else _FINE

    shown = " and ".join(f"{calls} in {seconds} s" for seconds, calls in limits.items())
    return Statement(endpoint, f"it allows at least {shown}", judge)


def fact(endpoint: Endpoint, name: str, text: str, *, of: str, occurs: bool = False) -> Statement:
    """Return a statement about a count of the walk.

    ``occurs``: the statement is that it happens, which a walk can show and not refute. Otherwise that it never does.
    ``of``: the count of the chances that it had.
    """

    def judge(report: Report) -> Verdict:
        count, chances = report["facts"].get(name, 0), report["facts"].get(of, 0)
        if occurs:
            return Verdict("as assumed", f"{count} of {chances}") if count else _UNSEEN
        if not chances:
            return _UNSEEN
        return Verdict("differs", f"{count} {name}") if count else _FINE

    return Statement(endpoint, text, judge)
