#!/usr/bin/env bash
# Most people guess: notify() returns a bool, or None when no service was there to be notified,
#   as for years; so "if apobj.notify(...) is False: alarm()" or "== False" finds the failures.
# What really happens: 2.x returns an AppriseResult. bool() of it gives the old True and False,
#   but identity and equality with True, False and None are all False, so such a test never
#   fires: a delivery failure passes silently. The old None is a falsy object now, which only
#   its status (NOMATCH) tells from a failure; it cannot be dumped as JSON either.
# Seen with: apprise 2.3.0, apprise 1.9.9
# Source: the docstring of Apprise.notify in 2.3.0 ("bool(result) preserves the previous
#   True/False behavior").
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 2.3.0 1.9.9; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/pip" install -qq --disable-pip-version-check "apprise==$version"
done
cd "$work"

cat > look.py <<'PY'
import json
import logging
import socket
import sys

import apprise

logging.getLogger("apprise").setLevel(logging.CRITICAL)
print("apprise", apprise.__version__)
with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))
    port = unused.getsockname()[1]
failing = apprise.Apprise()
failing.add(f"json://127.0.0.1:{port}/", tag="ops")


def look(result):
    try:
        dumped = json.dumps(result)
    except TypeError:
        dumped = "TypeError"
    return [type(result).__name__, bool(result), result is False, result == False, result is None, dumped]  # noqa: E712


seen = {"nobody answers": look(failing.notify(body="x", tag="ops")), "no such tag": look(failing.notify(body="x", tag="nobody"))}
print("  columns: type, bool, is False, == False, is None, as JSON")
for key, value in seen.items():
    print(f"  {key}: {value}")
if apprise.__version__ == "2.3.0":
    expected = {key: ["AppriseResult", False, False, False, False, "TypeError"] for key in seen}
else:
    expected = {"nobody answers": ["bool", False, True, True, False, "false"], "no such tag": ["NoneType", False, False, False, True, "null"]}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 2.3.0 1.9.9; do
  "$work/$version/bin/python" look.py
done
echo "as described"
