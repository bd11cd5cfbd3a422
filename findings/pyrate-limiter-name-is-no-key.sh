#!/usr/bin/env bash
# Most people guess: the name in try_acquire(name) is what is counted by, as in limits, slowapi
#   or a Redis key: one person's mails do not use up another's; and a "try" says at once whether
#   there was room.
# What really happens: Limiter(Rate(...)) has a single bucket, and the name is only stored with
#   the item: the third call has to wait whoever it is for. Limits per name need a BucketFactory
#   of one's own. try_acquire waits by default (blocking=True, no timeout), since version 4, so
#   a limit per day stops the worker until tomorrow instead of answering False; 3.x raised
#   BucketFullException at once for the same lines.
# Seen with: pyrate-limiter 4.5.1, pyrate-limiter 3.9.0
# Source: this script; pyrate-limiter's docstring of try_acquire (name: "The bucket key to
#   acquire from") and its README ("Per-key limits", "Blocking (default)",
#   https://pyratelimiter.readthedocs.io/)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 4.5.1 3.9.0; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/pip" install -qq --disable-pip-version-check "pyrate-limiter==$version"
done
cd "$work"

cat > look.py <<'PY'
import sys
import time
from importlib.metadata import version

from pyrate_limiter import Duration, Limiter, Rate

release = version("pyrate-limiter")
print("pyrate-limiter", release)
limiter = Limiter(Rate(2, Duration.SECOND * 3))
seen = []
for name in ("ann", "ann", "bob", "bob"):
    start = time.monotonic()
    try:
        answer = limiter.try_acquire(name)
    except Exception as error:
        answer = type(error).__name__
    seen.append((name, answer, "waited" if time.monotonic() - start > 1 else "at once"))
for call in seen:
    print("  ", *call)
ann = [("ann", True, "at once")] * 2
third = ("bob", True, "waited") if release == "4.5.1" else ("bob", "BucketFullException", "at once")
if seen[:2] != ann or seen[2] != third:
    print("changed; it was:", [*ann, third])
    sys.exit(1)
PY
for version in 4.5.1 3.9.0; do
  "$work/$version/bin/python" look.py
done
echo "as described"
