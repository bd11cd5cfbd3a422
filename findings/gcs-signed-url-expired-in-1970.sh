#!/usr/bin/env bash
# Most people guess: blob.generate_signed_url(expiration=3600) makes a link that is valid for an
#   hour, as ExpiresIn=3600 does for S3, or refuses a number that lies in the past.
# What really happens: the number has two meanings. With version="v4" it is a span of seconds; the
#   version by default is still v2, for which it is a Unix time: the link expired on the 1st of
#   January 1970 at one o'clock, and nobody sees it before the link is opened. A time for v2,
#   given to v4, is refused as longer than seven days. A timedelta means the same in both.
# Seen with: google-cloud-storage 3.17.1
# Source: get_expiration_seconds_v2 and _v4 in google/cloud/storage/_signing.py;
#   https://cloud.google.com/python/docs/reference/storage/latest/google.cloud.storage.blob.Blob
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check google-cloud-storage==3.17.1 cryptography==50.0.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime as dt
import sys
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import storage
from google.oauth2 import service_account

print("google-cloud-storage", version("google-cloud-storage"))
key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
account = {"client_email": "app@example.org", "private_key": key.decode(), "token_uri": "https://example.org/token"}
client = storage.Client(project="shop", credentials=service_account.Credentials.from_service_account_info(account))
ticket = client.bucket("tickets").blob("A-1.pdf")


def lifetime(expiration, **options):
    """Return for how many seconds from now the link is valid; round to a minute."""
    query = parse_qs(urlsplit(ticket.generate_signed_url(expiration=expiration, **options)).query)
    if "X-Goog-Expires" in query:
        return int(query["X-Goog-Expires"][0])
    until = int(query["Expires"][0])
    return f"until {dt.datetime.fromtimestamp(until, dt.timezone.utc)}" if until < 10**6 else round((until - dt.datetime.now().timestamp()) / 60) * 60


hour = dt.timedelta(hours=1)
seen = {
    "3600, no version": lifetime(3600),
    "3600, v2": lifetime(3600, version="v2"),
    "3600, v4": lifetime(3600, version="v4"),
    "timedelta(hours=1), no version": lifetime(hour),
    "timedelta(hours=1), v4": lifetime(hour, version="v4"),
}
for name, value in seen.items():
    print(f"  {name}: {value}")
long_ago = "until 1970-01-01 01:00:00+00:00"
expected = dict(zip(seen, [long_ago, long_ago, 3600, 3600, 3600]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
