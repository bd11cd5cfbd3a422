#!/usr/bin/env bash
# Most people guess: a discord.ext.tasks loop treats every exception of its body alike: it stops,
#   the error handler is called and something is logged; only lost connections to Discord are
#   tried again.
# What really happens: the list of exceptions after which it goes on holds OSError, and so
#   FileNotFoundError, PermissionError and every ConnectionError of any service. The body is run
#   again from its first line, with growing pauses, and @loop.error is never called: what stood
#   before the error is done twice. A ValueError ends the loop for good after one call. discord.py
#   logs the first case, nextcord and disnake say nothing at all.
# Seen with: discord.py 2.7.1, nextcord 2.6.0, disnake 2.12.2
# Source: discord/ext/tasks/__init__.py (Loop._valid_exception, and _loop, which retries when
#   reconnect is true); https://discordpy.readthedocs.io/en/stable/ext/tasks/index.html
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
# nextcord 2.6.0 needs pkg_resources, which newer setuptools and newer venvs do not have.
"$work/venv/bin/pip" install -qq --disable-pip-version-check discord.py==2.7.1 nextcord==2.6.0 disnake==2.12.2 setuptools==80.9.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import asyncio
import contextlib
import importlib
import io
import logging
import random
import sys
from importlib.metadata import version

print(*(f"{name} {version(name)}" for name in ("discord.py", "nextcord", "disnake")))
logged = io.StringIO()
logging.basicConfig(stream=logged, level=logging.WARNING)


async def run(tasks, error):
    done, handled = [], []

    @tasks.loop(seconds=0.01)
    async def post():
        done.append("posted")
        if len(done) < 3:
            raise error

    @post.error
    async def failed(*_):
        handled.append(True)

    task = post.start()
    for _ in range(600):
        await asyncio.sleep(0.05)
        if task.done() or len(done) > 3:
            break
    outcome = "stopped" if task.done() else "goes on", min(len(done), 4), bool(handled)
    post.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return outcome


seen = {}
for name in ("discord", "nextcord", "disnake"):
    tasks = importlib.import_module(f"{name}.ext.tasks")
    for error in (FileNotFoundError("orders.csv"), ValueError("order")):
        random.seed(1)
        logged.truncate(0)
        logged.seek(0)
        with contextlib.redirect_stderr(logged):
            outcome = asyncio.run(run(tasks, error))
        seen[name, type(error).__name__] = outcome
        if isinstance(error, OSError):
            seen[name, "says so"] = "orders.csv" in logged.getvalue()

for key, value in seen.items():
    print(" ", *key, value)
expected = {}
for name in ("discord", "nextcord", "disnake"):
    expected[name, "FileNotFoundError"] = "goes on", 4, False
    expected[name, "says so"] = name == "discord"
    expected[name, "ValueError"] = "stopped", 1, True
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
