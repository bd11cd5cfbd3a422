"""The rule file of roles: which role a ticket gives. Read strictly, applied in order.

Each entry names a role and either a ticket family or a pattern for the ticket's name, in which ``*`` stands for
anything. The first entry that fits a ticket wins.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycontw_assets.records import FAMILIES, Family

_ROLE = re.compile(r"[0-9]{1,20}")
_EXAMPLE = '`- {family: individual, role: "1234"}` or `- {ticket: "VIP*", role: "1234"}`'


class InvalidRoles(ValueError):
    """The file is no usable list of roles. The text names the entry and the fix."""


@dataclass(frozen=True, slots=True)
class RoleRule:
    """``family`` or ``ticket`` (a pattern) is set, never both."""

    role_id: str
    family: Family | None = None
    ticket: str | None = None

    def fits(self, family: Family, ticket: str | None) -> bool:
        if self.ticket is None:
            return self.family == family
        pattern = ".*".join(re.escape(part) for part in self.ticket.split("*"))
        return ticket is not None and re.fullmatch(pattern, ticket.strip().casefold(), re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class RoleRules:
    rules: tuple[RoleRule, ...]

    @property
    def role_ids(self) -> frozenset[str]:
        return frozenset(rule.role_id for rule in self.rules)

    def role_of(self, family: Family, tickets: Iterable[str | None]) -> str | None:
        """Return the role of a holder with these tickets of one event; ``None``: no entry fits any of them."""
        names = list(tickets)
        return next((rule.role_id for rule in self.rules if any(rule.fits(family, name) for name in names)), None)


def read_roles(file: Path | None) -> RoleRules:
    """Read ``DISCORD_ROLES``. Raise ``InvalidRoles``."""
    import yaml  # polls that have nothing to do go without it

    if file is None:
        raise InvalidRoles(f"DISCORD_ROLES: is not set; name a YAML file with entries such as {_EXAMPLE}")
    try:
        content = yaml.safe_load(file.expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise InvalidRoles("DISCORD_ROLES: the file cannot be read; correct its path or its rights") from None
    except (yaml.YAMLError, RecursionError):
        raise InvalidRoles(f"DISCORD_ROLES: the file is no YAML; write a list of entries such as {_EXAMPLE}") from None
    return parse_roles(content)


def parse_roles(content: Any) -> RoleRules:
    """Return the rules of a file's content. Raise ``InvalidRoles``."""
    if not isinstance(content, list) or not content:
        raise InvalidRoles(f"DISCORD_ROLES: the file is no list of entries; write entries such as {_EXAMPLE}")
    rules = [_rule(number, entry) for number, entry in enumerate(content, start=1)]
    for number, rule in enumerate(rules, start=1):
        if _is_hidden(rule, rules[: number - 1]):
            raise InvalidRoles(
                f"DISCORD_ROLES: entry {number} can fit nothing, an earlier one does; remove one of them"
            )
    return RoleRules(tuple(rules))


def _is_hidden(rule: RoleRule, earlier: Collection[RoleRule]) -> bool:
    same = any((rule.family, rule.ticket) == (other.family, other.ticket) for other in earlier)
    families = {other.family for other in earlier} - {None}
    return same or any(other.ticket == "*" for other in earlier) or len(families) == len(FAMILIES)


def _rule(number: int, entry: Any) -> RoleRule:
    where = f"DISCORD_ROLES: entry {number}"
    if not isinstance(entry, dict) or set(entry) not in ({"family", "role"}, {"ticket", "role"}):
        raise InvalidRoles(f"{where} needs `role` and one of `family` and `ticket`, and nothing else: {_EXAMPLE}")
    role = entry["role"]
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        raise InvalidRoles(f"{where}: `role` must be the id of a role in quotation marks (Discord: Copy Role ID)")
    if "family" in entry:
        family = next((family for family in FAMILIES if family == entry["family"]), None)
        if family is None:
            raise InvalidRoles(f"{where}: `family` must be one of {', '.join(FAMILIES)}")
        return RoleRule(role, family=family)
    ticket = entry["ticket"]
    if not isinstance(ticket, str) or not ticket.strip():
        raise InvalidRoles(f"{where}: `ticket` must be the name of a ticket, or a part of it with `*`")
    return RoleRule(role, ticket=ticket.strip().casefold())
