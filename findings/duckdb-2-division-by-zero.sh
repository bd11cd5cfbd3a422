#!/usr/bin/env bash
# Most people guess: DuckDB answers a division by zero with NULL; or, after a major release,
#   with an error for every kind of division, as BigQuery does.
# What really happens: 2.0 raises for the integer operators // and % (which 1.5 answered with
#   NULL), and answers 1 / 0 with inf, as since 1.1: neither an error nor a NULL, so that
#   COALESCE and IS NULL do not see it, and one such row makes a sum or an average infinite.
#   Each old behaviour has a setting of its own, error_on_division_by_zero and
#   ieee_floating_point_ops.
# Seen with: duckdb 2.0.1, duckdb 1.5.6
# Source: duckdb pull requests 25004 (raise for // and %), 25332 (name of the setting) and 13493
#   (inf): https://github.com/duckdb/duckdb/pull/25004 ,
#   https://github.com/duckdb/duckdb/pull/25332 , https://github.com/duckdb/duckdb/pull/13493
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 2.0.1 1.5.6; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/pip" install -qq --disable-pip-version-check "duckdb==$version"
done
cd "$work"

cat > look.py <<'PY'
import sys

import duckdb


def answer(query, *settings):
    db = duckdb.connect()
    for setting in settings:
        db.execute(setting)
    try:
        return repr(db.execute(query).fetchone()[0])
    except duckdb.Error as error:
        return type(error).__name__


version = duckdb.__version__
seen = {operator: answer(f"SELECT 1 {operator} 0") for operator in ("/", "//", "%")}
expected = {"/": "inf", "//": "None", "%": "None"}
if version == "2.0.1":
    expected = {"/": "inf", "//": "InvalidInputException", "%": "InvalidInputException"}
    expected["//, error_on_division_by_zero off"] = "None"
    seen["//, error_on_division_by_zero off"] = answer("SELECT 1 // 0", "SET error_on_division_by_zero = false")
expected["/, ieee_floating_point_ops off"] = "InvalidInputException" if version == "2.0.1" else "None"
seen["/, ieee_floating_point_ops off"] = answer("SELECT 1 / 0", "SET ieee_floating_point_ops = false")
print("duckdb", version)
for key, value in seen.items():
    print(f"  1 by 0 with {key}: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 2.0.1 1.5.6; do
  "$work/$version/bin/python" look.py
done
echo "as described"
