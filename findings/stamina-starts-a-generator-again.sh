#!/usr/bin/env bash
# Most people guess: a retry decorator on a generator (the pages of an API, row by row) does
#   nothing, as calling a generator function runs none of it; or it goes on behind the last row.
# What really happens: in tenacity and backoff it does nothing: the first error of an iteration
#   reaches the caller. stamina, which is built on tenacity, catches it inside the iteration and
#   starts the function from its beginning: whoever consumes it gets the rows before the error
#   once more, in the same loop, and there is no sign between them. Three rows with two errors
#   behind the second are seven rows; a sum or an append is wrong, a set of keys is right.
# Seen with: stamina 26.1.0, tenacity 9.2.1, backoff 2.2.1
# Source: the docstring of stamina.retry ("Generators are restarted from the beginning on each
#   retry"); the others: this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check stamina==26.1.0 tenacity==9.2.1 backoff==2.2.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import logging
import sys
from importlib.metadata import version

import backoff
import stamina
import tenacity

logging.disable(logging.CRITICAL)
print(*(f"{name} {version(name)}" for name in ("stamina", "tenacity", "backoff")))


def look(decorate):
    calls = []

    @decorate
    def rows():
        calls.append(1)
        yield "Ann"
        yield "Bob"
        if len(calls) < 3:
            raise ConnectionError("the second page did not come")
        yield "Cy"

    got = []
    try:
        for row in rows():
            got.append(row)
    except ConnectionError:
        got.append("raises")
    return got, len(calls)


seen = {
    "stamina": look(stamina.retry(on=ConnectionError, attempts=5, wait_initial=0.01, wait_jitter=0)),
    "tenacity": look(tenacity.retry(stop=tenacity.stop_after_attempt(5))),
    "backoff": look(backoff.on_exception(backoff.constant, ConnectionError, interval=0.01, max_tries=5)),
}
for name, (got, calls) in seen.items():
    print(f"  {name}: {calls} start(s), the loop got {got}")
untouched = (["Ann", "Bob", "raises"], 1)
expected = {"stamina": (["Ann", "Bob", "Ann", "Bob", "Ann", "Bob", "Cy"], 3), "tenacity": untouched, "backoff": untouched}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
