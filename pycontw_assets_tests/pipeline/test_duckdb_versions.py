"""A data folder goes from one Python to another, each with the DuckDB that constraints.txt names for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OTHER = "3.12" if sys.version_info < (3, 11) else "3.10"
# The environment before a test emptied it: pip needs it to find the packages.
_ENVIRONMENT = dict(os.environ)
# Loads that many rows into the file, and prints how many there were and are.
_LOAD = """
import sys
from pathlib import Path
import pandas as pd
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import TableColumn, attendee_tables
from pycontw_assets.load.warehouse import WarehouseError, content_digest
types = {"partition_key": "STRING", "event_id": "INT64", "attendee_id": "INT64"}
[table, *_] = attendee_tables(
    TableColumn(name=name, type=kind, mode="", description=name, source="") for name, kind in types.items()
).values()
path, key, count = Path(sys.argv[1]), "2031-corporate-1", int(sys.argv[2])
rows = pd.DataFrame({"partition_key": [key] * count, "event_id": [1] * count, "attendee_id": range(count)})
warehouse = DuckDBWarehouse(path)
try:
    before = warehouse.partition_rows(table, key)
    warehouse.replace_partition(table, key, rows, digest=content_digest(rows))
    print(before, warehouse.partition_rows(table, key))
except WarehouseError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a Python with another DuckDB than this one's."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    places = [shutil.which(f"python{OTHER}"), *sorted((home / ".pyenv" / "versions").glob(f"{OTHER}*/bin/python"))]
    working = [python for python in places if python and not run(python, "-c", "").returncode]
    if not working:
        pytest.skip(f"there is no python{OTHER}")
    folder = tmp_path_factory.mktemp("python")
    made = run(working[0], "-m", "venv", folder)
    python = folder / "bin" / "python"
    options = ("--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt")
    made = run(python, "-m", "pip", "install", *options, "duckdb", "pandas")
    assert made.returncode == 0, made.stderr[-500:]
    return python


def run(*command: object) -> subprocess.CompletedProcess[str]:
    variables = {**_ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    return subprocess.run([str(part) for part in command], env=variables, capture_output=True, text=True, timeout=600)


def load(python: object, path: Path, count: int) -> str:
    done = run(python, "-c", _LOAD, path, count)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout.strip()


@pytest.mark.slow
def test_a_file_of_either_python_is_read_and_written_by_the_other(other_python: Path, tmp_path: Path) -> None:
    for first, second in ((sys.executable, other_python), (other_python, sys.executable)):
        path = tmp_path / Path(str(first)).parent.parent.name / "warehouse.duckdb"
        assert load(first, path, 3) == "0 3"
        assert load(second, path, 4) == "3 4"
        assert load(first, path, 5) == "4 5"


@pytest.mark.slow
def test_a_file_in_the_newest_format_is_refused_in_words_and_renewed(other_python: Path, tmp_path: Path) -> None:
    newer, older = (sys.executable, other_python) if OTHER == "3.10" else (other_python, sys.executable)
    path = tmp_path / "warehouse.duckdb"
    make = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('CREATE TABLE notes (i INTEGER)')"
    assert run(newer, "-c", make, path).returncode == 0
    assert "was written by a newer DuckDB" in load(older, path, 3)
    assert load(newer, path, 3) == "0 3"
    assert load(older, path, 4) == "3 4"
