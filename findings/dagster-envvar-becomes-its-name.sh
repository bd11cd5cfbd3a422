#!/usr/bin/env bash
# Most people guess: dagster.EnvVar is resolved when the run starts, wherever it stands in a
#   resource's configuration; used too early it raises ("Attempted to directly retrieve
#   environment variable"), as the f-string does that everybody tries.
# What really happens: EnvVar is a str whose content is the variable's NAME, and only str() and
#   f-strings are guarded. "Bearer " + EnvVar("TOKEN") is "Bearer TOKEN", json.dumps writes
#   "TOKEN", urllib sends it as a header. In a resource, a field of type str, list[str] or
#   dict[str, str] is resolved, while one annotated with a bare dict keeps Dagster's own {'env':
#   'TOKEN'} in place of the text, at run time, in a successful run. So a header, a connection
#   option or a file name is made from the name, and the first sign is a 401, or a database
#   called DUCKDB_DATABASE.
# Seen with: dagster 1.13.29
# Source: this script; dagster-io/dagster issue 19629 (data written to ./DUCKDB_DATABASE) for a
#   neighbour of it, and the error text, printed below
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check dagster==1.13.29
cd "$work"

"$work/venv/bin/python" - <<'PY'
import json
import logging
import os
import sys
import urllib.request

import dagster as dg

print("dagster", dg.__version__)
logging.disable(logging.CRITICAL)
os.environ["TOKEN"] = "the value"
token = dg.EnvVar("TOKEN")
seen = {}


class Plain(dg.ConfigurableResource):
    token: str


class Many(dg.ConfigurableResource):
    tokens: list[str]


class Headers(dg.ConfigurableResource):
    headers: dict


class TypedHeaders(dg.ConfigurableResource):
    headers: dict[str, str]


@dg.asset
def look(plain: Plain, many: Many, headers: Headers, typed: TypedHeaders):
    seen["a field of type str"] = plain.token
    seen["list[str]"] = many.tokens
    seen["dict"] = headers.headers
    seen["dict[str, str]"] = typed.headers


resources = {
    "plain": Plain(token=token),
    "many": Many(tokens=[token]),
    "headers": Headers(headers={"auth": token}),
    "typed": TypedHeaders(headers={"auth": token}),
}
seen["the run succeeds"] = dg.materialize([look], resources=resources).success
try:
    f"Bearer {token}"
except RuntimeError as error:
    print("  ", str(error).split(".")[0])
    seen["f-string"] = "RuntimeError"
seen["'Bearer ' + EnvVar"] = "Bearer " + token
seen["json.dumps"] = json.dumps({"auth": token})
seen["a header of urllib"] = urllib.request.Request("http://127.0.0.1", headers={"Auth": token}).get_header("Auth") + ""
for key, value in seen.items():
    print(f"  {key}: {value!r}")
expected = {
    "a field of type str": "the value",
    "list[str]": ["the value"],
    "dict": {"auth": {"env": "TOKEN"}},
    "dict[str, str]": {"auth": "the value"},
    "the run succeeds": True,
    "f-string": "RuntimeError",
    "'Bearer ' + EnvVar": "Bearer TOKEN",
    "json.dumps": '{"auth": "TOKEN"}',
    "a header of urllib": "TOKEN",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
