#!/usr/bin/env bash
# Most people guess: BigQuery's DATETIME is a wall-clock time, so the client sends that of the
#   value (as DATETIME columns of pandas and most databases do), or asks for a naive one.
# What really happens: ScalarQueryParameter(..., "DATETIME", aware) converts to UTC and drops
#   the zone: eight hours off for Taiwan, and for an evening in the Americas the next day. Texts
#   are sent as they are, offset included. A DATE parameter given a datetime is not reduced to
#   its day: the whole ISO text goes to the server, in local time. TIMESTAMP is as one expects.
# Seen with: google-cloud-bigquery 3.47.0
# Source: seen by this script, which looks at what the client would send
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check google-cloud-bigquery==3.47.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import sys

from google.cloud import bigquery

print("google-cloud-bigquery", bigquery.__version__)
taipei = datetime.timezone(datetime.timedelta(hours=8))
aware = datetime.datetime(2026, 1, 1, 7, 0, tzinfo=taipei)
text = "2026-01-01 07:00:00+08:00"


def sent(kind, value):
    return bigquery.ScalarQueryParameter("p", kind, value).to_api_repr()["parameterValue"]["value"]


expected = {
    ("DATETIME", aware): "2025-12-31T23:00:00.000000",
    ("DATETIME", aware.replace(tzinfo=None)): "2026-01-01T07:00:00.000000",
    ("DATETIME", text): text,
    ("TIMESTAMP", aware): "2025-12-31 23:00:00+00:00",
    ("DATE", aware): "2026-01-01T07:00:00+08:00",
    ("DATE", aware.date()): "2026-01-01",
}
seen = {case: sent(*case) for case in expected}
for (kind, value), text_sent in seen.items():
    print(f"  {kind} {value} ({type(value).__name__}): {text_sent}")
if seen != expected:
    print("changed; it was:", list(expected.values()))
    sys.exit(1)
print("as described")
PY
