#!/usr/bin/env bash
# Most people guess: segno.make makes a QR code, the smallest that holds the text, as
#   qrcode.make does.
# What really happens: "smallest" includes Micro QR codes, a symbol of its own with one finder
#   pattern: short codes (an order code, a ticket number, up to 15 lower-case letters) get one,
#   longer texts do not. Here a multi-format reader (ZXing) reads it, and OpenCV's QR detector
#   answers with an empty text, as readers made for QR codes alone do. Try-outs with a URL
#   always work; whether a real ticket does depends on the length of its code. error="h" keeps
#   it from being micro as a by-effect; make_qr says it.
# Seen with: segno 1.6.6, qrcode 8.2, opencv-python-headless 5.0.0.93, zxing-cpp 3.1.1
# Source: segno's docstring of make ("Creates a (Micro) QR Code", micro=None chooses) and
#   heuer/segno issue 114 (planned change, as Micro QR codes are uncommon); the readers: this
#   script
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check segno==1.6.6 qrcode==8.2 opencv-python-headless==5.0.0.93 zxing-cpp==3.1.1 pillow==13.0.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import io
import sys
from importlib.metadata import version

import cv2
import numpy
import qrcode
import segno
import zxingcpp

print(*(f"{name} {version(name)}" for name in ("segno", "qrcode", "opencv-python-headless", "zxing-cpp")))


def read(save):
    png = io.BytesIO()
    save(png)
    picture = cv2.imdecode(numpy.frombuffer(png.getvalue(), "u1"), cv2.IMREAD_GRAYSCALE)
    by_zxing = [(str(code.format).rsplit(".")[-1], code.text) for code in zxingcpp.read_barcodes(picture)]
    return by_zxing, cv2.QRCodeDetector().detectAndDecode(picture)[0]


def by_segno(text, make=segno.make, **options):
    return read(lambda png: make(text, **options).save(png, kind="png", scale=8, border=4))


seen = {
    "segno.make('T-0042')": by_segno("T-0042"),
    "segno.make('pycon-2026-0042')": by_segno("pycon-2026-0042"),
    "segno.make('https://example.org/t/42')": by_segno("https://example.org/t/42"),
    "segno.make('T-0042', error='h')": by_segno("T-0042", error="h"),
    "segno.make_qr('T-0042')": by_segno("T-0042", make=segno.make_qr),
    "qrcode.make('T-0042')": read(qrcode.make("T-0042").save),
}
for key, value in seen.items():
    print(f"  {key}: ZXing {value[0]}, OpenCV {value[1]!r}")
qr = ([("QR Code", "T-0042")], "T-0042")
link = "https://example.org/t/42"
expected = {
    "segno.make('T-0042')": ([("Micro QR Code", "T-0042")], ""),
    "segno.make('pycon-2026-0042')": ([("Micro QR Code", "pycon-2026-0042")], ""),
    "segno.make('https://example.org/t/42')": ([("QR Code", link)], link),
    "segno.make('T-0042', error='h')": qr,
    "segno.make_qr('T-0042')": qr,
    "qrcode.make('T-0042')": qr,
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
