#!/usr/bin/env bash
# Most people guess: AsyncLimiter(50, 60) lets 50 calls through in any 60 seconds, which is how an
#   API's "50 requests per minute" is meant, and after a pause no more than that.
# What really happens: it is a leaky bucket: 50 pass at once, and while they leak out one more
#   passes every 1.2 seconds, so that the first minute, and every minute that begins after a pause,
#   has 99. A server that counts per window answers 429 to nearly half of them. AsyncLimiter(1, 1.2)
#   spaces the calls.
# Seen with: aiolimiter 1.3.0
# Source: https://github.com/mjpieters/aiolimiter/blob/master/src/aiolimiter/leakybucket.py (a
#   leaky bucket); the count: this script, on a clock that does not wait.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check aiolimiter==1.3.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import asyncio
import selectors
import sys
from importlib.metadata import version

from aiolimiter import AsyncLimiter

print("aiolimiter", version("aiolimiter"))


class Clock(selectors.DefaultSelector):
    """Time goes on only where the loop would wait, and at once."""

    now = 0.0

    def select(self, timeout=None):
        self.now += (timeout or 0) + 1e-6
        return super().select(0)


def look(rate, period, pause=0):
    clock = Clock()
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = lambda: clock.now

    async def calls():
        limiter, at = AsyncLimiter(rate, period), []
        while clock.now < 300:
            await limiter.acquire()
            at.append(clock.now)
            if len(at) == 200:
                await asyncio.sleep(pause)
        return at

    at = loop.run_until_complete(calls())
    loop.close()
    return len([t for t in at if t < 59.99]), max(len([t for t in at if start <= t < start + 59.99]) for start in at if start > 60)


seen = {
    "50 in 60 seconds": look(50, 60),
    "the same, with a pause of a minute": look(50, 60, pause=60),
    "1 in 1.2 seconds": look(1, 1.2),
}
for what, (first, worst) in seen.items():
    print(f"  {what}: {first} in the first minute, {worst} in the worst minute later")
expected = {
    "50 in 60 seconds": (99, 50),
    "the same, with a pause of a minute": (99, 99),
    "1 in 1.2 seconds": (50, 50),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
