"""Invented buyers: reproducible from a seed, recognisably false, with every kind of address that real sales show.

All addresses end in example.org, example.com or example.net; all phones are 0900-000-xxx.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

AddressKind = Literal[
    "plain", "upper", "plus", "idn", "padded", "fullwidth", "hidden", "ideographic", "invalid", "missing"
]
ADDRESS_KINDS: tuple[AddressKind, ...] = get_args(AddressKind)

_ANIMALS = (
    "Quokka", "Axolotl", "Pangolin", "Numbat", "Okapi", "Tapir", "Serval", "Dugong", "Kakapo", "Tarsier",
    "Binturong", "Fossa", "Potoo", "Saiga", "Gharial", "Takin",
)  # fmt: skip
_STEMS = "甲乙丙丁戊己庚辛壬癸"
_DOMAINS = ("example.org", "example.com", "example.net")
_COMPANIES = (
    "Invented Widgets 虛構機械",
    "Example University 範例大學 資訊系",
    "None Such Ltd. 無此公司",
    "自由業 Freelance",
)

_SPELLINGS: dict[AddressKind, Callable[[str, str], str]] = {
    "plain": lambda local, domain: f"{local}@{domain}",
    "upper": lambda local, domain: f"{local.title()}@{domain.upper()}",
    "plus": lambda local, domain: f"{local}+pycon@{domain}",
    "idn": lambda local, domain: f"{local}@範例.{domain}",
    "padded": lambda local, domain: f" {local}@{domain}\t",
    "fullwidth": lambda local, domain: "".join(_wide(c) for c in local) + "＠" + domain,
    "hidden": lambda local, domain: f"{local}\u200b@{domain}",
    "ideographic": lambda local, domain: f"{local}@範例.{domain}".replace(".", "。"),
    "invalid": lambda local, domain: f"{local} at {domain}",
    "missing": lambda local, domain: "",
}


def _wide(character: str) -> str:
    return chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character


@dataclass(frozen=True, kw_only=True)
class Person:
    """An invented buyer."""

    name: str
    nickname: str
    address: str
    phone: str
    company: str


class People:
    """An endless supply of different people."""

    def __init__(self, chance: random.Random) -> None:
        self._random = chance
        self._count = 0

    def next(self, kind: AddressKind = "plain") -> Person:
        self._count += 1
        number = self._count
        animal = _ANIMALS[number % len(_ANIMALS)]
        local = f"{animal.lower()}.{number:04d}"
        stem = _STEMS[number % 10] + _STEMS[number // 10 % 10]
        return Person(
            name=f"測試{stem} Test {animal}-{number:04d}",
            nickname=f"{animal} #{number:04d}",
            address=_SPELLINGS[kind](local, self._random.choice(_DOMAINS)),
            phone=f"0900-000-{number % 1000:03d}",
            company=self._random.choice(_COMPANIES),
        )
