#!/usr/bin/env bash
# Most people guess: dkim.sign(mail, ...) signs the headers that matter, those of mailing lists
#   included; so a mail with List-Unsubscribe and List-Unsubscribe-Post is ready for one-click
#   unsubscribing.
# What really happens: of this mail's eight headers seven are signed, List-Unsubscribe among them;
#   the eighth, List-Unsubscribe-Post, is not in the library's list of names. RFC 8058, which
#   defines it, wants a valid signature that covers both. Nothing fails and the signature is
#   valid: only this header has none. include_headers=[...] with all names signs it.
# Seen with: dkimpy 1.1.8
# Source: SHOULD in dkim/__init__.py; https://www.rfc-editor.org/rfc/rfc8058#section-4
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check dkimpy==1.1.8 cryptography==50.0.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

print("dkimpy", version("dkimpy"))
key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
HEADERS = {
    "From": "shop@example.org",
    "To": "ann@example.org",
    "Subject": "Your invitation",
    "Date": "Sat, 05 Sep 2026 10:00:00 +0000",
    "Message-ID": "<1@example.org>",
    "List-Id": "<guests.example.org>",
    "List-Unsubscribe": "<https://example.org/unsubscribe/1>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}
mail = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()) + "\r\nSee you there.\r\n"
ONE_CLICK = ("list-unsubscribe", "list-unsubscribe-post")


def signed(**options):
    header = dkim.sign(mail.encode(), b"mail", b"example.org", key, **options).decode()
    tags = dict(tag.strip().split("=", 1) for tag in header.split(":", 1)[1].split(";"))
    names = {name.strip().lower() for name in tags["h"].split(":")}
    return [name for name in ONE_CLICK if name in names], [name for name in HEADERS if name.lower() not in names]


named = [name.encode() for name in HEADERS]
expected = {
    "by default: signed of the two, unsigned headers": (["list-unsubscribe"], ["List-Unsubscribe-Post"]),
    "include_headers with all names": (list(ONE_CLICK), []),
}
seen = dict(zip(expected, [signed(), signed(include_headers=named)]))
for name, value in seen.items():
    print(f"  {name}: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
