#!/usr/bin/env bash
# Most people guess: either that ~ finds the pattern anywhere, as in PostgreSQL, or, knowing
#   DuckDB, that it has to match the whole text, as ~ and SIMILAR TO always did; whichever it is,
#   an upgrade that changed it would say so.
# What really happens: up to 1.5 ~ is a full match, in 2.0 a partial one, by default and without a
#   notice: WHERE code ~ 'A[0-9]' finds rows that it did not find before, and !~ loses them.
#   SIMILAR TO stays as it was, so the two are no longer the same. A view that 1.5 stored keeps the
#   old meaning in 2.0, while the same text run again has the new one. SET
#   regex_match_operator_semantics = 'FULL' brings the old one back.
# Seen with: duckdb 2.0.1, duckdb 1.5.6
# Source: duckdb pull request 23432, "Make regex operators match PostgreSQL behaviour":
#   https://github.com/duckdb/duckdb/pull/23432
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 1.5.6 2.0.1; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/pip" install -qq --disable-pip-version-check "duckdb==$version"
done
cd "$work"

cat > look.py <<'PY'
import sys

import duckdb

db = duckdb.connect("codes.duckdb")
if duckdb.__version__ == "1.5.6":
    db.execute("CREATE TABLE codes AS SELECT * FROM (VALUES ('A1'), ('A12'), ('BA1')) AS c (code)")
    db.execute("CREATE VIEW chosen AS SELECT code FROM codes WHERE code ~ 'A[0-9]'")


def codes(query: str) -> list[str]:
    return sorted(code for (code,) in db.execute(query).fetchall())


seen = {
    "~": codes("SELECT code FROM codes WHERE code ~ 'A[0-9]'"),
    "!~": codes("SELECT code FROM codes WHERE code !~ 'A[0-9]'"),
    "SIMILAR TO": codes("SELECT code FROM codes WHERE code SIMILAR TO 'A[0-9]'"),
    "the view made by 1.5.6": codes("FROM chosen"),
}
if duckdb.__version__ != "1.5.6":
    db.execute("SET regex_match_operator_semantics = 'FULL'")
    seen["~ with FULL"] = codes("SELECT code FROM codes WHERE code ~ 'A[0-9]'")
print("duckdb", duckdb.__version__)
for what, found in seen.items():
    print(f"  {what}: {found}")
expected = {
    "1.5.6": {"~": ["A1"], "!~": ["A12", "BA1"], "SIMILAR TO": ["A1"], "the view made by 1.5.6": ["A1"]},
    "2.0.1": {"~": ["A1", "A12", "BA1"], "!~": [], "SIMILAR TO": ["A1"], "the view made by 1.5.6": ["A1"], "~ with FULL": ["A1"]},
}[duckdb.__version__]
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 1.5.6 2.0.1; do
  "$work/$version/bin/python" look.py
done
echo "as described"
