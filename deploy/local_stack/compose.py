"""Reading ``compose.yaml``: the words of the compose specification that it uses, and no others."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<word>[^}]*))?\})")


class WrongCompose(Exception):
    """A variable that is needed, or a word this reader does not know."""


@dataclass(frozen=True)
class Service:
    """One service, with every variable filled in."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    depends_on: Mapping[str, str]
    healthcheck: tuple[str, ...]


def read(path: Path, variables: Mapping[str, str], profile: str | None = None) -> dict[str, Service]:
    """The services of a profile by name, each after those it depends on."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    services = {
        name: _service(name, fill(described, variables), path.parent, variables)
        for name, described in document["services"].items()
        if profile in described.get("profiles", [profile])
    }
    return _in_order(services)


def fill(value: Any, variables: Mapping[str, str]) -> Any:
    """``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``${NAME:?why}`` in every text of a document."""
    if isinstance(value, Mapping):
        return {name: fill(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [fill(one, variables) for one in value]
    return _EXPRESSION.sub(lambda found: _filled(found, variables), value) if isinstance(value, str) else value


def _filled(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name, how, word = found["name"], found["how"] or "", found["word"]
    if name is None:
        return "$"
    given = variables.get(name)
    if given is not None and (given or not how.startswith(":")):
        return given
    if how.endswith("?"):
        raise WrongCompose(f"{name} is not set: {word}")
    return word or ""


def read_variables(path: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """A file of ``NAME=value`` lines; what stands in single quotes is taken as it is."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        quoted = re.fullmatch(r"'(.*)'", value)
        found[name] = quoted[1] if quoted else fill(value, {**found, **variables})
    return found


def _service(name: str, described: Mapping[str, Any], folder: Path, variables: Mapping[str, str]) -> Service:
    environment: dict[str, str] = {}
    for file in described.get("env_file", []):
        environment |= read_variables(folder / file, variables)
    command = described.get("command", "")
    depends_on = described.get("depends_on", {})
    return Service(
        name,
        described.get("image", ""),
        tuple(shlex.split(command) if isinstance(command, str) else command),
        {**environment, **described.get("environment", {})},
        {other: condition["condition"] for other, condition in depends_on.items()},
        _test(described.get("healthcheck", {}).get("test", [])),
    )


def _test(test: list[str]) -> tuple[str, ...]:
    if test and test[0] != "CMD":
        raise WrongCompose(f"a health check of the kind {test[0]} is not known here")
    return tuple(test[1:])


def _in_order(services: Mapping[str, Service]) -> dict[str, Service]:
    ordered: dict[str, Service] = {}
    while len(ordered) < len(services):
        ready = [one for one in services.values() if one.name not in ordered and set(one.depends_on) <= set(ordered)]
        if not ready:
            raise WrongCompose("services wait for each other, or for one that is not there")
        ordered |= {one.name: one for one in ready}
    return ordered
