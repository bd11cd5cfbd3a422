#!/usr/bin/env bash
# Most people guess: AllowedMentions() allows nothing until something is named, and a webhook message
#   without allowed_mentions pings nobody but those it names; escape_markdown makes a text harmless.
# What really happens: AllowedMentions() allows everyone, users and roles; AllowedMentions(everyone=False)
#   still allows users and roles; only AllowedMentions.none() allows nobody. Without the argument a
#   webhook sends no allowed_mentions at all, which for Discord means all. escape_markdown
#   leaves @everyone alone (escape_mentions is for that) and leaves links alone too.
# Seen with: discord.py 2.7.1
# Source: docs of discord.AllowedMentions (every field's default is True); Discord's documentation
#   of the Allowed Mentions object.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check "discord.py==2.7.1" "requests==2.32.5"
cd "$work"

cat > look.py <<'PY'
import json
import sys

import discord
import requests
from discord import AllowedMentions
from discord.utils import escape_markdown, escape_mentions



class Session(requests.Session):
    """Takes what the library would post to Discord, and posts nothing."""

    def request(self, *place, data=None, **details):
        self.posted = json.loads(data)
        answer = requests.Response()
        answer.status_code = 204
        return answer


print("discord.py", discord.__version__)
session = Session()
discord.SyncWebhook.partial(1, "x" * 68, session=session).send("@everyone")
seen = {
    "posted without the argument": session.posted,
    "AllowedMentions()": sorted(AllowedMentions().to_dict()["parse"]),
    "AllowedMentions(everyone=False)": sorted(AllowedMentions(everyone=False).to_dict()["parse"]),
    "AllowedMentions.none()": AllowedMentions.none().to_dict()["parse"],
    "escape_markdown": escape_markdown("@everyone"),
    "escape_mentions": escape_mentions("@everyone"),
}
for what, found in seen.items():
    print(f"  {what}: {found!r}")
expected = {
    "posted without the argument": {"content": "@everyone", "tts": False},
    "AllowedMentions()": ["everyone", "roles", "users"],
    "AllowedMentions(everyone=False)": ["roles", "users"],
    "AllowedMentions.none()": [],
    "escape_markdown": "@everyone",
    "escape_mentions": "@\u200beveryone",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
venv/bin/python look.py
echo "as described"
