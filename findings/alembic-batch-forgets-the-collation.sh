#!/usr/bin/env bash
# Most people guess: batch_alter_table rebuilds a SQLite table from its reflection, and what
#   reflection does not know (expressions, unnamed CHECK constraints) is warned of; the columns
#   that the migration does not name stay as they were.
# What really happens: the rebuilt table's other columns have lost COLLATE NOCASE, so
#   UNIQUE(email) is case-sensitive from then on, and so is a unique index ON (name COLLATE
#   NOCASE), which is made again without it; AUTOINCREMENT is lost, so SQLite gives the id of
#   the deleted last row to the next one; all triggers went with the old table. The only warning
#   is about the unnamed CHECK.
# Seen with: alembic 1.20.1, sqlalchemy 2.1.9
# Source: this script; Alembic's page on batch migrations
#   (https://alembic.sqlalchemy.org/en/latest/batch.html) names CHECK constraints and unnamed
#   ones, and its changelog the warning (1.20.0, issue 1846)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check alembic==1.20.1 sqlalchemy==2.1.9
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import alembic
import sqlalchemy
from alembic.migration import MigrationContext
from alembic.operations import Operations

print("alembic", alembic.__version__, "sqlalchemy", sqlalchemy.__version__)
SCHEMA = """
CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT COLLATE NOCASE NOT NULL UNIQUE,
    name TEXT,
    tickets INTEGER CHECK (tickets > 0)
);
CREATE UNIQUE INDEX by_name ON people (name COLLATE NOCASE);
CREATE TABLE log (id);
CREATE TRIGGER changed AFTER DELETE ON people BEGIN INSERT INTO log VALUES (old.id); END
"""


def migrate(op):
    with op.batch_alter_table("people") as table:
        table.alter_column("tickets", nullable=False)


def look(migration):
    with sqlalchemy.create_engine("sqlite://").connect() as db:
        sql = db.exec_driver_sql
        for part in SCHEMA.split(";\n"):
            sql(part)
        sql("INSERT INTO people (email, name, tickets) VALUES ('Ann@example.org', 'Ann', 1), ('Bob@example.org', 'Bob', 1)")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            migration(Operations(MigrationContext.configure(db)))
        for warning in warned:
            print("  warning:", str(warning.message).split(";")[0])
        seen = {"warnings": len(warned)}
        for column, row in {"email": "('ann@example.org', 'Ann Other', 1)", "name": "('else@example.org', 'ann', 1)"}.items():
            trial = db.begin_nested()
            try:
                sql(f"INSERT INTO people (email, name, tickets) VALUES {row}")
                seen[f"{column} in lower case"] = "taken"
            except sqlalchemy.exc.IntegrityError:
                seen[f"{column} in lower case"] = "refused"
            trial.rollback()
        sql("DELETE FROM people WHERE name = 'Bob'")
        seen["rows logged by the trigger"] = sql("SELECT count(*) FROM log").scalar()
        seen["id after Bob (2) was deleted"] = sql("INSERT INTO people (email, name, tickets) VALUES ('cat@example.org', 'Cat', 1) RETURNING id").scalar()
        return seen


before, after = look(lambda op: None), look(migrate)
for key in before:
    print(f"  {key}: {before[key]}; after the migration {after[key]}")
expected = {
    "warnings": (0, 1),
    "email in lower case": ("refused", "taken"),
    "name in lower case": ("refused", "taken"),
    "rows logged by the trigger": (1, 0),
    "id after Bob (2) was deleted": (3, 2),
}
if {key: (before[key], after[key]) for key in before} != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
