#!/usr/bin/env bash
# Most people guess: a field of type EmailStr refuses "Ann <ann@example.org>": that is what
#   NameEmail is for, and email-validator, which does the work, refuses it.
# What really happens: pydantic takes the address out of it before email-validator sees it, throws
#   the name away and goes on; spaces around an address go the same way, and so do
#   <ann@example.org> and a quoted name with a comma. The value is not the text that came in, so a
#   lookup by that text finds nothing, while the JSON schema says format: email, which has no
#   names in it.
# Seen with: pydantic 2.14.4, email-validator 2.4.0
# Source: pydantic/networks.py (validate_email, whose docstring says that pretty addresses are
#   processed; EmailStr uses its second result); https://docs.pydantic.dev/latest/api/networks/
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check pydantic==2.14.4 email-validator==2.4.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from email_validator import EmailNotValidError, validate_email
from pydantic import EmailStr, TypeAdapter, ValidationError

print(*(f"{name} {version(name)}" for name in ("pydantic", "email-validator")))
adapter = TypeAdapter(EmailStr)
schema = adapter.json_schema()


def with_pydantic(text):
    try:
        return adapter.validate_python(text)
    except ValidationError:
        return "refused"


def with_email_validator(text):
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        return "refused"


texts = ["ann@example.org", "Ann <ann@example.org>", "<ann@example.org>", '"Li, Ann" <ann@example.org>', " ann@example.org ", "Ann ann@example.org"]
seen = {text: (with_pydantic(text), with_email_validator(text)) for text in texts}
print("  the JSON schema:", schema)
for text, (one, other) in seen.items():
    print(f"  {text!r}: EmailStr {one}, email-validator {other}")
taken = "ann@example.org"
expected = dict(zip(texts, [(taken, taken), *[(taken, "refused")] * 4, ("refused", "refused")]))
if seen != expected or schema != {"type": "string", "format": "email"}:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
