#!/usr/bin/env bash
# Most people guess: python-stdnum knows the check digit of the Unified Business Number (統一編號),
#   which companies put on a ticket's invoice, so what its tw.ubn refuses is mistyped.
# What really happens: it has the rule of before 2023, a weighted sum that 10 divides. The
#   Ministry of Finance ran out of numbers and has since April 2023 given out those whose sum 5
#   divides, so a new company's number, if its sum ends in 5, is refused as InvalidChecksum: one
#   half of all that are valid now.
# Seen with: python-stdnum 2.2
# Source: stdnum/tw/ubn.py; the ministry's note on the check digit (https://www.mof.gov.tw,
#   營利事業統一編號檢查碼邏輯修正說明), told in
#   https://smartcpa.tw/ko/news/content/E3F2E9817E12A3140DDE3EBD406D22F2
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check python-stdnum==2.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import stdnum
from stdnum.tw import ubn

print("python-stdnum", stdnum.__version__)


def valid_since_2023(number):
    products = [int(digit) * weight for digit, weight in zip(number, (1, 2, 1, 2, 1, 2, 4, 1))]
    total = sum(product // 10 + product % 10 for product in products)
    return total % 5 == 0 or (number[6] == "7" and (total + 1) % 5 == 0)


numbers = [f"{n:08}" for n in range(12_340_000, 12_350_000)]
valid = [number for number in numbers if valid_since_2023(number)]
refused = [number for number in valid if not ubn.is_valid(number)]
wrongly_taken = [number for number in numbers if ubn.is_valid(number) and number not in set(valid)]
seen = {
    "made-up number of the old kind, 12345606": ubn.is_valid("12345606"),
    "of the new kind, 12345601": ubn.is_valid("12345601"),
    "its sum is divided by 5": valid_since_2023("12345601"),
    "refused of the valid ones, in percent": round(100 * len(refused) / len(valid)),
    "taken of the invalid ones": len(wrongly_taken),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = dict(zip(seen, [True, False, True, 50, 0]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
