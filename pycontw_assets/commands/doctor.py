"""``doctor``: is everything set and within reach? One line per finding, with the fix."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED
from pycontw_assets.commands.instance import unchecked_services
from pycontw_assets.settings import InvalidSettings, Settings

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands
    from pycontw_assets.pipeline.doctor import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


def add_to(commands: Commands) -> None:
    doctor = commands.add_parser("doctor", help="check every setting, reach every service; changes nothing")
    doctor.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    doctor.set_defaults(run=_doctor)


def _doctor(parsed: argparse.Namespace) -> int:
    from pycontw_assets.pipeline.doctor import Finding, examine

    findings: list[Finding] = []
    try:
        for finding in examine(unchecked_services()):
            findings.append(finding)
            if not parsed.json:
                print(describe_finding(finding), flush=True)
        failed = {finding.name for finding in findings if finding.level == "FAIL"}
        is_misconfigured = any(name.lower() in Settings.model_fields for name in failed)
        code = MISCONFIGURED if is_misconfigured else FAILED if failed else FINE
    except InvalidSettings as error:
        findings += [Finding("FAIL", *_split(line)) for line in str(error).splitlines()]
        code = MISCONFIGURED
        if not parsed.json:
            print("\n".join(map(describe_finding, findings)))
    if parsed.json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    return code


def _split(line: str) -> tuple[str, str]:
    name, _, what = line.partition(": ")
    return name, what


def describe_finding(finding: Finding) -> str:
    fix = f" — {finding.fix}" if finding.fix and finding.level != "ok" else ""
    return f"{paint(f'{finding.level:<4}', _COLOURS[finding.level])} {finding.name}: {finding.what}{fix}"
