#!/usr/bin/env bash
# Most people guess: phonenumbers.parse treats words around a number alike: it finds the number
#   in them, or raises; and what is_valid_number then accepts was written as digits.
# What really happens: what stands before the first digit is dropped, in any script. Behind it
#   three Latin letters make the whole a "vanity number", and letters are read as keypad digits:
#   a number that lacks three digits, followed by a name, is a valid number of somebody else.
#   The same words in Chinese ("mobile", "extension 12" as people in Taiwan write it) raise.
#   "0912345678; 0987654321" is valid: the second number is an extension, and gone in E.164.
# Seen with: phonenumbers 9.0.43
# Source: the docstring of phonenumbers.parse (lenient; text before the number is ignored,
#   letters are turned into digits where it seems to be meant); the rest is seen by this script.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check phonenumbers==9.0.43
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import phonenumbers

print("phonenumbers", phonenumbers.__version__)


def look(text):
    try:
        number = phonenumbers.parse(text, "TW")
    except phonenumbers.NumberParseException:
        return "raises"
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164, "valid" if phonenumbers.is_valid_number(number) else "invalid", number.extension


expected = {
    "0912345678": ("+886912345678", "valid", None),
    "手機 0912345678": ("+886912345678", "valid", None),
    "0912345678 手機": "raises",
    "(Ann) 0912345678": ("+886912345678", "valid", None),
    "0912345678 (Ann)": ("+886912345678266", "invalid", None),
    "0912345 (Ann)": ("+886912345266", "valid", None),
    "0912345 Al": ("+8860912345", "invalid", None),
    "02-23456789 ext 12": ("+886223456789", "valid", "12"),
    "02-23456789 分機 12": "raises",
    "0912345678; 0987654321": ("+886912345678", "valid", "0987654321"),
}
seen = {text: look(text) for text in expected}
for text, value in seen.items():
    print(f"  {text}: {value}")
if seen != expected:
    print("changed; it was:", {text: value for text, value in expected.items() if seen[text] != value})
    sys.exit(1)
print("as described")
PY
