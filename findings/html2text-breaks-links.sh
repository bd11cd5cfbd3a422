#!/usr/bin/env bash
# Most people guess: html2text, run over an HTML mail for its text/plain part, wraps the prose and
#   leaves an address in one piece, as textwrap and format=flowed writers do for long words with
#   no space in them.
# What really happens: links are wrapped by default, at 79 characters and at every hyphen: an
#   invitation with a hyphen or two in its token is cut in the middle, in [text](url) and as a
#   bare address, and the buyer clicks half of it. wrap_links = False keeps [text](url) whole and
#   still breaks the bare address; body_width = 0 keeps both.
# Seen with: html2text 2025.4.15
# Source: html2text's config.py (BODY_WIDTH, WRAP_LINKS) and its use of textwrap, which breaks on
#   hyphens; https://github.com/Alir3z4/html2text/blob/master/docs/usage.md
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check html2text==2025.4.15
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import html2text

print("html2text", version("html2text"))
address = "https://venue.example.org/rooms/main-hall?invitation=abcdefgh-ijklmnop-qrstuvwx-yz012345"


def whole(html, **options):
    maker = html2text.HTML2Text()
    for key, value in options.items():
        setattr(maker, key, value)
    text = maker.handle(html)
    return address in text, text


link, bare = f'<p>Here is <a href="{address}">your ticket</a>.</p>', f"<p>Your ticket: {address}</p>"
seen = {}
for what, options in {"default": {}, "wrap_links = False": {"wrap_links": False}, "body_width = 0": {"body_width": 0}}.items():
    (kept_link, text), (kept_bare, bare_text) = whole(link, **options), whole(bare, **options)
    seen[what] = kept_link, kept_bare
    if what == "default":
        print(text.strip(), bare_text.strip(), sep="\n")
    print(f"  {what}: the address is whole as a link: {kept_link}, as text: {kept_bare}")
expected = {"default": (False, False), "wrap_links = False": (True, False), "body_width = 0": (True, True)}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
