#!/usr/bin/env bash
# Most people guess: DocxTemplate.render puts a value's text into the Word file as it is: the
#   library makes XML of it, so it escapes it; a value that it cannot put there raises.
# What really happens: the text becomes markup. Escaping is off by default, and the broken XML is
#   parsed with recover=True, so nothing raises and the file opens: "R&D" is printed as "R",
#   "Tea & Code" loses its sign, and "Ann <ann@example.org>" takes the rest of the paragraph with
#   it. Jinja's {{ name|e }} or render(..., autoescape=True) prints each text as it is.
# Seen with: docxtpl 0.20.2, python-docx 1.2.0
# Source: docxtpl/template.py (autoescape=False in render; etree.XMLParser(recover=True));
#   https://docxtpl.readthedocs.io/en/latest/#escaping
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check docxtpl==0.20.2 python-docx==1.2.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from docx import Document
from docxtpl import DocxTemplate

print(*(f"{name} {version(name)}" for name in ("docxtpl", "python-docx")))


def printed(text, name, **options):
    template = Document()
    template.add_paragraph(text)
    template.save("template.docx")
    badge = DocxTemplate("template.docx")
    badge.render({"name": name}, **options)
    badge.save("badge.docx")
    return Document("badge.docx").paragraphs[0].text


plain, escaped = "{{ name }}, room 2", "{{ name|e }}, room 2"
names = ("Ann Lee", "R&D", "Tea & Code", "Ann <3 Python", "Ann <ann@example.org>")
seen = {name: (printed(plain, name), printed(escaped, name), printed(plain, name, autoescape=True)) for name in names}
for name, value in seen.items():
    print(f"  {name}: by default, with |e, with autoescape: {value}")
by_default = ("Ann Lee, room 2", "R, room 2", "Tea  Code, room 2", "Ann 3 Python, room 2", "Ann ")
expected = {name: (text, f"{name}, room 2", f"{name}, room 2") for name, text in zip(names, by_default)}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
