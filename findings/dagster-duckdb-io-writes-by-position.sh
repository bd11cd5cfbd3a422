#!/usr/bin/env bash
# Most people guess: DuckDBPandasIOManager writes a DataFrame into the table's columns of the same
#   name, and replaces the partition with what the asset returned.
# What really happens: it runs INSERT INTO ... SELECT * FROM df: the names are not looked at. The
#   table has the column order of its first partition, so a later run whose frame has two text
#   columns the other way round (after a merge, a pivot, another pandas) stores names as addresses.
#   A fraction is rounded into a column that held whole numbers at first. Rows whose partition
#   column names another partition are written too; the next run deletes only its own, so they are
#   there twice. All of these are successful materializations.
# Seen with: dagster 1.13.27, dagster-duckdb-pandas 0.29.27, duckdb 2.0.1
# Source: dagster_duckdb_pandas/duckdb_pandas_type_handler.py in the package (the two statements);
#   DuckDB's rule: https://github.com/duckdb/duckdb/issues/13339
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check dagster==1.13.27 dagster-duckdb-pandas==0.29.27 duckdb==2.0.1 pandas==2.3.3
cd "$work"

"$work/venv/bin/python" - <<'PY'
import logging
import os
import sys
from importlib.metadata import version

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
import dagster as dg
import duckdb
import pandas as pd
from dagster_duckdb_pandas import DuckDBPandasIOManager

logging.disable(logging.CRITICAL)
print("dagster", dg.__version__, "dagster-duckdb-pandas", version("dagster-duckdb-pandas"), "duckdb", duckdb.__version__)
frames = {}
io_manager = DuckDBPandasIOManager(database="guests.duckdb", schema="main")


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c", "d"]), metadata={"partition_expr": "event"})
def guests(context):
    return frames[context.partition_key]


def materialize(partition: str, frame: pd.DataFrame) -> bool:
    frames[partition] = frame
    return dg.materialize([guests], partition_key=partition, resources={"io_manager": io_manager}).success


def row(event: str, **cells) -> pd.DataFrame:
    return pd.DataFrame([{"event": event, **cells}])


successes = [
    materialize("a", row("a", name="Ann", email="ann@example.org", tickets=1)),
    materialize("b", row("b", email="bob@example.org", name="Bob", tickets=1)),
    materialize("c", row("c", name="Cy", email="cy@example.org", tickets=1.6)),
    materialize("d", row("a", name="Dee", email="dee@example.org", tickets=1)),
    materialize("d", row("a", name="Dee", email="dee@example.org", tickets=1)),
]
with duckdb.connect("guests.duckdb", config={"custom_user_agent": "dagster"}) as db:
    seen = sorted(db.execute("SELECT event, name, email, tickets FROM guests").fetchall())
for line in seen:
    print("  ", line)
expected = [
    ("a", "Ann", "ann@example.org", 1),
    ("a", "Dee", "dee@example.org", 1),
    ("a", "Dee", "dee@example.org", 1),
    ("b", "bob@example.org", "Bob", 1),
    ("c", "Cy", "cy@example.org", 2),
]
if seen != expected or not all(successes):
    print("changed; it was:", expected, "and five successes")
    sys.exit(1)
print("as described")
PY
