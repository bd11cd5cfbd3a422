"""Forms of labels and answers in which spelling does not count. Pure, and without any rule of the policy."""

from __future__ import annotations

import re

from pycontw_assets.pseudonyms import without_fillers

_YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")
_URL = re.compile(r"https?://[^\s()]+|\bbit\.ly/\w+")
# The conference as labels name it, with or without its year. Sample exports of its maintainers have XXX in its place.
_CONFERENCE = re.compile(r"(?<![a-z])(?:pycon ?(?:tw|taiwan|apac)|xxx)(?![a-z])(?: ?\{year\})?")
_CURLY = str.maketrans("‘’‚‛“”„‟「」『』–—‐‑−", '\'\'\'\'""""""""-----')
_CLOSING = " .,:;?!。、*"
_BETWEEN = re.compile(r" ?[,;、] ?")


def fold(text: str) -> str:
    """Return the form for comparisons, in which width, case, quotes, dashes and closing punctuation do not count.

    Characters that show nothing are left out, and every run of blanks is one.
    """
    text = without_fillers(without_fillers(text).casefold()).translate(_CURLY)
    text = re.sub(r" ?/ ?", "/", " ".join(text.split()))
    return text.strip(_CLOSING)


def fold_choice(text: str) -> str:
    """Return a folded answer in which the signs between the parts of a list are commas."""
    return _BETWEEN.sub(", ", fold(text))


def normalise_label(label: str) -> str:
    """Return a folded label with placeholders for the conference, years and web addresses, which change every year.

    A slash at its end does not count.
    """
    folded = _YEAR.sub("{year}", _URL.sub("{url}", fold(label)))
    return _CONFERENCE.sub("{conference}", folded).strip(_CLOSING + "/")


def without_blanks(wording: str) -> str:
    """Return the form for looking up: a blank may be doubled, missing, or a filler that only looks like one."""
    return wording.replace(" ", "")
