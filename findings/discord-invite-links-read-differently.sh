#!/usr/bin/env bash
# Most people guess: resolve_invite takes the code out of any invite link that Discord itself gives
#   out, or raises: a slash at the end, ?event=... or a test client's host make no difference; and
#   nextcord, a fork, reads a link as discord.py does.
# What really happens: for https://discord.gg/pycon/ discord.py 2.7.1 answers with the empty code,
#   without an error; nextcord takes everything behind the host for the code: "pycon/",
#   "pycon?event=42", "invite/pycon". For a host that they do not know discord.py raises and
#   nextcord gives the whole link back as the code. Only the plain link is read alike, so a list of
#   allowed invites compares other things in each.
# Seen with: discord.py 2.7.1, nextcord 2.6.0
# Source: the docstring of discord.utils.resolve_invite (ValueError for what is no valid invite;
#   since 2.0 a code and an event); both packages' utils.py; seen by this script.
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
"$work/venv/bin/pip" install -qq --disable-pip-version-check discord.py==2.7.1 nextcord==2.6.0 setuptools==80.9.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import discord
import nextcord

print("discord.py", version("discord.py"), "nextcord", version("nextcord"))
links = ["discord.gg/pycon", "discord.gg/pycon/", "discord.gg/pycon?event=42", "discord.gg/invite/pycon", "ptb.discord.com/invite/pycon"]


def by_discord_py(link: str) -> str:
    try:
        return discord.utils.resolve_invite(link).code
    except ValueError as error:
        return type(error).__name__


seen = {link: (by_discord_py(f"https://{link}"), nextcord.utils.resolve_invite(f"https://{link}")) for link in links}
for link, (one, other) in seen.items():
    print(f"  https://{link}: discord.py {one!r}, nextcord {other!r}")
expected = {
    "discord.gg/pycon": ("pycon", "pycon"),
    "discord.gg/pycon/": ("", "pycon/"),
    "discord.gg/pycon?event=42": ("pycon", "pycon?event=42"),
    "discord.gg/invite/pycon": ("pycon", "invite/pycon"),
    "ptb.discord.com/invite/pycon": ("ValueError", "https://ptb.discord.com/invite/pycon"),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
