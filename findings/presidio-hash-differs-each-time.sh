#!/usr/bin/env bash
# Most people guess: presidio's operator "hash" (SHA-256) gives one value one hash, so that a buyer
#   can be counted and joined after anonymizing; that is what it is chosen for over "replace".
# What really happens: unless it is given a salt, each found entity gets a random one of its own,
#   which is not kept: the same address twice in one text has two hashes, every row of a table is
#   another buyer, and a run of the next day matches none of the day before. With
#   {"salt": ...} of at least 16 bytes it is the same hash everywhere; "hash_type" alone changes
#   nothing.
# Seen with: presidio-anonymizer 2.2.366
# Source: presidio_anonymizer/operators/hash.py in the package (a random salt per entity if none
#   is given); https://github.com/data-privacy-stack/presidio/issues/1845 (until 2026 it was the
#   plain hash, by which occurrences could be linked).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check presidio-anonymizer==2.2.366
cd "$work"

"$work/venv/bin/python" - <<'PY'
import hashlib
import sys
from importlib.metadata import version

from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

print("presidio-anonymizer", version("presidio-anonymizer"))
engine = AnonymizerEngine()
address = "ann@example.org"
text = f"{address} wrote to {address}"
found = [RecognizerResult("EMAIL", start, start + len(address), 1.0) for start in (0, len(text) - len(address))]


def look(**options):
    runs = [engine.anonymize(text, found, {"EMAIL": OperatorConfig("hash", options)}).text.split(" wrote to ") for _ in range(2)]
    hashes = [value for run in runs for value in run]
    return len(set(hashes)), hashlib.sha256(address.encode()).hexdigest() in hashes


seen = {
    "no option": look(),
    "hash_type sha512": look(hash_type="sha512"),
    "a salt": look(salt="sixteen bytes or more"),
}
for options, (different, plain) in seen.items():
    print(f"  {options}: one address, found four times, has {different} hash(es); the plain SHA-256 is {'' if plain else 'not '}among them")
expected = {"no option": (4, False), "hash_type sha512": (4, False), "a salt": (1, False)}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
