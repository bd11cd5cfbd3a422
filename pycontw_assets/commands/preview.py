"""``preview``: write the invitation as its readers will see it, and send nothing.

The mail is rendered by ``send_email``. The link to unsubscribe, which Klaviyo adds, is added as the sandbox does it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.pipeline.steps import invitation
from pycontw_assets.records import FAMILIES, Family
from pycontw_assets.sandbox.klaviyo.rendering import render
from pycontw_assets.send_email.invitation.template import InvitationError, InvitationTemplate
from pycontw_assets.settings import InvalidSettings, load_settings

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_FLAGS = ("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--force-device-scale-factor=2")
_WIDTH = 680
_HEIGHTS = range(200, 8000)
_PATIENCE_SECONDS = 60
_MEASURE = "<script>document.title = document.documentElement.scrollHeight</script>"


def add_to(commands: Commands) -> None:
    """Register the command."""
    preview = commands.add_parser(
        "preview",
        help="show the invitation mail; send nothing",
        description="Write the invitation mail as HTML, text and picture (the picture needs Chromium). Send nothing. "
        "The text to edit is pycontw_assets/send_email/invitation/invitation.html.",
        epilog="Exit 0: the mail was written. 2: a placeholder is misspelt, or a link is wrong.",
    )
    preview.add_argument(
        "--family",
        choices=FAMILIES,
        default="individual",
        help="ticket family of the mail; all get the same text",
    )
    preview.add_argument("--out", type=Path, default=Path("preview"), metavar="FOLDER", help="folder to write to")
    preview.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    settings = load_settings()
    edition = settings.edition or f"{datetime.now(timezone.utc):%Y}"
    try:
        mail = invitation(edition, settings)
        page, words = write_words(mail, parsed.family, parsed.out)
    except InvitationError as error:
        raise InvalidSettings(str(error)) from None
    except OSError as error:
        raise InvalidSettings(f"--out: cannot be written ({error.strerror})") from None
    print(f"{paint(mail.subject, 'bold')}\n{mail.name}\nHTML     {page}\ntext     {words}")
    try:
        print(f"picture  {take_picture(page)}")
    except NoPicture as error:
        print(f"picture  none: {error}; open the HTML file in any browser")
    return FINE


class NoPicture(Exception):
    """There is no browser, or it failed; the text says which."""


def write_words(mail: InvitationTemplate, family: Family, folder: Path) -> tuple[Path, Path]:
    """Write the mail to a holder of the family as HTML and text, with subject and preview above the text."""
    reader = {"email": f"{family}.ticket.holder@example.org"}
    folder.mkdir(parents=True, exist_ok=True)
    page, words = (folder / f"invitation-{family}.{ending}" for ending in ("html", "txt"))
    page.write_text(render(mail.html, reader, as_html=True), encoding="utf-8")
    head = f"To: {reader['email']}\nSubject: {mail.subject}\nPreview: {mail.preview_text}\n\n"
    words.write_text(head + render(mail.text, reader, as_html=False), encoding="utf-8")
    return page, words


def take_picture(page: Path) -> Path:
    """Write a PNG of the whole page next to it, with the browser of this machine."""
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise NoPicture("there is no Chromium or Chrome on this machine")
    picture = page.with_suffix(".png")
    try:
        with TemporaryDirectory() as profile:
            measured = Path(profile) / "measured.html"
            measured.write_text(page.read_text(encoding="utf-8") + _MEASURE, encoding="utf-8")
            shown = _browse(browser, profile, measured, f"--window-size={_WIDTH},600", "--dump-dom")
            title = re.search(r"<title>(\d+)</title>", shown)
            height = int(title[1]) if title and int(title[1]) in _HEIGHTS else _HEIGHTS[-1]
            picture.unlink(missing_ok=True)
            _browse(browser, profile, page, f"--window-size={_WIDTH},{height}", f"--screenshot={picture.resolve()}")
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPicture(f"{browser} failed ({type(error).__name__})") from None
    if not picture.exists():
        raise NoPicture(f"{browser} made no picture")
    return picture


def _browse(browser: str, profile: str, page: Path, *arguments: str) -> str:
    # As root, which is usual in a container, Chromium refuses to start with its sandbox. The page is a trusted one.
    flags = [*_FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else _FLAGS
    command = [browser, *flags, f"--user-data-dir={profile}", *arguments, page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True)  # noqa: S603
    return done.stdout
