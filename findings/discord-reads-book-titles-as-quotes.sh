#!/usr/bin/env bash
# Most people guess: a bot's command takes its arguments as a shell does: words, and "several words"
#   in ASCII quotes; any other character is a part of its word.
# What really happens: 17 pairs are quotes, among them 「 」, 『 』, 《 》 and 〈 〉, with which
#   Chinese marks titles and stress. They vanish from an argument that they surround, and one in
#   the middle of a word, or with text behind it, as Chinese has no spaces, is an error: a session
#   called 《Python入門》工作坊 cannot be added. An argument behind * (the rest of the line) is
#   taken as it is. discord.py and disnake do the same.
# Seen with: discord.py 2.7.1, disnake 2.12.2
# Source: _quotes in discord/ext/commands/view.py;
#   https://discordpy.readthedocs.io/en/stable/ext/commands/commands.html#positional
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check discord.py==2.7.1 disnake==2.12.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import asyncio
import importlib
import sys
from importlib.metadata import version
from unittest.mock import MagicMock

print(*(f"{name} {version(name)}" for name in ("discord.py", "disnake")))


async def received(library, text):
    """Return the arguments that a command of a bot gets for a message, or the error's name."""
    discord, commands = (importlib.import_module(library + part) for part in ("", ".ext.commands"))
    intents = discord.Intents.none()
    intents.message_content = True
    bot = commands.Bot(command_prefix="!", intents=intents)
    bot._connection.user = MagicMock(id=1)  # nobody is logged in here
    arguments = []

    @bot.command()
    async def add(context, title, seats):
        arguments.append((title, seats))

    @bot.command()
    async def note(context, *, text):
        arguments.append(text)

    message = MagicMock(spec=discord.Message, content=text, guild=None, author=MagicMock(id=2, bot=False))
    context = await bot.get_context(message)
    try:
        await context.command.invoke(context)
    except commands.CommandError as error:
        return type(error).__name__
    return arguments[0]


expected = {
    "!add 《Python入門》 20": ("Python入門", "20"),
    "!add 《Python入門》工作坊 20": "InvalidEndOfQuotedStringError",
    "!add 週六《Python入門》 20": "UnexpectedQuoteError",
    "!add 台北「大會」 20": "UnexpectedQuoteError",
    "!add (Python入門)工作坊 20": ("(Python入門)工作坊", "20"),
    "!note 《Python入門》工作坊 20": "《Python入門》工作坊 20",
}
seen = {text: [asyncio.run(received(library, text)) for library in ("discord", "disnake")] for text in expected}
for text, value in seen.items():
    print(f"  {text}: {value[0] if value[0] == value[1] else value}")
if seen != {text: [value] * 2 for text, value in expected.items()}:
    print("changed; it was, in both:", expected)
    sys.exit(1)
print("as described")
PY
