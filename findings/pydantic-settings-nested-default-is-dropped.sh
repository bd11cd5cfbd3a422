#!/usr/bin/env bash
# Most people guess: one environment variable for one nested field overrides that field of the
#   nested default; and Settings(db={"user": "x"}) replaces db, as Settings(db=Db(user="x"))
#   does.
# What really happens: as soon as one variable of the group is set, the group is built anew from
#   the environment alone, and the field's default instance counts for nothing: user is what
#   class Db says. nested_model_default_partial_update=True is the expected behaviour, and off
#   by default. Arguments: a dict is merged deeply with what the environment says (port 2
#   stays), a model instance shuts the environment out for all its fields.
# Seen with: pydantic-settings 2.16.3
# Source: the docstring of BaseSettings (nested_model_default_partial_update: partial updates on
#   nested model default object fields, False by default); the difference between dict and model
#   arguments: this script.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check pydantic-settings==2.16.3
cd "$work"

APP_DB__PORT=2 "$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict

print("pydantic-settings", version("pydantic-settings"))


class Db(BaseModel):
    user: str = "class default"
    port: int = 1


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APP_", env_nested_delimiter="__")
    db: Db = Db(user="field default")


class Partial(Settings):
    model_config = SettingsConfigDict(nested_model_default_partial_update=True)


made = {
    "the variable alone": Settings(),
    "with partial update": Partial(),
    "and a dict": Settings(db={"user": "given"}),
    "and a model": Settings(db=Db(user="given")),
}
seen = {key: (settings.db.user, settings.db.port) for key, settings in made.items()}
print("  APP_DB__PORT=2, default Db(user='field default')")
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = dict(zip(made, [("class default", 2), ("field default", 2), ("given", 2), ("given", 1)]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
