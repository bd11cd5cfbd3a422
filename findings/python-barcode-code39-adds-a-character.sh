#!/usr/bin/env bash
# Most people guess: a bar code of a text is read back as this text; a check digit, where the
#   symbology has one, is the scanner's business, as in Code 128.
# What really happens: Code 39's check character is optional and is plain data to a scanner that
#   was not told of it. python-barcode adds it by default (options={"add_checksum": False} turns
#   it off), so every lookup of what was scanned finds nothing, or another code that happens to
#   end so. The printed text shows it as well. An EAN-13 given with a wrong last digit is not
#   refused: the digit is replaced. ITF 12345 is read as 012345.
# Seen with: python-barcode 0.16.1, zxing-cpp 3.1.1
# Source: this script, which reads the pictures with ZXing; python-barcode's docstring of Code39
#   (add_checksum: "Add the checksum to code or not")
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check python-barcode==0.16.1 zxing-cpp==3.1.1 pillow==13.0.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import io
import sys
from importlib.metadata import version

import barcode
import zxingcpp
from barcode.writer import ImageWriter
from PIL import Image

print(*(f"{name} {version(name)}" for name in ("python-barcode", "zxing-cpp")))


def read(code):
    png = io.BytesIO()
    code.write(png)
    return code.get_fullcode(), [found.text for found in zxingcpp.read_barcodes(Image.open(png))]


def by_name(kind, text):
    return read(barcode.get(kind, text, writer=ImageWriter()))


seen = {
    "code39 T-0042": by_name("code39", "T-0042"),
    "code39 T-0042, options": read(barcode.get("code39", "T-0042", writer=ImageWriter(), options={"add_checksum": False})),
    "code128 T-0042": by_name("code128", "T-0042"),
    "itf 12345": by_name("itf", "12345"),
    "ean13 1234567890123": by_name("ean13", "1234567890123"),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "code39 T-0042": ("T-0042S", ["T-0042S"]),
    "code39 T-0042, options": ("T-0042", ["T-0042"]),
    "code128 T-0042": ("T-0042", ["T-0042"]),
    "itf 12345": ("012345", ["012345"]),
    "ean13 1234567890123": ("1234567890128", ["1234567890128"]),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
