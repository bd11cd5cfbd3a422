"""Render the few template tags that an invitation needs, as Django templates do.

It supports ``{{ person.x }}`` and ``{{ x }}`` with ``|default:"..."``, quoted literals, ``{% unsubscribe %}``,
``{% verbatim %}`` and ``{% templatetag %}``. An unknown variable renders as nothing; an unknown tag is an error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

UNSUBSCRIBE_URL = "https://example.org/unsubscribe"
_TAG = re.compile(
    r"{%\s*verbatim\s*%}(?P<verbatim>.*?){%\s*endverbatim\s*%}"
    r"|{%\s*(?P<tag>.*?)\s*%}|{{\s*(?P<variable>.*?)\s*}}|{#.*?#}",
    re.DOTALL,
)
_BRACES = {
    "openblock": "{%", "closeblock": "%}", "openvariable": "{{", "closevariable": "}}",
    "openbrace": "{", "closebrace": "}", "opencomment": "{#", "closecomment": "#}",
}  # fmt: skip


class BrokenTemplateError(ValueError):
    """The template cannot be rendered."""


def render(template: str, person: Mapping[str, Any], *, as_html: bool) -> str:
    """Return the body for one person; add an unsubscribe link when the template has none."""
    text, has_link = fill_in(template, person, as_html=as_html)
    return text if has_link else f"{text}\n{_unsubscribe(as_html)}"


def fill_in(template: str, person: Mapping[str, Any], *, as_html: bool) -> tuple[str, bool]:
    """Return the text for one person, and whether it holds an unsubscribe link."""
    has_link = False

    def replace(match: re.Match[str]) -> str:
        nonlocal has_link
        if match["verbatim"] is not None:
            return match["verbatim"]
        if match["tag"] is not None:
            has_link = has_link or match["tag"].startswith("unsubscribe")
            return _tag(match["tag"], as_html)
        value = _variable(match["variable"] or "", person)
        return html.escape(value) if as_html else value

    return _TAG.sub(replace, template), has_link


def _tag(tag: str, as_html: bool) -> str:
    name, _, argument = tag.partition(" ")
    if name in ("unsubscribe", "unsubscribe_link"):
        return UNSUBSCRIBE_URL if name == "unsubscribe_link" else _unsubscribe(as_html)
    if name == "templatetag" and argument.strip() in _BRACES:
        return _BRACES[argument.strip()]
    raise BrokenTemplateError(f"unknown tag {name!r}")


def _unsubscribe(as_html: bool) -> str:
    return f'<a href="{UNSUBSCRIBE_URL}">Unsubscribe</a>' if as_html else f"Unsubscribe: {UNSUBSCRIBE_URL}"


def _variable(expression: str, person: Mapping[str, Any]) -> str:
    name, _, filters = expression.partition("|")
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        return name[1:-1]
    value = person.get(name.removeprefix("person."), "")
    default = re.match(r"\s*default:\s*([\"'])(.*?)\1", filters)
    return str(value or (default[2] if default else ""))
