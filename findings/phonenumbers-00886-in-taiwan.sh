#!/usr/bin/env bash
# Most people guess: 00 is the international prefix nearly everywhere, so
#   parse("00886912345678", "TW") gives +886912345678, as +886..., 886... and "(0)" forms do.
# What really happens: in Taiwan one dials 002, 005, 006, 007, 009, ... (a carrier), and the
#   library knows only these for TW: the number of the commonest wrong spelling comes out as
#   +8860886912345678, too long, without an exception. It is understood for a region whose
#   prefix is 00, such as GB, whoever the caller is; and a foreign number written 0044... fails
#   in the same way. Without a region it raises.
# Seen with: phonenumbers 9.0.43
# Source: the package's metadata for TW (international_prefix, printed below); seen by this
#   script.
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
print("  international prefix: TW", phonenumbers.PhoneMetadata.metadata_for_region("TW").international_prefix,
      " GB", phonenumbers.PhoneMetadata.metadata_for_region("GB").international_prefix)


def look(text, region):
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return "raises"
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164, "valid" if phonenumbers.is_valid_number(number) else "invalid"


right = ("+886912345678", "valid")
expected = {
    ("+886912345678", "TW"): right,
    ("886912345678", "TW"): right,
    ("+886 (0)912-345-678", "TW"): right,
    ("002886912345678", "TW"): right,
    ("00886912345678", "TW"): ("+8860886912345678", "invalid"),
    ("00886912345678", "GB"): right,
    ("00442079460000", "TW"): ("+8860442079460000", "invalid"),
    ("00886912345678", None): "raises",
}
seen = {case: look(*case) for case in expected}
for (text, region), value in seen.items():
    print(f"  {text} ({region}): {value}")
if seen != expected:
    print("changed; it was:", {case: value for case, value in expected.items() if seen[case] != value})
    sys.exit(1)
print("as described")
PY
