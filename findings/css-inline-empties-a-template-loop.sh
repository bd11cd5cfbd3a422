#!/usr/bin/env bash
# Most people guess: a CSS inliner that is run over a mail template once, before it is rendered for
#   each person, leaves {% for %} and {{ }} where they are: they are text to it; and what cannot be
#   inlined (@media, :hover) stays in the style element.
# What really happens: css-inline parses as a browser does, and text between a table and its rows
#   is moved in front of the table. {% for %} and {% endfor %} end up next to each other, the row
#   is outside of the loop: the template renders without an error, with one row of blanks instead
#   of one per ticket. The style element is removed with its media queries, unless
#   keep_style_tags=True. premailer keeps both, but writes href="{{ url }}" as
#   href="{{%20url%20}}", which Jinja refuses.
# Seen with: css-inline 0.24.0, premailer 3.10.0, jinja2 3.1.6
# Source: the HTML standard's rules for text in a table ("foster parent"):
#   https://html.spec.whatwg.org/multipage/parsing.html#foster-parent ; css-inline's README
#   (keep_style_tags is off by default); seen by this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check css-inline==0.24.0 premailer==3.10.0 jinja2==3.1.6
cd "$work"

"$work/venv/bin/python" - <<'PY'
import re
import sys
from importlib.metadata import version

import css_inline
import jinja2
import premailer

print(*(f"{name} {version(name)}" for name in ("css-inline", "premailer", "jinja2")))
template = """<html><head><style>td { color: red } @media (max-width: 600px) { td { color: blue } }</style></head><body>
<table>{% for ticket in tickets %}<tr><td>{{ ticket }}</td></tr>{% endfor %}</table><a href="{{ url }}">all</a></body></html>"""


def look(html: str) -> dict:
    try:
        mail = jinja2.Template(html).render(tickets=["A1", "B2", "C3"], url="https://example.org/t")
        rows, link = re.findall("<td[^>]*>([^<]*)</td>", mail), re.findall('href="([^"]*)"', mail)
    except jinja2.TemplateSyntaxError as error:
        rows, link = [type(error).__name__], re.findall('href="([^"]*)"', html)
    return {"rows": rows, "link": link, "media query": "@media" in html, "red": "color:red" in html.replace(" ", "")}


seen = {
    "nothing": look(template),
    "css-inline": look(css_inline.inline(template)),
    "css-inline, keep_style_tags": look(css_inline.CSSInliner(keep_style_tags=True).inline(template)),
    "premailer": look(premailer.transform(template)),
}
for what, found in seen.items():
    print(f"  {what}: {found}")
url = ["https://example.org/t"]
expected = {
    "nothing": {"rows": ["A1", "B2", "C3"], "link": url, "media query": True, "red": True},
    "css-inline": {"rows": [""], "link": url, "media query": False, "red": True},
    "css-inline, keep_style_tags": {"rows": [""], "link": url, "media query": True, "red": True},
    "premailer": {"rows": ["TemplateSyntaxError"], "link": ["{{%20url%20}}"], "media query": True, "red": True},
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
