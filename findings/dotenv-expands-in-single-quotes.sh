#!/usr/bin/env bash
# Most people guess: in a .env file a value in single quotes is literal, as in a shell and in
#   Docker Compose: KEY='pa${x}ss' is safe for every password.
# What really happens: python-dotenv, which Dagster and pydantic-settings read .env files with,
#   replaces ${...} in single quotes, too, and by nothing where the variable does not exist: the
#   password is pass, without a warning. Neither \$ nor $$ protects it; a plain $x is left alone,
#   other than in a shell. interpolate=False keeps all, but neither of the two passes it on:
#   pydantic-settings' env_file has the text changed.
# Seen with: python-dotenv 1.2.4, pydantic-settings 2.16.3
# Source: dotenv/variables.py and main.py (interpolation knows no quotes any more);
#   python-dotenv's README, "Variable expansion";
#   https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/ for
#   single quotes in Compose
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check python-dotenv==1.2.4 pydantic-settings==2.16.3
cd "$work"

"$work/venv/bin/python" - <<'PY'
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from dotenv import dotenv_values
from pydantic_settings import BaseSettings

print("python-dotenv", version("python-dotenv"), "pydantic-settings", version("pydantic-settings"))
lines = {"single": "'pa${x}ss'", "double": '"pa${x}ss"', "backslash": "'pa\\${x}ss'", "two_dollars": "'pa$${x}ss'", "plain": "'pa$x'"}
Path("env").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
script = 'set -a; . ./env; printf "%s\\n" "$single" "$double" "$backslash" "$two_dollars" "$plain"'


class Settings(BaseSettings, env_file="env", extra="ignore"):
    single: str


shell = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout.splitlines()
seen = dict(dotenv_values("env"))
print("  the file:", lines)
print("  a shell: ", dict(zip(lines, shell)))
print("  dotenv:  ", seen)
seen["interpolate=False"] = dotenv_values("env", interpolate=False)["single"]
seen["pydantic-settings"] = Settings().single
print("  interpolate=False:", seen["interpolate=False"], "- pydantic-settings:", seen["pydantic-settings"])
expected = {
    "single": "pass",
    "double": "pass",
    "backslash": "pa\\ss",
    "two_dollars": "pa$ss",
    "plain": "pa$x",
    "interpolate=False": "pa${x}ss",
    "pydantic-settings": "pass",
}
if seen != expected or shell[0] != "pa${x}ss":
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
