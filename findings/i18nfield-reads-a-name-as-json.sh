#!/usr/bin/env bash
# Most people guess: LazyI18nString("1.10"), the type of a product's name in pretix, is a plain text
#   that is the same in every language; only an object in braces is a set of translations.
# What really happens: each text is tried as JSON, and whatever comes out is kept: a product called
#   1.10 (a release, a room) is 1.1, one called 1e3 is 1000.0, null has no name and is false, true
#   is True, Infinity is inf, a name in quotes loses them. The model field reads its column the
#   same way. 007 and Ticket are no JSON and stay.
# Seen with: django-i18nfield 1.12.0, django 5.2.19
# Source: i18nfield/strings.py in the package (the docstring of LazyI18nString says that a text
#   that can be parsed as JSON is used as a dictionary).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check django-i18nfield==1.12.0 django==5.2.19
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import django
from django.conf import settings

settings.configure(LANGUAGES=[("en", "English"), ("zh-hant", "Traditional Chinese")], LANGUAGE_CODE="en", INSTALLED_APPS=["i18nfield"])
django.setup()
from i18nfield.fields import I18nCharField
from i18nfield.strings import LazyI18nString

print(*(f"{name} {version(name)}" for name in ("django-i18nfield", "django")))
field = I18nCharField()


def look(text):
    name = LazyI18nString(text)
    column = field.get_prep_value(text)
    stored = field.from_db_value(column, None, None)
    return str(name), bool(name), str(stored)


names = ["Ticket", "007", "2026", "1.10", "1e3", "null", "true", "Infinity", '"Early bird"', '{"en": "Ticket", "zh-hant": "票"}']
seen = {name: look(name) for name in names}
for name, (text, true, stored) in seen.items():
    print(f"  {name}: shown as {text!r}, {'true' if true else 'false'}, from the database {stored!r}")
expected = {
    "Ticket": ("Ticket", True, "Ticket"),
    "007": ("007", True, "007"),
    "2026": ("2026", True, "2026"),
    "1.10": ("1.1", True, "1.1"),
    "1e3": ("1000.0", True, "1000.0"),
    "null": ("", False, ""),
    "true": ("True", True, "True"),
    "Infinity": ("inf", True, "inf"),
    '"Early bird"': ("Early bird", True, "Early bird"),
    '{"en": "Ticket", "zh-hant": "票"}': ("Ticket", True, "Ticket"),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
