#!/usr/bin/env bash
# Most people guess: rotate(token) is decrypt and encrypt with the newest key, so the new token
#   is as old as any new token is, and a nightly rotation keeps tokens within their ttl.
# What really happens: the time stamp is carried over, on purpose. A token beyond its ttl
#   rotates without an error and stays expired; only decrypt and encrypt makes it young.
#   (Neither does decrypt without ttl look at the time: a token dated tomorrow decrypts, and
#   only a ttl argument makes that an InvalidToken.)
# Seen with: cryptography 50.0.2
# Source: seen by this script, and in the package's fernet.py (rotate hands the old token's time
#   on); the page on Fernet, with MultiFernet: https://cryptography.io/fernet.html
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check cryptography==50.0.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
import time

import cryptography
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

print("cryptography", cryptography.__version__)
old, new = Fernet(Fernet.generate_key()), Fernet(Fernet.generate_key())
both = MultiFernet([new, old])
now = int(time.time())
token = old.encrypt_at_time(b"x", now - 7200)
rotated = both.rotate(token)
rewritten = both.encrypt(both.decrypt(token))
tomorrow = old.encrypt_at_time(b"x", now + 86400)


def opens(fernet, what, **options):
    try:
        return fernet.decrypt(what, **options) == b"x"
    except InvalidToken:
        return False


seen = {
    "hours since the rotated token's time": (now - new.extract_timestamp(rotated)) / 3600,
    "rotated token, ttl one hour": opens(new, rotated, ttl=3600),
    "rewritten token, ttl one hour": opens(new, rewritten, ttl=3600),
    "rotated token, no ttl": opens(new, rotated),
    "tomorrow's token, no ttl": opens(old, tomorrow),
    "tomorrow's token, ttl one hour": opens(old, tomorrow, ttl=3600),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = dict(zip(seen, [2.0, False, True, True, True, False]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
