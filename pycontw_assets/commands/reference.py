"""Print ``docs/settings.md``, ``docs/commands.md`` or ``docs/assets.md`` from the code.

Run ``python -m pycontw_assets.commands.reference settings >docs/settings.md``, and the same for the others.
A test compares the pages with the code, so a setting, a command or an asset is described in one place only.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pycontw_assets.commands.cli import _parser
from pycontw_assets.settings import OFF, Settings

# A description ends with this and what happens without the variable; the page shows that as the default.
_UNSET = "; unset: "
_GENERATED = "<!-- Generated: python -m pycontw_assets.commands.reference {page} >docs/{page}.md -->"

_SETTINGS_HEAD = """\
# Settings

Every setting is an environment variable. A `.env` file in the working directory is read, too; the environment wins.
The option `--env-file FILE` of all commands and the variable `PYCONTW_ENV_FILE` name another file. An empty value
counts as not set. [`.env.example`](../.env.example) holds the variables that production needs,
[`deploy/env.example`](../deploy/env.example) holds all of them.

With `PYCONTW_ENV=production` a missing variable stops the start, and the message names it. Without it every
default points at the sandbox. The sandbox talks to services on this machine only, and production to others by
https only. Keep secret values in a file that only the program can read.

| variable | meaning | default | in production | secret |
|---|---|---|---|---|
"""

# Options of every command, described once at the top of the page.
_EVERYWHERE = ("env_file",)
_COMMANDS_HEAD = """\
# Commands

The program is `pycontw-assets`; the command is its first argument. With `--help` a command prints what this page
says of it. All commands mask the addresses that they print.

Commands that work with data first say on standard error where they look: environment, data folder, file of settings.
`--env-file FILE`, before or after the command's name, makes any of them read that file instead of the `.env` of the
working directory.

Exit codes mean the same everywhere: **0** all is well, **1** something failed or asks for a person, **2** the
configuration or the command line is wrong. The end of a section says what they mean for that command.
"""

_ASSETS_HEAD = """\
# Assets

The Dagster UI shows these assets under *Lineage*, in the order of the five stages, then reports. A partition is one
KKTIX event, `<edition>-<family>-<event id>`, for example `2031-individual-90001`. An event gets this key from its name
("PyCon TW 2031 Registration: Individual") or from `KKTIX_EVENTS`, once and for good. Events of another edition, and
events whose name does not say enough, are shown on the asset `kktix` and left alone.

| asset | stage | partitions | holds |
|---|---|---|---|
"""
_STAGES = ("extract", "load", "authorize", "send_email", "reporting")


def settings_page() -> str:
    """Return docs/settings.md."""
    required = _required()
    rows = [_setting_row(name, field, required) for name, field in Settings.model_fields.items()]
    return f"{_GENERATED.format(page='settings')}\n\n{_SETTINGS_HEAD}" + "\n".join(rows) + "\n"


def _required() -> dict[str, str]:
    """Return when production needs a variable, for each variable that it ever needs."""
    always, without_gather = _needed(), _needed(gather_api_url=OFF)
    without_mail, bigquery = _needed(klaviyo_api_url=OFF), _needed(warehouse="bigquery")
    return {
        **dict.fromkeys(always, "required"),
        **dict.fromkeys(always - without_gather, "required unless `GATHER_API_URL=off`"),
        **dict.fromkeys(always - without_mail, "required unless `KLAVIYO_API_URL=off`"),
        **dict.fromkeys(bigquery - always, "required with `WAREHOUSE=bigquery`"),
    }


def _needed(**chosen: Any) -> set[str]:
    """Return what production needs in addition to the chosen settings."""
    return set(Settings.model_construct(_fields_set=set(), **chosen).missing_in_production())


def _setting_row(name: str, field: FieldInfo, required: dict[str, str]) -> str:
    meaning, _, without = (field.description or "").partition(_UNSET)
    needed = required.get(name.upper(), "")
    default = without or _default(field.default, is_sandbox=bool(needed))
    secret = "yes" if "SecretStr" in str(field.annotation) else ""
    return _row(f"`{name.upper()}`", meaning, default, needed, secret)


def _default(value: Any, *, is_sandbox: bool) -> str:
    """Return the cell of a default. What production has to set has a default for the sandbox."""
    if value in (None, PydanticUndefined):
        return "–"
    if is_sandbox or isinstance(value, SecretStr):
        return "sandbox"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int) else f"`{value}`"


def commands_page() -> str:
    """Return docs/commands.md."""
    parser = _parser()
    commands = list(_commands(parser))
    parts = [f"{_GENERATED.format(page='commands')}\n\n{_COMMANDS_HEAD}"]
    for group, members in itertools.groupby(commands, key=lambda command: command.group):
        rows = [_row(f"[`{command.name}`](#{command.name})", command.summary) for command in members]
        head = f"**{_sentence(group)}**\n\n" if group else ""
        parts.append(f"{head}| command | does |\n|---|---|\n" + "\n".join(rows) + "\n")
    parts += [_command_section(parser.prog, command) for command in commands]
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Command:
    name: str
    summary: str
    parser: argparse.ArgumentParser

    @property
    def group(self) -> str:
        """Return the group of the help that names the command; empty without one."""
        return str(self.parser.get_default("group") or "")


def _commands(parser: argparse.ArgumentParser) -> Iterator[_Command]:
    """Yield every command that the help shows, so no hidden alias."""
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for shown in action._choices_actions:
        yield _Command(shown.dest, shown.help or "", action.choices[shown.dest])


def _command_section(prog: str, command: _Command) -> str:
    shown = [action for action in command.parser._actions if not _is_hidden(action)]
    lines = [f"## {command.name}\n", (command.parser.description or f"{_sentence(command.summary)}.") + "\n"]
    lines.append(f"```text\n{' '.join([prog, command.name, *map(_usage, shown)])}\n```\n")
    if shown:
        lines.append("| argument | meaning |\n|---|---|")
        lines += [_row(f"`{_label(action)}`", _meaning(action, command.parser.prog)) for action in shown]
        lines.append("")
    if command.parser.epilog:
        lines.append(command.parser.epilog + "\n")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_hidden(action: argparse.Action) -> bool:
    return action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction) or action.dest in _EVERYWHERE


def _usage(action: argparse.Action) -> str:
    return _label(action) if action.required and action.nargs != "?" else f"[{_label(action)}]"


def _label(action: argparse.Action) -> str:
    """Return an argument as it is typed. Argparse's own usage line differs between releases of Python."""
    value = str(action.metavar or ("WORD" if action.choices else action.dest.upper()))
    if not action.option_strings:
        return value
    option = action.option_strings[-1]
    return option if action.nargs == 0 else f"{option} {value}"


def _meaning(action: argparse.Action, prog: str) -> str:
    parts = [(action.help or "") % {**vars(action), "prog": prog}]
    if action.default not in (None, False, []) and "default" not in parts[0]:
        parts.append(f"default: {action.default}")
    if action.choices:
        parts.append("one of " + ", ".join(f"`{choice}`" for choice in action.choices))
    if isinstance(action, argparse._AppendAction):
        parts.append("may be given more than once")
    return "; ".join(part for part in parts if part)


def assets_page() -> str:
    """Return docs/assets.md."""
    from pycontw_assets.orchestration.graph.build import build_definitions

    graph = build_definitions().resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    rows = []
    for node in sorted(nodes, key=lambda node: (_STAGES.index(str(node.group_name)), node.key.to_user_string())):
        name = getattr(node.partitions_def, "name", None)
        text = " ".join((node.description or "").split())
        rows.append(_row(f"`{node.key.to_user_string()}`", str(node.group_name), f"`{name}`" if name else "–", text))
    return f"{_GENERATED.format(page='assets')}\n\n{_ASSETS_HEAD}" + "\n".join(rows) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


PAGES = {"settings": settings_page, "commands": commands_page, "assets": assets_page}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m pycontw_assets.commands.reference", description=__doc__)
    parser.add_argument("page", choices=PAGES)
    sys.stdout.buffer.write(PAGES[parser.parse_args(arguments).page]().encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
