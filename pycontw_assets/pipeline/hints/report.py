"""Describe the webhook: a line of ``status`` and ``doctor``, and the alarm when hints have stopped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pycontw_assets.ledger.hints.deliveries import Deliveries, DeliveryKind, deliveries, let_in_since
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import record_findings
from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.settings import Settings

_SILENCE = "webhook"
SILENT_AFTER = timedelta(hours=3)
_FEWEST_BUYERS = 3  # KKTIX may send nothing for a single order, such as one by hand
_AT_ONCE = timedelta(minutes=1)  # access that began with the last hint


def silence(last_hint: datetime | None, buyers: int, first: datetime | None, now: datetime) -> list[str]:
    """Find a hook that was heard before and is silent while tickets are sold. The text stays the same while it lasts.

    ``buyers``: people whose access began after the last hint, the first of them at ``first``.
    """
    if last_hint is None or first is None or buyers < _FEWEST_BUYERS or now - first < SILENT_AFTER:
        return []
    return [
        f"KKTIX's webhook is silent since {last_hint:%Y-%m-%d %H:%M} UTC, and tickets are sold: is it switched on in "
        "KKTIX, and does `pycontw-assets hooks` run? Polls go on every few minutes without it"
    ]


def record_silence(*, ledger: Ledger, settings: Settings) -> None:
    """Make an alarm of a hook that has stopped, or end it. Without a secret there is no hook to miss."""
    heard = deliveries(ledger).get("hint") if settings.kktix_hook_secret else None
    findings: list[str] = []
    if heard:
        buyers, first = let_in_since(ledger, heard.last_at + _AT_ONCE)
        findings = silence(heard.last_at, buyers, first, ledger.clock())
    record_findings(ledger, "", _SILENCE, {_SILENCE: findings[0]} if findings else {})


def hook_finding(ledger: Ledger, settings: Settings) -> Finding:
    """Say in one line what was heard of the webhook."""
    came = deliveries(ledger)
    if settings.kktix_hook_secret is None:
        return Finding("ok", "webhook", "not used: KKTIX_HOOK_SECRET is not set. Polls see every order")
    if not came:
        fix = "start `pycontw-assets hooks`, and send a test delivery from KKTIX"
        return Finding("warn", "webhook", "no delivery arrived yet", fix)
    what = "; ".join(_lines(came))
    if "unknown" in came:
        fix = "they made every event due. Report the line to a developer"
        return Finding("warn", "webhook", what, fix)
    return Finding("ok", "webhook", what)


def _lines(came: Mapping[DeliveryKind, Deliveries]) -> list[str]:
    lines = []
    if hint := came.get("hint"):
        lines.append(f"{hint.times} deliveries with orders, the last at {_moment(hint.last_at)}")
    if test := came.get("test"):
        lines.append(f"test delivery arrived at {_moment(test.last_at)}")
    if unknown := came.get("unknown"):
        lines.append(f"{unknown.times} deliveries of an unknown shape, the last at {_moment(unknown.last_at)}")
    return lines


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
