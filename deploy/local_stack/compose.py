"""Read ``compose.yaml``, with the part of the compose specification that it uses."""

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
    """A missing variable, or a word that this reader does not support."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service, with all variables replaced by their values."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    depends_on: Mapping[str, str]
    healthcheck: tuple[str, ...]


def read(path: Path, variables: Mapping[str, str], profile: str | None = None) -> dict[str, Service]:
    """Return the services of a profile by name; each comes after the services that it depends on."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    services = {
        name: _service(name, fill(description, variables), folder=path.parent, variables=variables)
        for name, description in document["services"].items()
        if profile in description.get("profiles", [profile])
    }
    return _in_order(services)


def fill(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}`` and ``${NAME:?why}`` in a document."""
    if isinstance(value, Mapping):
        return {name: fill(member, variables) for name, member in value.items()}
    if isinstance(value, list):
        return [fill(item, variables) for item in value]
    return _EXPRESSION.sub(lambda match: _value(match, variables), value) if isinstance(value, str) else value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, how, word = match["name"], match["how"] or "", match["word"]
    if name is None:
        return "$"
    value = variables.get(name)
    if value is not None and (value or not how.startswith(":")):
        return value
    if how.endswith("?"):
        raise WrongCompose(f"{name} is not set: {word}")
    return word or ""


def read_variables(path: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Read a file of ``NAME=value`` lines; text in single quotes is used without changes."""
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        quoted = re.fullmatch(r"'(.*)'", value)
        values[name] = quoted[1] if quoted else fill(value, {**values, **variables})
    return values


def _service(name: str, description: Mapping[str, Any], *, folder: Path, variables: Mapping[str, str]) -> Service:
    environment: dict[str, str] = {}
    for file in description.get("env_file", []):
        environment |= read_variables(folder / file, variables)
    command = description.get("command", "")
    depends_on = description.get("depends_on", {})
    return Service(
        name=name,
        image=description.get("image", ""),
        command=tuple(shlex.split(command) if isinstance(command, str) else command),
        environment={**environment, **description.get("environment", {})},
        depends_on={other: condition["condition"] for other, condition in depends_on.items()},
        healthcheck=_test(description.get("healthcheck", {}).get("test", [])),
    )


def _test(test: list[str]) -> tuple[str, ...]:
    if test and test[0] != "CMD":
        raise WrongCompose(f"a health check of the kind {test[0]} is not supported")
    return tuple(test[1:])


def _in_order(services: Mapping[str, Service]) -> dict[str, Service]:
    ordered: dict[str, Service] = {}
    while len(ordered) < len(services):
        ready = [s for s in services.values() if s.name not in ordered and set(s.depends_on) <= set(ordered)]
        if not ready:
            raise WrongCompose("services wait for each other, or for a service that does not exist")
        ordered |= {service.name: service for service in ready}
    return ordered
